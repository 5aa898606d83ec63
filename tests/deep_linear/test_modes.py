"""Exact modes against integrated flows, quadrature, the hypergeometric form and published times."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.special import hyp2f1

from gramdyn._errors import InputError
from gramdyn.deep_linear import modes
from gramdyn.deep_linear.modes import half_time, leading_half_time, mode_solution, mode_time

TIMES = np.linspace(0.0, 6.0, 13)


def _integrate(n_layers: int, sigma: float, start: float) -> np.ndarray:
    power = 2 - 2 / n_layers
    flow = solve_ivp(
        lambda _, s: n_layers * np.abs(s) ** power * (sigma - s),
        (0.0, TIMES[-1]),
        [start],
        method="DOP853",
        rtol=1e-12,
        atol=1e-14,
        t_eval=TIMES,
    )
    return flow.y[0]


@pytest.mark.parametrize("n_layers", [1, 2, 3, 4, 5, 6, 9])
@pytest.mark.parametrize("sigma", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("start", [0.0, 1e-4, 0.05, 0.9, 7.0, -0.02, -3.0])
def test_solution_is_the_integrated_flow(n_layers: int, sigma: float, start: float) -> None:
    found = mode_solution(n_layers, sigma, start, TIMES)
    # The integrator's own error over the run; measured 4e-12.
    np.testing.assert_allclose(found, _integrate(n_layers, sigma, start), rtol=1e-9, atol=1e-11)


def _aligned(
    widths: tuple[int, ...], strengths: np.ndarray, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    k = len(strengths)
    bases = [np.linalg.qr(rng.normal(size=(d, d)))[0][:, :k] for d in widths]
    root = np.diag(strengths ** (1 / (len(widths) - 1)))
    return [up @ root @ low.T for low, up in pairwise(bases)], bases


@pytest.mark.parametrize("n_layers", range(1, 7))
def test_aligned_balanced_networks_move_by_modes(n_layers: int) -> None:
    """The published experiment: all layers integrated, rectangular widths."""
    widths = (4, 3, 5, 2, 4, 3, 2)[: n_layers + 1]
    sigmas, starts = np.array([2.0, 1.0]), np.array([0.05, 0.02])
    weights, bases = _aligned(widths, starts, n_layers)
    target = bases[-1] @ np.diag(sigmas) @ bases[0].T
    splits = np.cumsum([w.size for w in weights])[:-1]
    shapes = [w.shape for w in weights]

    def layers(flat: np.ndarray) -> list[np.ndarray]:
        return [w.reshape(s) for w, s in zip(np.split(flat, splits), shapes, strict=True)]

    def below(found: list[np.ndarray], count: int) -> np.ndarray:
        out = np.eye(widths[0])
        for weight in found[:count]:
            out = weight @ out
        return out

    def velocity(_: float, flat: np.ndarray) -> np.ndarray:
        found = layers(flat)
        left, parts = target - below(found, n_layers), []
        for index in reversed(range(n_layers)):
            parts.append((left @ below(found, index).T).ravel())
            left = found[index].T @ left
        return np.concatenate(parts[::-1])

    flat = np.concatenate([w.ravel() for w in weights])
    flow = solve_ivp(velocity, (0, 6), flat, method="DOP853", rtol=1e-12, atol=1e-14, t_eval=TIMES)
    modes_at = [
        mode_solution(n_layers, float(s), float(s0), TIMES)
        for s, s0 in zip(sigmas, starts, strict=True)
    ]
    for index in range(len(TIMES)):
        wanted = bases[-1] @ np.diag([m[index] for m in modes_at]) @ bases[0].T
        found = below(layers(flow.y[:, index]), n_layers)
        # The bound of the published experiment; the flow's own error is about 1e-11.
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("n_layers", "strong", "weak"),
    [(2, 0.91589, 1.94591), (3, 1.00265, 2.79664), (4, 0.99565, 3.19793)],
)
def test_reference_half_times(n_layers: int, strong: float, weak: float) -> None:
    # Five decimals are given.
    assert half_time(n_layers, 2.0, 0.05) == pytest.approx(strong, abs=6e-6)
    assert half_time(n_layers, 1.0, 0.02) == pytest.approx(weak, abs=6e-6)


def test_half_time_is_where_the_solution_is_half() -> None:
    for n_layers in (1, 2, 3, 7):
        time = half_time(n_layers, 1.7, 1e-3)
        found = mode_solution(n_layers, 1.7, 1e-3, np.array([time]))[0]
        assert found == pytest.approx(0.85, rel=1e-12)  # rounding of a root and its inverse


def test_plateau_time_leads_the_half_time() -> None:
    assert leading_half_time(2, 1.3, 0.01) == pytest.approx(half_time(2, 1.3, 0.01), rel=1e-13)
    # Three decimals are given.
    for n_layers, wanted in ((3, 0.982), (4, 0.998)):
        ratio = half_time(n_layers, 1.0, 1e-5) / leading_half_time(n_layers, 1.0, 1e-5)
        assert ratio == pytest.approx(wanted, abs=5e-4)
    for n_layers in (3, 4, 6):
        far = half_time(n_layers, 0.4, 1e-30) / leading_half_time(n_layers, 0.4, 1e-30)
        assert far == pytest.approx(1.0, abs=1e-8)  # next order (1e-30)^{1/3} times a constant


@pytest.mark.parametrize("n_layers", [2, 3, 4, 6])
@pytest.mark.parametrize(
    ("sigma", "start", "end"),
    [
        (1.5, 0.2, 1.2),
        (1.5, 1e-3, 1.5 * (1 - 1e-9)),
        (1.5, 1.4, 1.49),
        (1.5, 300.0, 40.0),
        (1.5, 40.0, 1.6),
        (1.5, -40.0, -2.0),
        (1.5, -2.0, -1e-3),
        (0.0, 3.0, 0.1),
    ],
)
def test_time_by_quadrature(n_layers: int, sigma: float, start: float, end: float) -> None:
    power = 2 - 2 / n_layers
    # Integrated in the coordinate log |x - limit|, where the integrand is smooth.
    limit = sigma if start > 0 else 0.0
    ends = [math.log(abs(x - limit)) for x in (start, end)]
    side = math.copysign(1.0, start - limit)

    def integrand(y: float) -> float:
        gap = side * math.exp(y)
        return gap / (n_layers * abs(limit + gap) ** power * (sigma - limit - gap))

    wanted = quad(integrand, *ends, epsabs=0, epsrel=1e-12, limit=500)[0]
    assert mode_time(n_layers, sigma, start, end) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize("n_layers", [3, 4, 5, 6])
def test_time_in_the_hypergeometric_form(n_layers: int) -> None:
    a, sigma = 2 / n_layers - 1, 1.3

    def antiderivative(x: float) -> float:
        return x**a / (a * sigma) * hyp2f1(1, a, a + 1, x / sigma)

    for start, end in ((0.01, 0.4), (0.3, 1.0)):
        wanted = (antiderivative(end) - antiderivative(start)) / n_layers
        assert mode_time(n_layers, sigma, start, end) == pytest.approx(wanted, rel=1e-11)


def test_time_of_four_layers_is_elementary() -> None:
    def antiderivative(x: float, sigma: float) -> float:
        low, high = math.sqrt(x), math.sqrt(sigma)
        return -2 / (sigma * low) + sigma**-1.5 * math.log((high + low) / (high - low))

    wanted = (antiderivative(1.9, 2.0) - antiderivative(0.03, 2.0)) / 4
    assert mode_time(4, 2.0, 0.03, 1.9) == pytest.approx(wanted, rel=1e-13)


@pytest.mark.parametrize("a", [0.1, 1 / 3, 2 / 3, 4 / 3, 5 / 3, 1.9])
def test_incomplete_beta_keeps_its_digits_near_the_target(a: float) -> None:
    """SciPy's own function is off by a factor of up to 4 here; quadrature is not."""
    for y in (-0.1, 0.1, 1.0, 5.0, 9.3, 30.0):  # x = expit(y)
        reach = float(np.logaddexp(0.0, -y))  # -log x

        def smooth(r: float) -> float:  # z = e^{-r}, less the pole
            return (math.exp(-a * r) - math.exp(-r)) / -math.expm1(-r)

        wanted = quad(smooth, reach, np.inf, epsabs=1e-14, epsrel=1e-13, limit=200)[0]
        wanted += float(np.logaddexp(0.0, y))  # int_0^x 1 / (1 - z)
        assert modes._beta(a, y) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("n_layers", [2, 3, 4, 6, 20])
