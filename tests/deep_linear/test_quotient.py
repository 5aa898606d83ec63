"""Orbits and multiplicities against the adjacency matrix, stabilisers and gauge copies."""

from itertools import pairwise

import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.deep_linear.canonical import canonical_weights, canonical_weights_from_subspace
from gramdyn.deep_linear.critical import global_minimum
from gramdyn.deep_linear.products import whole_map
from gramdyn.deep_linear.quotient import (
    canonical_orbit_dimension,
    interval_multiplicities,
    jordan_blocks,
    orbit_dimension,
    quotient_representative,
)

TARGET = np.diag([3.0, 2.0, 1.0])
WIDTHS = [(2, 3), (3, 4, 2), (2, 3, 1, 4), (3, 3, 3, 3), (3, 2, 4, 2, 3)]


def structured_weights(widths, rng):
    """Random weights whose ranks fall at random, to zero at times."""
    weights = []
    for low, up in pairwise(widths):
        rank = int(rng.integers(0, min(low, up) + 1))
        weights.append(rng.normal(size=(up, rank)) @ rng.normal(size=(rank, low)))
    return tuple(weights)


def intervals(counts, rng):
    """Weights built of chosen numbers m_ij of signals from node i to node j, in random bases."""
    nodes = len(counts)
    pieces = [(i, j) for i in range(nodes) for j in range(i, nodes) for _ in range(counts[i, j])]
    held = [[k for k, (i, j) in enumerate(pieces) if i <= n <= j] for n in range(nodes)]
    bases = [rng.normal(size=(len(h), len(h))) for h in held]
    weights = []
    for n in range(nodes - 1):
        plain = np.array([[1.0 * (k == m) for m in held[n]] for k in held[n + 1]])
        weights.append(bases[n + 1] @ plain @ np.linalg.inv(bases[n]))
    return tuple(weights)


def adjacency(weights):
    widths = [weights[0].shape[1], *(w.shape[0] for w in weights)]
    ends = np.cumsum([0, *widths])
    matrix = np.zeros((ends[-1], ends[-1]))
    for n, weight in enumerate(weights):
        matrix[ends[n + 1] : ends[n + 2], ends[n] : ends[n + 1]] = weight
    return matrix


def test_multiplicities_are_those_the_weights_were_built_of():
    rng = np.random.default_rng(0)
    for _ in range(60):
        counts = np.triu(rng.integers(0, 3, size=(4, 4)))
        counts[0, 3] += 1  # so that no node is empty
        assert np.array_equal(interval_multiplicities(intervals(counts, rng), 1e-9), counts)


@pytest.mark.parametrize("widths", WIDTHS)
def test_multiplicities_fill_the_nodes_and_the_map(widths):
    rng = np.random.default_rng(1)
    for _ in range(20):
        weights = structured_weights(widths, rng)
        found = interval_multiplicities(weights)
        assert found.min() >= 0
        assert found[0, -1] == np.linalg.matrix_rank(whole_map(weights), tol=1e-9)
        for n, width in enumerate(widths):
            assert found[: n + 1, n:].sum() == width


@pytest.mark.parametrize("widths", WIDTHS)
def test_jordan_blocks_are_those_of_the_ranks_of_powers(widths):
    rng = np.random.default_rng(2)
    for _ in range(20):
        weights = structured_weights(widths, rng)
        matrix = adjacency(weights)
        powers = [np.linalg.matrix_power(matrix, k) for k in range(len(widths) + 2)]
        ranks = [np.linalg.matrix_rank(p, tol=1e-9) for p in powers]
        wanted = [ranks[s - 1] - 2 * ranks[s] + ranks[s + 1] for s in range(1, len(widths) + 1)]
        assert list(jordan_blocks(weights)) == wanted


def stabiliser_dimension(found):
    """Maps of an interval [i, j] into one [k, l] with k <= i <= l <= j, away from both ends."""
    nodes = len(found)
    return sum(
        found[i, j] * found[k, top]
        for i in range(1, nodes)
        for j in range(i, nodes)
        for k in range(i + 1)
        for top in range(i, min(j, nodes - 2) + 1)
    )


@pytest.mark.parametrize("widths", WIDTHS)
def test_orbit_is_the_group_less_the_stabiliser(widths):
    rng = np.random.default_rng(3)
    for _ in range(20):
        weights = structured_weights(widths, rng)
        group = sum(d * d for d in widths[1:-1])
        wanted = group - stabiliser_dimension(interval_multiplicities(weights))
        assert orbit_dimension(weights) == wanted


