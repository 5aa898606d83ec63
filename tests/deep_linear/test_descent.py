"""Outcomes of gradient descent: by hand, and of one layer, whose every run is known."""

import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.deep_linear.descent import OUTCOMES, outcomes
from gramdyn.deep_linear.hessian import critical_step


def test_each_way_of_ending() -> None:
    gaps = [0.0, 9e-13, -1e-16, 1.1e-12, 0.04, 2.5, np.nan, np.inf, 0.0]
    statuses = [0, 0, 0, 0, 0, 0, 1, 2, 2]
    found = outcomes(gaps, statuses)
    assert found.tolist() == ["converged"] * 3 + ["bounded"] * 3 + ["diverged"] * 3
    assert set(found) == set(OUTCOMES)


def test_the_shape_is_kept_and_the_tolerance_is_asked_for() -> None:
    gaps = np.array([[1e-9, 1e-7], [1e-7, np.nan]])
    found = outcomes(gaps, np.array([[0, 0], [0, 1]]), tolerance=1e-8)
    assert found.tolist() == [["converged", "bounded"], ["bounded", "diverged"]]
    assert outcomes(0.0, 0).item() == "converged"
    assert outcomes(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize(
    ("gaps", "statuses", "options", "told"),
    [
        ([0.0, 0.0], [0], {}, "statuses"),
        ([np.nan], [0], {}, "gaps"),
        ([np.inf], [0], {}, "gaps"),
        ([-1e-3], [0], {}, "gaps"),
        ([0.0], [0], {"tolerance": 0.0}, "tolerance"),
        (["low"], [0], {}, "gaps"),
    ],
)
def test_what_is_refused(gaps, statuses, options, told) -> None:
    with pytest.raises(InputError, match=f"`{told}`"):
        outcomes(gaps, statuses, **options)


@pytest.mark.parametrize(
    ("share", "ending"), [(0.5, "converged"), (0.9, "converged"), (1.02, "diverged")]
)
def test_one_layer_converges_below_the_critical_step_and_diverges_above(share, ending) -> None:
    # One layer: the deviation is multiplied by 1 - eta every step, whatever the target.
    target = np.diag([2.0, 1.0])
    step = share * critical_step(target, 1)
    deviation = target * (1 - step) ** 3000
    loss = 0.5 * np.sum(deviation**2)
    limit = 1e6 * 0.5 * np.sum(target**2)
    assert outcomes(loss, 2 if loss > limit else 0).item() == ending


@pytest.mark.parametrize(
    ("share", "ending"),
    [(0.5, "converged"), (0.9, "converged"), (1.02, "bounded"), (2.5, "diverged")],
)
def test_two_scalar_layers_oscillate_between(share, ending) -> None:
    eta = share * critical_step(np.array([[2.0]]), 2)
    first, second, status = 0.3, 0.2, 0
    for _ in range(3000):
        gap = 2.0 - first * second
        first, second = first + eta * gap * second, second + eta * gap * first
        if not 0.5 * gap**2 < 1e6:
            status = 2
            break
    assert outcomes(0.5 * gap**2, status).item() == ending