@pytest.mark.parametrize("start", [1e-30, 1e-8, 0.5, 0.999, 1.001, 50.0, 1e6, -1e6, -1.0, -1e-8])
def test_time_inverts_the_solution(n_layers: int, start: float) -> None:
    """From starts over 36 decades to somewhere on their way."""
    end = start / 3 if start < 0 else math.sqrt(start) if start < 1 else 1 + (start - 1) / 3
    time = mode_time(n_layers, 1.0, start, end)
    found = mode_solution(n_layers, 1.0, start, np.array([time]))[0]
    assert found == pytest.approx(end, rel=1e-11)  # rounding of time times the rate at the end


def test_extreme_times_stay_on_the_path() -> None:
    times = np.array([0.0, 1e-40, 1.0, 1e9])
    for n_layers in (3, 6, 50):
        for start in (1e-300, 1 - 1e-12, 1e30, -1e30):
            found = mode_solution(n_layers, 1.0, start, times)
            assert found[0] == start
            limit = 1.0 if start > 0 else 0.0
            # Monotone but for the last bit of a number near 1.
            assert np.all(np.diff(np.abs(found - limit)) <= 2e-16)
    # Long after its plateau of 1e100 the smallest start has arrived.
    assert mode_solution(3, 1.0, 1e-300, np.array([1e101]))[0] == 1.0


