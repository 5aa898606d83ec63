"""Invariant subspaces and ways out of saddles, against the flow followed by another integrator."""

import math
from itertools import pairwise

import numpy as np
import pytest
from support.deep_linear_points import SIGMA, canonical

from gramdyn._errors import InputError
from gramdyn.deep_linear._points import flatten, gradients, loss_of
from gramdyn.deep_linear.canonical import canonical_weights
from gramdyn.deep_linear.classify import classify
from gramdyn.deep_linear.escape import unstable_directions
from gramdyn.deep_linear.manifolds import (
    level_subspace,
    origin_manifolds,
    project_onto_level_subspace,
)
from gramdyn.deep_linear.modes import mode_solution, mode_time
from gramdyn.deep_linear.paths import algebraic_approach, escape_time, follow

DIAGONAL = np.diag(SIGMA)
DEPTHS = [(3, 4, 3), (3, 4, 4, 3), (3, 4, 4, 4, 3)]
SETS = [(0,), (1,), (0, 2)]


def _random(rng, widths, scale=0.7):
    return tuple(scale * rng.normal(size=(up, low)) for low, up in pairwise(widths))


def _rotated(rng):
    left, right = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
    return left @ DIAGONAL @ right.T


def _level(chosen):
    return 0.5 * sum(s**2 for mode, s in enumerate(SIGMA) if mode not in chosen)


def _check_landing(widths, chosen, seeds):
    for seed in seeds:
        start = _random(np.random.default_rng(seed), widths)
        inside = project_onto_level_subspace(start, DIAGONAL, chosen)
        path = follow(inside, DIAGONAL, 60.0, n_samples=2, method="LSODA")
        assert path.losses[-1] == pytest.approx(_level(chosen), abs=1e-8)


@pytest.mark.parametrize("widths", DEPTHS)
@pytest.mark.parametrize("chosen", SETS)
def test_start_in_the_subspace_lands_on_its_level(widths, chosen):
    _check_landing(widths, chosen, [0])


@pytest.mark.slow
@pytest.mark.parametrize("widths", DEPTHS)
@pytest.mark.parametrize("chosen", SETS)
def test_ten_starts_in_the_subspace_land_on_its_level(widths, chosen):
    _check_landing(widths, chosen, range(10))


@pytest.mark.parametrize("widths", DEPTHS)
@pytest.mark.parametrize("chosen", [(), *SETS, (0, 1, 2)])
def test_flow_is_tangent_to_the_subspace_for_any_target(widths, chosen):
    rng = np.random.default_rng(3)
    target = _rotated(rng)
    inside = project_onto_level_subspace(_random(rng, widths), target, chosen)
    slopes = gradients(inside, target)
    again = project_onto_level_subspace(slopes, target, chosen)
    np.testing.assert_allclose(flatten(again), flatten(slopes), atol=1e-13)


@pytest.mark.parametrize("widths", DEPTHS)
@pytest.mark.parametrize("chosen", [(), *SETS])
def test_dimension_is_the_rank_of_the_projection(widths, chosen):
    target = _rotated(np.random.default_rng(4))
    shapes = [(up, low) for low, up in pairwise(widths)]
    size = sum(up * low for up, low in shapes)
    columns = []
    for unit in np.eye(size):
        ends = np.cumsum([up * low for up, low in shapes])[:-1]
        parts = [p.reshape(s) for p, s in zip(np.split(unit, ends), shapes, strict=True)]
        columns.append(flatten(project_onto_level_subspace(parts, target, chosen)))
    projector = np.array(columns)
    np.testing.assert_allclose(projector, projector.T, atol=1e-14)
    np.testing.assert_allclose(projector @ projector, projector, atol=1e-14)
    found = level_subspace(target, widths, chosen).dimension
    assert found == np.linalg.matrix_rank(projector, tol=1e-8)


def test_canonical_points_lie_in_the_subspace_of_their_level():
    target = _rotated(np.random.default_rng(5))
    weights = canonical_weights(target, (3, 4, 4, 3), (0, 2))
    inside = project_onto_level_subspace(weights, target, (0, 2))
    np.testing.assert_allclose(flatten(inside), flatten(weights), atol=1e-14)


