"""Two layers solved exactly, against integrated layers and the formula at one stroke."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from gramdyn._errors import InputError
from gramdyn.deep_linear.riccati import lambda_balanced_weights, riccati_solution

TIMES = np.linspace(0.0, 8.0, 9)

# Widths, imbalance, singular values of the target.
CASES = {
    "balanced": ((3, 3, 3), 0.0, (3.0, 2.0, 1.0)),
    "outer layer heavier": ((4, 3, 5), 0.7, (2.0, 1.0, 0.5)),
    "inner layer heavier": ((4, 3, 2), -0.4, (2.0, 1.0)),
    "wide": ((3, 8, 3), 0.0, (3.0, 1.0, 0.5)),
    "target of rank one": ((4, 3, 4), 0.7, (2.0,)),
    "zero target": ((3, 2, 3), 0.0, (0.0,)),
    "tied": ((3, 3, 3), -0.4, (1.5, 1.5, 1.5)),
    "narrower than the rank": ((3, 1, 3), 0.0, (2.0, 1.0, 0.5)),
}


def _target(d2: int, d0: int, values: tuple[float, ...], seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(d, d)))[0] for d in (d2, d0))
    k = len(values)
    return left[:, :k] @ np.diag(values) @ right[:, :k].T


def _problem(case: str) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    widths, lam, values = CASES[case]
    return lambda_balanced_weights(widths, lam, 0.4, 1), _target(widths[2], widths[0], values)


def _integrate(weights: tuple, target: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    first, second = weights

    def layers(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return flat[: first.size].reshape(first.shape), flat[first.size :].reshape(second.shape)

    def velocity(_: float, flat: np.ndarray) -> np.ndarray:
        inner, outer = layers(flat)
        left = target - outer @ inner
        return np.concatenate([(outer.T @ left).ravel(), (left @ inner.T).ravel()])

    start = np.concatenate([first.ravel(), second.ravel()])
    flow = solve_ivp(velocity, (0, 8), start, method="DOP853", rtol=1e-13, atol=1e-13, t_eval=TIMES)
    return [layers(flat) for flat in flow.y.T]


@pytest.mark.parametrize("case", CASES)
def test_solution_is_the_integrated_flow(case: str) -> None:
    weights, target = _problem(case)
    found = riccati_solution(weights, target, TIMES)
    for index, (inner, outer) in enumerate(_integrate(weights, target)):
        # Error of the integrator; measured 4e-12.
        np.testing.assert_allclose(found.maps[index], outer @ inner, rtol=0, atol=1e-10)
        np.testing.assert_allclose(found.input_grams[index], inner.T @ inner, rtol=0, atol=1e-10)
        np.testing.assert_allclose(found.output_grams[index], outer @ outer.T, rtol=0, atol=1e-10)


def _one_stroke(weights: tuple, target: np.ndarray, time: float) -> np.ndarray:
    """The formula without substeps, lam = 0 and F invertible."""
    zero = np.zeros((3, 3))
    generator = np.block([[zero, target.T], [target, zero]])
    rates, basis = np.linalg.eigh(generator)
    past = basis @ np.diag(np.expm1(2 * rates * time) / (2 * rates)) @ basis.T
    factor = np.vstack([weights[0].T, weights[1]])
    grown = expm(generator * time) @ factor
    inner = np.eye(factor.shape[1]) + factor.T @ past @ factor
    return (grown @ np.linalg.solve(inner, grown.T))[3:, :3]


def test_substeps_keep_the_digits_that_one_stroke_loses() -> None:
    weights = lambda_balanced_weights((3, 5, 3), 0.0, 0.3, 1)
    target = _target(3, 3, (3.0, 2.0, 1.0))
    found = riccati_solution(weights, target, np.array([1.0, 12.0, 100.0])).maps
    # Early both agree to rounding.
    np.testing.assert_allclose(found[0], _one_stroke(weights, target, 1.0), rtol=0, atol=1e-13)
    # At t = 12 the weakest mode is e^{-24} times a constant below its target, at 100 at it.
    assert np.max(np.abs(found[1] - target)) < 1e-6
    assert np.max(np.abs(found[2] - target)) < 1e-14
    assert np.max(np.abs(_one_stroke(weights, target, 12.0) - target)) > 0.1


def test_solution_does_not_depend_on_the_times_asked_for() -> None:
    weights, target = _problem("outer layer heavier")
    alone = riccati_solution(weights, target, np.array([3.7])).maps[0]
    among = riccati_solution(weights, target, np.array([0.0, 0.1, 0.1, 2.0, 3.7])).maps
    np.testing.assert_allclose(among[-1], alone, rtol=0, atol=1e-14)  # rounding of some substeps
    np.testing.assert_array_equal(among[1], among[2])
    np.testing.assert_allclose(among[0], weights[1] @ weights[0], rtol=0, atol=1e-15)


def test_zero_weights_stay_zero() -> None:
    found = riccati_solution((np.zeros((2, 3)), np.zeros((4, 2))), np.ones((4, 3)), TIMES)
    assert not np.any(found.maps)


def test_without_a_target_the_map_falls_algebraically() -> None:
    """F = 0, so Phi is t I throughout: each mode s / (1 + 2 s t), lam = 0."""
    weights = lambda_balanced_weights((3, 3, 3), 0.0, 0.8, 2)
    left, values, right = np.linalg.svd(weights[1] @ weights[0])
    found = riccati_solution(weights, np.zeros((3, 3)), np.array([5.0])).maps[0]
    wanted = left @ np.diag(values / (1 + 2 * values * 5.0)) @ right
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)


def test_rates_that_are_exactly_zero() -> None:
    weights = (0.5 * np.eye(3), 0.5 * np.eye(3))
    target = np.diag([2.0, 0.0, 0.0])
    found = np.diag(riccati_solution(weights, target, np.array([5.0])).maps[0])
    wanted = [2.0 / (1 + 7.0 * np.exp(-20.0)), 0.25 / 3.5, 0.25 / 3.5]
    np.testing.assert_allclose(found, wanted, rtol=1e-14)  # rounding of five substeps


@pytest.mark.parametrize(
    ("widths", "lam"),
    [((3, 4, 5), 0.7), ((5, 4, 3), -0.4), ((3, 7, 2), 0.0), ((2, 4, 4), 2.0), ((4, 4, 1), -2.0)],
)
def test_drawn_weights_are_balanced(widths: tuple[int, int, int], lam: float) -> None:
    first, second = lambda_balanced_weights(widths, lam, 0.5, 3)
    assert first.shape == (widths[1], widths[0])
    assert second.shape == (widths[2], widths[1])
    conserved = second.T @ second - first @ first.T
    np.testing.assert_allclose(conserved, lam * np.eye(widths[1]), rtol=0, atol=2e-15)
    assert np.linalg.matrix_rank(second @ first) == min(widths)


@pytest.mark.parametrize(("widths", "lam"), [((3, 4, 3), 0.7), ((3, 4, 5), -0.4)])
def test_widths_that_cannot_carry_the_imbalance(widths: tuple[int, int, int], lam: float) -> None:
    with pytest.raises(InputError, match="let a hidden layer carry lam"):
        lambda_balanced_weights(widths, lam, 0.5, 0)


def test_unbalanced_weights_are_refused_with_the_number_found() -> None:
    weights, target = _problem("balanced")
    off = (weights[0], weights[1] + np.diag([1e-3, 0.0, 0.0]))
    with pytest.raises(InputError, match=r"of lam I in every entry, but is 0\.00"):
        riccati_solution(off, target, TIMES)
    riccati_solution(off, target, TIMES, tolerance=0.1)


def test_bad_input() -> None:
    weights, target = _problem("balanced")
    for arguments, name in (
        (((*weights, np.eye(3)), target, TIMES), "weights"),
        ((weights, target[:2], TIMES), "target"),
        ((weights, target * np.nan, TIMES), "target"),
        (((weights[0] * np.nan, weights[1]), target, TIMES), "weights"),
        ((weights, target, TIMES[::-1]), "times"),
        ((weights, target, np.full(9, np.inf)), "times"),
        ((weights, target, TIMES - 1.0), "times"),
        ((weights, target, TIMES, -1.0), "tolerance"),
    ):
        with pytest.raises(InputError, match=f"`{name}`"):
            riccati_solution(*arguments)
    for arguments, name in (
        (((3, 3), 0.0, 0.5, 0), "widths"),
        (((3, 0, 3), 0.0, 0.5, 0), "widths"),
        (((3, 3, 3), np.nan, 0.5, 0), "lam"),
        (((3, 3, 3), 0.0, 0.0, 0), "scale"),
        (((3, 3, 3), 0.0, 0.5, -1), "seed"),
    ):
        with pytest.raises(InputError, match=f"`{name}`"):
            lambda_balanced_weights(*arguments)