@pytest.mark.parametrize("widths", [(3, 3, 3), (4, 5, 2), (2, 3, 2, 4), (3, 4, 4, 4, 3)])
def test_canonical_orbit(widths):
    rng = np.random.default_rng(4)
    target = rng.normal(size=(widths[-1], widths[0]))
    for rank in range(min(widths) + 1):
        weights = canonical_weights(target, widths, range(rank))
        assert orbit_dimension(weights) == canonical_orbit_dimension(widths, rank)


def test_minima_of_full_rank_of_square_nets_are_one_orbit():
    widths = (3, 3, 3, 3)
    assert canonical_orbit_dimension(widths, 3) == global_minimum(TARGET, widths).dimension == 18


def turned(weights, rng):
    bases = [np.eye(weights[0].shape[1])]
    bases += [rng.normal(size=(w.shape[0],) * 2) for w in weights[:-1]]
    bases.append(np.eye(weights[-1].shape[0]))
    triples = zip(weights, bases[:-1], bases[1:], strict=True)
    return tuple(up @ w @ np.linalg.inv(low) for w, low, up in triples)


@pytest.mark.parametrize("chosen", [(), (1,), (0, 2), (0, 1, 2)])
def test_representative_of_a_gauge_copy(chosen):
    widths = (3, 4, 3, 3)
    weights = canonical_weights(TARGET, widths, chosen)
    found = quotient_representative(turned(weights, np.random.default_rng(5)), TARGET)
    assert found.chosen == chosen
    assert found.alpha == pytest.approx([1.0 * (i in chosen) for i in range(3)], abs=1e-10)
    assert np.abs(whole_map(found.weights) - whole_map(weights)).max() < 1e-13
    for low, up in pairwise(found.weights):
        assert np.abs(up.T @ up - low @ low.T).max() < 1e-14
    assert found.interval_multiplicities[0, -1] == len(chosen)
    assert found.orbit_dimension == canonical_orbit_dimension(widths, len(chosen))
    assert found.minima_dimension == global_minimum(TARGET, widths).dimension


def test_unlearned_weights_show_in_the_multiplicities_alone():
    weights = (np.zeros((3, 3)), np.eye(3))  # the map of the origin, and no critical point
    found = quotient_representative(weights, TARGET)
    assert found.chosen == ()
    assert np.abs(found.weights[0]).max() == 0.0
    assert found.interval_multiplicities[1, 2] == 3
    assert (found.orbit_dimension, canonical_orbit_dimension((3, 3, 3), 0)) == (9, 0)


def test_part_of_a_tied_eigenspace():
    target, widths = np.diag([2.0, 2.0, 1.0]), (3, 3, 3)
    basis = np.array([[np.cos(0.7)], [np.sin(0.7)], [0.0]])
    weights = canonical_weights_from_subspace(target, widths, basis)
    found = quotient_representative(turned(weights, np.random.default_rng(6)), target)
    assert found.chosen == (0,)
    # Shares of each index sum to the dimension learned; which share which has is the basis' affair.
    assert found.alpha[:2].sum() == pytest.approx(1.0, abs=1e-12)
    assert np.abs(whole_map(found.weights) - whole_map(weights)).max() < 1e-13


@pytest.mark.parametrize("target", [np.zeros((2, 3)), np.diag([2.0, 0.0])])
def test_targets_of_lower_rank(target):
    widths = (target.shape[1], 3, 2)
    weights = canonical_weights(target, widths, range(np.linalg.matrix_rank(target)))
    found = quotient_representative(weights, target)
    assert len(found.alpha) == len(found.chosen) == np.linalg.matrix_rank(target)
    assert found.minima_dimension is None


def test_maps_of_no_level_are_refused():
    for weights in [(np.eye(3), np.eye(3)), (0.5 * TARGET,), (np.eye(3)[::-1].copy(),)]:
        with pytest.raises(InputError, match="map that critical points have") as caught:
            quotient_representative(weights, TARGET)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="map that critical points have"):
        quotient_representative((np.eye(3),), np.zeros((3, 3)))


def test_one_layer_has_one_point_and_no_group():
    assert orbit_dimension((TARGET,)) == 0
    assert np.array_equal(interval_multiplicities((TARGET,)), [[0, 3], [0, 0]])
    assert quotient_representative((TARGET,), TARGET).minima_dimension == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda w: interval_multiplicities(w, 0.0), "tolerance"),
        (lambda w: orbit_dimension(w, -1.0), "tolerance"),
        (lambda w: jordan_blocks((w[0] * np.nan,)), "finite"),
        (lambda w: orbit_dimension((w[0], np.eye(2))), "chain"),
        (lambda w: quotient_representative(w, np.eye(2)), "widths"),
        (lambda w: canonical_orbit_dimension((3, 2, 3), 3), "rank"),
    ],
)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call((TARGET, np.eye(3)))
