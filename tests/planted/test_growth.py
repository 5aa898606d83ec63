"""Logistic growth against integration and against descent, step by step."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from support.planted_starts import drawn

from gramdyn._errors import InputError
from gramdyn.planted import (
    early_strengths,
    group_gain,
    growth_loss,
    growth_steps,
    half_rise_offset,
    half_rise_steps,
    half_rise_time,
    rise_lag_steps,
)
from gramdyn.planted._points import gains_of, loss_of

SIGNS = (1, -1)


def _run(descend, n: int, eta: float, n_steps: int, sigma: float = 1e-8, size: float = 1.0):
    """Strengths, and gains and losses after every step, of pairs that learn the map."""
    target = size * np.eye(1, 3)
    rows, turned = drawn(n, 2, 1, sigma, law="balanced", signs=SIGNS)
    strengths = early_strengths(rows, turned, target)
    hidden, readout = descend(rows, turned, target, eta, n_steps, every=1)
    return strengths, np.abs(gains_of(hidden, readout)), loss_of(hidden, readout, target)


def _crossing(values: np.ndarray, level: float) -> np.ndarray:
    """Steps, not whole, at which values along the first axis rise through a level."""
    after = np.argmax(values > level, axis=0)
    low, high = (np.take_along_axis(values, after[None] + i, 0)[0] for i in (-1, 0))
    return after + (level - low) / (high - low)  # the first entry is after one step


@pytest.mark.parametrize("start", [1e-6, 0.3])
@pytest.mark.parametrize("size", [1.0, 0.6])
def test_gain_of_a_group_by_integration(start: float, size: float) -> None:
    times = np.linspace(0.0, 30.0, 7)
    flow = solve_ivp(
        lambda _, e: e * (size - e), (0, 30), [start], t_eval=times, rtol=1e-12, atol=1e-18
    )
    np.testing.assert_allclose(group_gain(times, start, size), flow.y[0], rtol=1e-9)
    assert group_gain(30.0, 0.0) == 0.0


@pytest.mark.parametrize(("eta", "offset"), [(0.1, 0.509), (0.02, 0.518)])
def test_half_rise_of_descent(eta: float, offset: float, descend) -> None:
    strengths, gains, _ = _run(descend, 12, eta, int(60 / eta))
    seen, wanted = _crossing(gains, 0.5), half_rise_steps(strengths, eta)
    # interpolation between steps, of third order where the law has its turning point
    np.testing.assert_allclose(seen, wanted, rtol=0, atol=1e-3)
    lag = rise_lag_steps(strengths[:, 0], strengths[:, 1], eta)
    np.testing.assert_allclose(np.abs(seen[:, 0] - seen[:, 1]), lag, rtol=0, atol=1e-3)
    assert half_rise_offset(eta) == pytest.approx(offset, abs=5e-4)  # published to three digits


def test_offset_for_small_steps_is_that_of_the_flow() -> None:
    """x' = x + eta/2 (x - x^3) in the limit: the modified flow gives log(8)/4 at half."""
    found = [half_rise_offset(eta) for eta in (0.004, 0.002, 0.001)]
    limit = found[2] + (found[2] - found[1])  # linear in eta
    assert limit == pytest.approx(np.log(8) / 4, abs=1e-6)


def test_time_of_half_rise_inverts_the_gain() -> None:
    strengths = np.array([1e-8, 1e-3, -0.4])
    times = half_rise_time(strengths, 0.7)
    gains = [group_gain(t, s**2 / 4, 0.7) for t, s in zip(times, strengths, strict=True)]
    np.testing.assert_allclose(gains, 0.35, rtol=1e-13)
    np.testing.assert_allclose(half_rise_time([1e-8]), 2 * np.log(2e8), rtol=1e-15)
    assert half_rise_time([0.0])[0] == np.inf


@pytest.mark.parametrize(("eta", "size"), [(0.1, 1.0), (0.05, 0.5)])
def test_loss_of_descent_reaches_its_level_as_predicted(eta: float, size: float, descend) -> None:
    strengths, _, loss = _run(descend, 20, eta, int(60 / eta / size), size=size)
    for level in (0.375, 0.01):
        first = 1 + np.argmax(loss <= level * size**2, axis=0)
        found = growth_steps(strengths, eta, level, size)
        late = first - found  # the first whole step after it; the rest is interpolation
        assert np.all((late > -0.01) & (late < 1.01))


def test_loss_of_the_flow_is_that_of_small_steps(descend) -> None:
    eta = 0.005
    strengths, _, loss = _run(descend, 3, eta, 8000, sigma=1e-6)
    times = eta * np.arange(1, 8001)[::400]
    found = growth_loss(times, strengths)
    # eta times the slope of the loss along a path of 30 time units; measured 0.02
    np.testing.assert_allclose(loss[::400], found, rtol=0, atol=0.03)
    np.testing.assert_allclose(growth_loss(np.array([0.0, 1e3]), [1e-9, 1e-9]), [0.5, 0.25])


def test_steps_until_what_never_comes() -> None:
    strengths = np.array([[1e-8, 1e-8], [1e-8, -1e-8], [0.0, 0.0]])
    assert list(np.isinf(growth_steps(strengths, 0.1))) == [True, False, True]
    assert list(np.isinf(growth_steps(strengths, 0.1, 0.375))) == [False, False, True]
    # 20.496 steps for each e-fold of the scale at eta = 0.1
    slope = growth_steps([1e-9, -1e-9], 0.1) - growth_steps([1e-8, -1e-8], 0.1)
    # two interpolations within a step
    assert slope / np.log(10) == pytest.approx(1 / np.log(1.05), abs=2e-3)


def test_values_out_of_range_are_refused() -> None:
    for call in (
        lambda: group_gain(1.0, 1.0),
        lambda: group_gain(-1.0, 0.1),
        lambda: growth_loss(np.ones(1), [3.0, -1.0]),
        lambda: half_rise_time([2.0]),
        lambda: half_rise_offset(1.5),
        lambda: rise_lag_steps(0.0, 1.0, 0.1),
        lambda: growth_steps([1e-3, -1e-3], 0.1, 0.5),
        lambda: growth_steps([np.nan], 0.1),
    ):
        with pytest.raises(InputError, match="Argument"):
            call()
