"""The exact product of two scalar layers against their integrated flow and its own law."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from gramdyn._errors import InputError
from gramdyn.deep_linear.modes import mode_solution
from gramdyn.deep_linear.scalar import scalar_two_layer

TIMES = np.linspace(0.0, 5.0, 6)
STARTS = (
    (0.1, 0.3),
    (-0.1, 0.3),
    (0.3, -0.1),
    (-0.4, -0.2),
    (1e-3, 2.0),
    (-3.0, 1e-8),
    (0.0, 0.3),
    (0.5, -0.5),
    (0.4, 0.4),
    (0.0, 0.0),
    (2.0, 2.0 + 1e-9),
    (-2.0, 2.0 + 1e-9),
)


@pytest.mark.parametrize("sigma", [2.0, 0.5, 0.0, -1.0])
@pytest.mark.parametrize(("first", "second"), STARTS)
def test_product_is_that_of_the_integrated_layers(
    sigma: float, first: float, second: float
) -> None:
    flow = solve_ivp(
        lambda _, w: (sigma - w[0] * w[1]) * w[::-1],
        (0.0, 5.0),
        [first, second],
        method="DOP853",
        rtol=1e-13,
        atol=1e-15,
        t_eval=TIMES,
    )
    found = scalar_two_layer(sigma, first, second, TIMES)
    # Error of the integrator; measured 4e-13.
    np.testing.assert_allclose(found, flow.y[0] * flow.y[1], rtol=0, atol=1e-11)


def test_product_obeys_the_published_coordinate() -> None:
    """y = tanh(theta / 2) by its fixed points: (y - y_+) / (y - y_-) falls as e^{-q t}."""
    sigma, first, second = 1.3, -0.2, 0.7
    kappa = second**2 - first**2
    q = np.sqrt(kappa**2 + 4 * sigma**2)
    y = np.tanh(np.arcsinh(2 * scalar_two_layer(sigma, first, second, TIMES) / kappa) / 2)
    upper, lower = (-kappa + q) / (2 * sigma), (-kappa - q) / (2 * sigma)
    # y - y_+ is e^{-q t} of a number of order one.
    wanted = (y[0] - upper) / (y[0] - lower) * np.exp(-q * TIMES)
    np.testing.assert_allclose((y - upper) / (y - lower), wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("weight", [0.3, -0.3, 5.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_small_imbalance_tends_to_the_balanced_mode(weight: float, sign: float) -> None:
    """Through a kappa of 1e-13, where sinh coordinates would have lost every digit."""
    times = np.linspace(0.0, 2.0, 5)
    found = scalar_two_layer(1.4, weight, sign * weight * (1 + 1e-13), times)
    wanted = mode_solution(2, 1.4, sign * weight**2, times)
    # On the wrong side imbalance grows as e^{2 sigma t}, by 270 here.
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_ends_at_the_target_unless_balanced_on_the_wrong_side() -> None:
    late = np.array([1e3])
    assert scalar_two_layer(0.7, -1.0, 1.0, late)[0] == pytest.approx(0.0, abs=1e-300)
    assert scalar_two_layer(0.7, -1.0, 1.0 + 1e-12, late)[0] == pytest.approx(0.7, rel=1e-14)
    assert scalar_two_layer(-0.7, 2.0, 3.0, late)[0] == pytest.approx(-0.7, rel=1e-14)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_numbers_are_refused(place: int, bad: float) -> None:
    numbers = [1.0, 0.5, 0.4]
    numbers[place] = bad
    name = ("sigma", "first", "second")[place]
    with pytest.raises(InputError, match=f"Argument `{name}` must be a finite number"):
        scalar_two_layer(*numbers, TIMES)