@pytest.mark.parametrize("n_layers", [3, 4])
def test_the_wrong_side_ends_at_the_saddle_algebraically(n_layers: int) -> None:
    found = mode_solution(n_layers, 1.2, -0.5, np.array([800.0, 8e5]))
    law = -(((n_layers - 2) * 1.2 * np.array([800.0, 8e5])) ** (-n_layers / (n_layers - 2)))
    assert found[0] / law[0] == pytest.approx(1.0, abs=0.01)
    assert found[1] / law[1] == pytest.approx(1.0, abs=1e-4)  # next order falls as a root of 1/t


def test_where_nothing_moves() -> None:
    for n_layers in (2, 3, 5):
        assert np.all(mode_solution(n_layers, 1.5, 0.0, TIMES) == 0.0)
        assert np.all(mode_solution(n_layers, 0.0, 0.0, TIMES) == 0.0)
        assert np.all(mode_solution(n_layers, 1.5, 1.5, TIMES) == 1.5)
        assert half_time(n_layers, 1.5, 0.0) == math.inf
    # One layer has no saddle at 0 and crosses it.
    assert mode_solution(1, 1.0, -1.0, np.array([math.log(2.0)]))[0] == pytest.approx(0, abs=1e-15)
    assert mode_time(1, 1.0, -1.0, 0.0) == pytest.approx(math.log(2.0), rel=1e-15)


def test_ends_of_the_path() -> None:
    assert mode_time(3, 1.0, 0.2, 0.2) == 0.0
    assert mode_time(3, 1.0, 0.2, 1.0) == math.inf
    assert mode_time(3, 1.0, -0.2, 0.0) == math.inf
    assert mode_time(3, 0.0, 0.2, 0.0) == math.inf
    assert mode_time(1, 1.0, 0.0, 1.0) == math.inf


@pytest.mark.parametrize("end", [0.1, 1.5, -0.2])
def test_what_is_never_passed_is_refused(end: float) -> None:
    with pytest.raises(InputError, match=r"`end` must lie between the start 0\.2 and the limit 1"):
        mode_time(3, 1.0, 0.2, end)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0, 1.0, 0.1, TIMES), "n_layers"),
        ((3, -1.0, 0.1, TIMES), "sigma"),
        ((3, math.nan, 0.1, TIMES), "sigma"),
        ((3, 1.0, math.nan, TIMES), "start"),
        ((3, 1.0, math.inf, TIMES), "start"),
        ((3, 1.0, 0.1, np.array([0.0, -1.0])), "times"),
        ((3, 1.0, 0.1, np.array([0.0, np.nan])), "times"),
    ],
)
def test_bad_input_of_the_solution(arguments: tuple, name: str) -> None:
    with pytest.raises(InputError, match=f"Argument `{name}` must"):
        mode_solution(*arguments)


def test_bad_input_of_the_half_times() -> None:
    for arguments, name in (
        ((1, 1.0, 0.1), "n_layers"),
        ((3, 0.0, 0.1), "sigma"),
        ((3, 1.0, 0.0), "start"),
        ((3, 1.0, 0.6), "start"),
    ):
        with pytest.raises(InputError, match=f"Argument `{name}` must"):
            leading_half_time(*arguments)
    for start in (0.6, -0.1):
        with pytest.raises(InputError, match="Argument `end` must lie between"):
            half_time(3, 1.0, start)
