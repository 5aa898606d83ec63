"""Several outputs: pairs after descent, rates from a tiny start, levels of narrow networks."""

import numpy as np
import pytest
from support.planted_starts import drawn

from gramdyn._errors import InputError
from gramdyn.planted import (
    efold_steps,
    growth_rates,
    loss_levels,
    paired_minimum,
    pairing,
    simplex_level,
)
from gramdyn.planted._points import gradient_of, loss_of


def _starts(n: int, k: int, c: int, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    return drawn(n, k, c, sigma)


@pytest.mark.parametrize(("c", "sigma"), [(2, 1.0), (3, 1e-8)])
def test_networks_of_twice_the_outputs_end_in_pairs(c: int, sigma: float, descend) -> None:
    target = np.eye(c, 3 * c)
    hidden, readout = descend(*_starts(30, 2 * c, c, sigma), target, 0.1, 3000)
    found = pairing(hidden, readout)
    assert np.max(loss_of(hidden, readout, target)) < 1e-14
    assert np.all(found.mutual)
    # rounding, and what is left of the slowest seed
    assert np.max(found.cosine) < -1 + 1e-12
    assert np.max(found.readout_cosine) < -1 + 1e-12
    assert np.max(found.mismatch) < 1e-6
    if sigma < 1:  # no imbalance but that of the drift of steps, linear in eta
        np.testing.assert_allclose(found.ratio, 1.0, atol=3e-3)
    assert 0.02 < np.median(found.overlap) < 0.3  # roughly orthogonal, and no more


def test_pairs_by_construction() -> None:
    rng = np.random.default_rng(0)
    rows, turned = rng.normal(size=(3, 8)), rng.normal(size=(3, 3))
    hidden, readout, _ = paired_minimum(rows, turned, [1.0, 0.5, 3.0])
    found = pairing(hidden, readout)
    np.testing.assert_array_equal(found.partner, [3, 4, 5, 0, 1, 2])
    assert found.mutual.all()
    np.testing.assert_allclose(found.ratio[:3], [1.0, 0.5, 3.0], rtol=1e-14)
    np.testing.assert_allclose(found.mismatch, 0.0, atol=1e-14)
    np.testing.assert_allclose(found.readout_cosine, -1.0, atol=1e-14)
    units = rows / np.linalg.norm(rows, axis=1)[:, None]
    wanted = np.max(np.abs(units @ units.T - np.eye(3)))
    assert found.overlap == pytest.approx(wanted, abs=1e-14)


def test_partners_need_not_be_mutual_and_zeros_have_none_that_match() -> None:
    rows = np.array([[1.0, 0.0], [-1.0, 0.1], [-1.0, 0.5], [0.0, 0.0]])
    found = pairing(rows, np.ones((4, 1)))
    np.testing.assert_array_equal(found.mutual[:3], [True, True, False])
    assert np.isinf(found.ratio[3])
    assert np.all(np.isfinite(found.cosine))
    batch = pairing(np.stack([rows, rows]), np.ones((2, 4, 1)))
    np.testing.assert_array_equal(batch.partner[1], found.partner)
    # the neuron left over is no stranger to the one it would pair with
    found = pairing([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.5], [-0.6, 0.8, 0.0]], np.ones((3, 1)))
    assert found.overlap == pytest.approx(0.6 / np.sqrt(1.25), rel=1e-14)
    assert pairing([[1.0], [-1.0]], [[1.0], [-1.0]]).overlap == 0.0


def test_directions_grow_at_half_their_singular_values(descend) -> None:
    """diag(2, 1/2): half of each is learnt in the ratio of the steps of an e-fold."""
    target, eta = np.diag([2.0, 0.5]) @ np.eye(2, 6), 0.1
    hidden, readout = descend(*_starts(40, 4, 2, 1e-8), target, eta, 1500, every=1)
    learnt = np.einsum("tskc,tskc->tsc", readout, hidden[..., :2]) / 2
    seen = np.median(np.argmax(learnt > np.array([1.0, 0.25]), axis=0), axis=0)
    steps = efold_steps(target, eta)
    np.testing.assert_allclose(growth_rates(target), [1.0, 0.25], rtol=1e-15)
    np.testing.assert_allclose(steps, 1 / np.log1p([0.1, 0.025]), rtol=1e-13)
    assert seen[1] / seen[0] == pytest.approx(steps[1] / steps[0], rel=0.05)
    between = int((seen[0] + seen[1]) / 2)
    level = loss_levels(target)[1]
    assert level == pytest.approx(0.125, rel=1e-14)
    losses = loss_of(hidden[between], readout[between], target)
    assert np.median(np.abs(losses - level)) < 1e-3


def test_rates_and_levels_of_targets_without_full_rank() -> None:
    target = np.outer([3.0, 4.0], [1.0, 0.0, 0.0])
    np.testing.assert_allclose(growth_rates(target), [2.5, 0.0], atol=1e-15)
    np.testing.assert_allclose(loss_levels(target), [12.5, 0.0, 0.0], atol=1e-14)
    assert efold_steps(np.zeros((1, 2)), 0.1)[0] == np.inf


@pytest.mark.parametrize("c", [1, 2, 3])
def test_networks_of_one_neuron_more_than_outputs_end_at_the_simplex(c: int, descend) -> None:
    target, k = np.eye(c, 2 * c + 1), c + 1
    rng = np.random.default_rng(c)
    starts = 0.01 * rng.normal(size=(8, k, 2 * c + 1)), 0.01 * rng.normal(size=(8, k, c))
    if c == 1:
        starts[1][:, 0], starts[1][:, 1] = 0.05, -0.05  # both signs
    end = loss_of(*descend(*starts, target, 0.1, 4000), target)
    np.testing.assert_allclose(end, simplex_level(c), atol=1e-9)


def test_the_simplex_is_stationary() -> None:
    """120 degrees: 0.158251255, as published by root search."""
    turn = 2 * np.pi * np.arange(3) / 3
    units = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    shared = (np.sin(turn[1]) + (np.pi - turn[1]) * np.cos(turn[1])) / (2 * np.pi)
    size = np.sqrt(3 / (2 * (1.5 - 3 * shared)))
    for slope in gradient_of(size * units, size * units, np.eye(2)):
        np.testing.assert_allclose(slope, 0.0, atol=1e-15)
    level = loss_of(size * units, size * units, np.eye(2))
    assert level == pytest.approx(simplex_level(2), rel=1e-14)
    assert simplex_level(2) == pytest.approx(0.158251255, abs=5e-10)


def test_bad_input_is_refused() -> None:
    for call in (
        lambda: pairing(np.ones((1, 2)), np.ones((1, 1))),
        lambda: pairing(np.ones((2, 2)), np.ones((3, 1))),
        lambda: pairing(np.full((2, 2), np.nan), np.ones((2, 1))),
        lambda: growth_rates(np.ones(3)),
        lambda: efold_steps(np.eye(2), 0.0),
        lambda: simplex_level(0),
    ):
        with pytest.raises(InputError, match="Argument"):
            call()