def test_zero_modes_are_not_held_and_cannot_be_chosen():
    target = np.diag([2.0, 0.0])
    assert level_subspace(target, (2, 3, 2), ()).dimension == 12 - 6
    assert level_subspace(np.zeros((2, 2)), (2, 3, 2), ()).dimension == 12
    with pytest.raises(InputError, match="chosen"):
        level_subspace(target, (2, 3, 2), (1,))


def test_tied_modes_lost_together_need_no_basis():
    turned, _ = np.linalg.qr(np.random.default_rng(6).normal(size=(2, 2)))
    target = np.diag([3.0, 2.0, 2.0])
    target[1:, 1:] = 2.0 * turned @ turned.T
    found = level_subspace(target, (3, 3, 3), (0,))
    np.testing.assert_allclose(found.input_projector, np.diag([1.0, 0, 0]), atol=1e-14)


@pytest.mark.parametrize("n_layers", [2, 3, 4])
@pytest.mark.parametrize("chosen", [(), (0,), (0, 1)])
def test_unstable_direction_of_a_mode_leads_to_the_level_with_that_mode(n_layers, chosen):
    weights = canonical(SIGMA, (3,) * (n_layers + 1), chosen)
    for found in unstable_directions(weights, DIAGONAL):
        assert found.coefficient == pytest.approx(
            SIGMA[found.mode] * n_layers ** (-n_layers / 2), rel=1e-3
        )
        moved = tuple(w + 0.2 * v for w, v in zip(weights, found.direction, strict=True))
        path = follow(moved, DIAGONAL, 120.0, n_samples=2, method="LSODA")
        learned = (*chosen, found.mode)
        assert path.losses[-1] == pytest.approx(_level(learned), abs=1e-8)
        reached = classify(path.weights, DIAGONAL, tolerance=1e-6).coefficients
        np.testing.assert_allclose(reached, [float(m in learned) for m in range(3)], atol=1e-6)


def _origin(seed, d_1=4):
    rng = np.random.default_rng(seed)
    target = _rotated(rng)
    return origin_manifolds(_random(rng, (3, d_1, 3)), target), target, rng


@pytest.mark.parametrize("d_1", [2, 3, 4])
def test_parts_of_the_origin_add_up_and_are_invariant(d_1):
    rng = np.random.default_rng(d_1)
    target, weights = _rotated(rng), _random(rng, (3, d_1, 3))
    parts = origin_manifolds(weights, target)
    total = flatten(parts.stable) + flatten(parts.unstable)
    np.testing.assert_allclose(total, flatten(weights), atol=1e-14)
    assert flatten(parts.stable) @ flatten(parts.unstable) == pytest.approx(0.0, abs=1e-13)
    for side in ("stable", "unstable"):
        speed = gradients(getattr(parts, side), target)
        kept = getattr(origin_manifolds(speed, target), side)
        np.testing.assert_allclose(flatten(kept), flatten(speed), atol=1e-13)


def test_stable_part_decays_to_the_origin_and_unstable_part_leaves_it():
    parts, target, _ = _origin(7)
    # Rounding off the manifold grows by e^{3 t}: short of 1 at t = 8 from 1e-16.
    back = follow(parts.stable, target, 5.0, n_samples=2)
    # The slowest mode decays as e^{-sigma t} with sigma = 1.
    assert np.linalg.norm(flatten(back.weights)) < 3 * math.exp(-5.0)
    small = tuple(1e-3 * w for w in parts.unstable)
    away = follow(small, target, 20.0, n_samples=2)
    assert away.losses[-1] < 1e-6


def test_small_parts_grow_and_decay_at_the_rates_of_the_hessian():
    # In coordinates where T is diagonal, column i of W_1 moves as e^{-sigma_i t} or e^{sigma_i t}.
    rng = np.random.default_rng(8)
    small = _random(rng, (3, 2, 3), scale=1e-6)
    parts = origin_manifolds(small, DIAGONAL)
    for side, sign in (("stable", -1), ("unstable", 1)):
        start = getattr(parts, side)
        end = follow(start, DIAGONAL, 1.0, n_samples=2, atol=1e-20).weights
        np.testing.assert_allclose(end[0], start[0] * np.exp(sign * np.array(SIGMA)), rtol=1e-8)


@pytest.mark.parametrize("method", ["DOP853", "LSODA"])
def test_followed_flow_keeps_its_invariants_and_loses_what_its_gradient_takes(method):
    rng = np.random.default_rng(9)
    weights, target = _random(rng, (3, 4, 2, 3)), _rotated(rng)
    path = follow(weights, target, 4.0, n_samples=4001, method=method)
    for low, up in pairwise(range(3)):
        before = weights[up].T @ weights[up] - weights[low] @ weights[low].T
        after = path.weights[up].T @ path.weights[up] - path.weights[low] @ path.weights[low].T
        np.testing.assert_allclose(after, before, atol=1e-7)  # LSODA: 4e-8; DOP853: 1e-10
    assert path.losses[0] == pytest.approx(loss_of(weights, target))
    assert path.losses[-1] == pytest.approx(loss_of(path.weights, target))
    assert np.all(np.diff(path.losses) <= 1e-9)
    # dLoss/dt at the start is minus the squared gradient; the one-sided slope is off by O(dt).
    slope = (path.losses[1] - path.losses[0]) / path.times[1]
    assert slope == pytest.approx(-np.sum(flatten(gradients(weights, target)) ** 2), rel=0.05)


@pytest.mark.parametrize("n_layers", [2, 3, 4])
def test_escape_from_an_aligned_start_takes_the_exact_time_of_its_mode(n_layers):
    delta, level, sigma = 0.05, 0.8, SIGMA[1]
    weights = canonical(SIGMA, (3,) * (n_layers + 1), (0,))
    for weight in weights:
        weight[1, 1] = delta
    time = mode_time(n_layers, sigma, delta**n_layers, level)
    path = follow(weights, DIAGONAL, time, n_samples=2, rtol=1e-12, atol=1e-14)
    reached = np.linalg.multi_dot([w for w in path.weights[::-1]])[1, 1]
    assert reached == pytest.approx(level, rel=1e-9)  # the integrator's tolerance over 200 units


@pytest.mark.parametrize("n_layers", [2, 3, 4, 5])
def test_leading_law_of_escape_is_that_of_the_exact_time(n_layers):
    sigma, delta, level = 2.0, 1e-3, 1e-3
    exact = mode_time(n_layers, sigma, delta**n_layers, level)
    # The law leaves out s/sigma beside 1: relative error below level/sigma = 5e-4.
    assert escape_time(n_layers, sigma, delta, level) == pytest.approx(exact, rel=5e-4)
    closed = {
        2: math.log(1 / delta) / sigma,
        3: 1 / (sigma * delta),
        4: 1 / (2 * sigma * delta**2),
        5: 1 / (3 * sigma * delta**3),
    }
    assert escape_time(n_layers, sigma, delta) == pytest.approx(closed[n_layers], rel=1e-14)


@pytest.mark.parametrize("n_layers", [3, 4, 5])
def test_wrong_sign_reaches_the_saddle_algebraically(n_layers):
    for time, slack in ((800.0, 1e-2), (80000.0, 1e-3)):
        exact = -mode_solution(n_layers, 1.0, -0.5, np.array([time]))[0]
        assert algebraic_approach(n_layers, 1.0, time) == pytest.approx(exact, rel=slack)


def test_bad_input_is_refused_in_words():
    weights = canonical(SIGMA, (3, 3, 3), (0,))
    cases = [
        ("two layers or more", lambda: level_subspace(DIAGONAL, (3, 3), ())),
        ("chosen", lambda: level_subspace(DIAGONAL, (3, 1, 3), (0, 1))),
        ("finite", lambda: project_onto_level_subspace(weights, DIAGONAL * np.nan, ())),
        ("two layers", lambda: origin_manifolds((*weights, np.eye(3)), DIAGONAL)),
        ("square", lambda: origin_manifolds((np.ones((2, 3)), np.ones((2, 2))), np.ones((2, 3)))),
        ("invertible", lambda: origin_manifolds(weights, np.diag([2.0, 1.0, 0.0]))),
        ("float64", lambda: follow([w.astype(np.float32) for w in weights], DIAGONAL, 1.0)),
        ("time", lambda: follow(weights, DIAGONAL, 0.0)),
        ("n_samples", lambda: follow(weights, DIAGONAL, 1.0, n_samples=1)),
        ("n_layers", lambda: escape_time(1, 1.0, 0.1)),
        ("level", lambda: escape_time(2, 1.0, 0.5, level=0.1)),
        ("n_layers", lambda: algebraic_approach(2, 1.0, 1.0)),
    ]
    for words, call in cases:
        with pytest.raises(InputError, match=words):
            call()
