"""Levels, canonical points and the global minimum: gradients, counts and Hessians a second way."""

from itertools import combinations, pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.deep_linear.canonical import (
    canonical_spectrum,
    canonical_weights,
    canonical_weights_from_subspace,
)
from gramdyn.deep_linear.critical import (
    canonical_kind,
    critical_points,
    critical_values,
    global_minimum,
)
from gramdyn.deep_linear.hessian import hessian_matrix, hessian_spectrum, inertia
from gramdyn.deep_linear.products import whole_map
from gramdyn.deep_linear.tangent import jacobian_rank

WIDTHS = [
    (3, 3, 3),
    (3, 1, 3),
    (4, 5, 2),
    (3, 3, 3, 3),
    (2, 3, 2, 4),
    (3, 4, 4, 4, 3),
    (4, 2, 3, 2, 3),
]
TURN = np.linalg.qr(np.random.default_rng(9).normal(size=(3, 3)))[0]


def target_with(values, shape, seed=0):
    """A target of given singular values in random bases."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in shape)
    goal = np.zeros(shape)
    np.fill_diagonal(goal, values)
    return left @ goal @ right.T


def gradient(weights, target):
    """Gradient of ||T - Pi||^2 / 2 by autodiff."""

    def loss(weights):
        found = weights[0]
        for weight in weights[1:]:
            found = weight @ found
        return 0.5 * jnp.sum((target - found) ** 2)

    with jax.enable_x64(True):
        return jax.grad(loss)(tuple(jnp.asarray(w) for w in weights))


def largest(arrays):
    return max(float(np.abs(a).max()) for a in arrays)


@pytest.mark.parametrize(
    ("values", "widths", "levels", "sets"),
    [
        ((3, 2, 1), (3, 3, 3), (0, 0.5, 2, 2.5, 4.5, 5, 6.5, 7), 8),
        ((3, 2, 1), (3, 2, 3), (0.5, 2, 2.5, 4.5, 5, 6.5, 7), 7),
        ((3, 2, 1), (3, 1, 3), (2.5, 5, 6.5, 7), 4),
        ((3**0.5, 2**0.5, 1), (3, 3, 3), (0, 0.5, 1, 1.5, 2, 2.5, 3), 8),
        ((2, 2, 1), (3, 4, 3, 3), (0, 0.5, 2, 2.5, 4, 4.5), 8),
        ((2, 1, 0), (3, 3, 3), (0, 0.5, 2, 2.5), 4),
        ((0, 0, 0), (3, 3, 3), (0,), 1),
        ((3, 2, 1), (3, 3), (0,), 1),
    ],
)
def test_known_levels(values, widths, levels, sets):
    found = critical_values(target_with(values, (3, 3)), widths, floor=0.25)
    # Half squares of a decomposition in random bases: roundoff of a few ulp of 7.
    assert found.levels == pytest.approx(np.array(levels) + 0.25, abs=1e-13)
    assert len(found.chosen) == len(found.values) == sets
    assert np.all(np.diff(found.values) >= 0)


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("values", [(3, 2, 1), (2, 2, 0.5), (2, 1, 0)])
def test_points_are_critical_balanced_and_of_their_level(widths, values):
    shape = (widths[-1], widths[0])
    target = target_with(values[: min(shape)], shape)
    points = critical_points(target, widths, floor=0.5)
    assert [p.value for p in points] == sorted(p.value for p in points)
    for point in points:
        found = whole_map(point.weights)
        assert largest(gradient(point.weights, target)) < 1e-13  # roundoff of values up to 9
        assert point.value == pytest.approx(0.5 + 0.5 * np.sum((target - found) ** 2), abs=1e-13)
        assert point.rank == len(point.chosen) == np.linalg.matrix_rank(found)
        for low, up in pairwise(point.weights):
            assert np.abs(up.T @ up - low @ low.T).max() < 1e-14


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("values", [(3, 2, 1), (2, 2, 0.5), (2, 1, 0)])
def test_closed_spectrum_is_that_of_the_hessian(widths, values):
    shape = (widths[-1], widths[0])
    target = target_with(values[: min(shape)], shape)
    for point in critical_points(target, widths):
        dense = hessian_spectrum(point.weights, target)
        assert np.abs(point.spectrum - dense).max() < 1e-12  # measured 3e-14


@pytest.mark.parametrize("widths", [(3, 2), (2, 4)])
def test_one_layer_has_one_point_with_a_hessian_of_ones(widths):
    target = target_with((2, 1), widths[::-1])
    (point,) = critical_points(target, widths)
    assert (point.kind, point.order, point.chosen) == ("global_min", None, (0, 1))
    assert np.abs(point.weights[0] - target).max() < 1e-14
    assert np.array_equal(point.spectrum, np.ones(target.size))
    assert np.abs(hessian_spectrum(point.weights, target) - 1).max() < 1e-14


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("values", [(3, 2, 1), (2, 2, 0.5), (2, 1, 0), (0, 0, 0)])
def test_kind_agrees_with_the_hessian_and_the_lowest_loss(widths, values):
    shape = (widths[-1], widths[0])
    target = target_with(values[: min(shape)], shape)
    points = critical_points(target, widths)
    lowest = global_minimum(target, widths).value
    for point in points:
        negative, _, _ = inertia(hessian_spectrum(point.weights, target))
        assert (point.kind == "strict_saddle") == (negative > 0)
        assert (point.kind == "global_min") == (point.value < lowest + 1e-12)
        depth = len(widths) - 1
        orders = {"global_min": None, "strict_saddle": 2, "nonstrict_saddle": depth}
        assert point.order == orders[point.kind]
    assert points[0].value == pytest.approx(lowest, abs=1e-13)


@pytest.mark.parametrize("depth", [3, 4])
def test_loss_falls_by_the_stated_order_along_the_next_mode(depth):
    target, widths = np.diag([3.0, 2.0, 1.0]), (3,) * (depth + 1)
    point = next(p for p in critical_points(target, widths) if p.chosen == (0,))
    unit = np.zeros((3, 3))
    unit[1, 1] = depth**-0.5
    falls = []
    for t in (0.02, 0.01):
        moved = tuple(w + t * unit for w in point.weights)
        falls.append(point.value - 0.5 * np.sum((target - whole_map(moved)) ** 2))
    # The next term is t^{2L}: a slope off by 1e-5 at most; c = sigma_p L^{-L/2}.
    assert np.log2(falls[0] / falls[1]) == pytest.approx(point.order, abs=1e-4)
    assert falls[1] / 0.01**depth == pytest.approx(2.0 * depth ** (-depth / 2), rel=1e-4)


def test_every_point_that_descent_of_the_gradient_norm_finds_is_on_a_level():
    # A search that knows nothing of modes: Gauss-Newton on the gradient from random starts.
    target, widths, rng = np.diag([3.0, 2.0, 1.0]), (3, 2, 3), np.random.default_rng(1)
    levels = critical_values(target, widths).levels
    seen = set()
    for _ in range(40):
        weights, norm = newton(rng.normal(size=(2, 3)), rng.normal(size=(3, 2)), target)
        if norm < 1e-10:
            value = 0.5 * np.sum((target - whole_map(weights)) ** 2)
            assert np.abs(levels - value).min() < 1e-8
            seen.add(int(np.abs(levels - value).argmin()))
    assert len(seen) >= 5


def newton(low, up, target):
    """Newton's method on the gradient of two layers, by the pseudo-inverse of the Hessian."""
    norm = np.inf
    for _ in range(60):
        rest = target - up @ low
        slope = np.concatenate([np.ravel(-up.T @ rest), np.ravel(-rest @ low.T)])
        norm = np.linalg.norm(slope)
        if norm < 1e-12:
            break
        step = np.linalg.pinv(hessian_matrix((low, up), target), rcond=1e-9) @ slope
        step /= max(1.0, np.linalg.norm(step))
        low = low - step[: low.size].reshape(low.shape)
        up = up - step[low.size :].reshape(up.shape)
    return (low, up), norm


def test_top_modes_are_compared_by_value():
    tied = np.diag([2.0, 2.0, 1.0])
    assert canonical_kind(tied, (3, 3, 3, 3), (0,)) == ("nonstrict_saddle", 3)
    assert canonical_kind(tied, (3, 3, 3, 3), (1,)) == ("nonstrict_saddle", 3)
    assert canonical_kind(tied, (3, 3, 3, 3), (2,)) == ("strict_saddle", 2)
    assert canonical_kind(tied, (3, 1, 3, 3), (1,)) == ("global_min", None)
    # A value whose square is lost beside the largest.
    small = np.diag([1.0, 3e-9, 1e-9])
    assert canonical_kind(small, (3, 3, 3, 3), (0, 2)) == ("strict_saddle", 2)


def test_tied_subspace_may_be_turned():
    target, widths = np.diag([2.0, 2.0, 1.0]), (3, 4, 3, 3)
    basis = np.array([[np.cos(0.7)], [np.sin(0.7)], [0.0]])
    weights = canonical_weights_from_subspace(target, widths, basis)
    assert largest(gradient(weights, target)) < 1e-14
    assert np.abs(whole_map(weights) - basis @ basis.T @ target).max() < 1e-14
    spectrum = canonical_spectrum(target, widths, (0,))
    assert np.abs(hessian_spectrum(weights, target) - spectrum).max() < 1e-13


def test_subspace_in_any_basis_gives_the_map_of_its_modes():
    target, widths = target_with((3, 2, 1), (3, 3)), (3, 4, 3)
    modes = np.linalg.svd(target)[0][:, [0, 2]]
    mixed = modes @ TURN[:2, :2]
    mixed = np.linalg.qr(mixed)[0]
    weights = canonical_weights_from_subspace(target, widths, mixed)
    wanted = canonical_weights(target, widths, (0, 2))
    assert np.abs(whole_map(weights) - whole_map(wanted)).max() < 1e-13
    assert largest(gradient(weights, target)) < 1e-13


@pytest.mark.parametrize(
    ("basis", "words"),
    [
        (np.array([[1.0], [1.0], [0.0]]), "orthonormal"),
        (np.array([[1.0], [0.0], [1.0]]) / 2**0.5, "T T\\^T keeps"),
        (np.array([[0.0], [0.0], [0.0], [1.0]]), "3 rows"),
        (np.eye(3), "at most 2 modes"),
        (np.array([[np.nan], [0.0], [0.0]]), "finite"),
    ],
)
def test_subspaces_that_are_none_are_refused(basis, words):
    with pytest.raises(InputError, match=words):
        canonical_weights_from_subspace(np.diag([2.0, 2.0, 1.0]), (3, 2, 3), basis)


def test_subspace_of_zero_singular_value_is_refused():
    with pytest.raises(InputError, match="singular values above 0"):
        canonical_weights_from_subspace(np.diag([2.0, 1.0, 0.0]), (3, 3, 3), np.eye(3)[:, 1:])
    with pytest.raises(InputError, match="singular values above 0"):
        canonical_weights_from_subspace(np.zeros((3, 3)), (3, 3, 3), np.eye(3)[:, :1])
    with pytest.raises(InputError, match="at most 2 modes"):  # more outputs than inputs
        canonical_weights_from_subspace(np.eye(3)[:, :2], (2, 3, 3), np.eye(3))


@pytest.mark.parametrize(
    ("values", "widths", "dimension"),
    [
        ((3, 2, 1), (3, 3, 3), 9),
        ((3, 2, 1), (3, 5, 4, 3), 15 + 20 + 12 - 9),
        ((3, 2, 1), (3, 2, 3), 12 - 2 * 4),
        ((3, 2, 1), (3, 3, 2, 3), 21 - 2 * 4),
        ((2, 2, 1), (3, 1, 3), 6 - 5 + 1),  # which of the tied two is learned: one angle
        ((2, 1, 1), (3, 2, 4, 3), 6 + 8 + 12 - 2 * 4 + 1),
        ((2, 1, 0), (3, 3, 3), None),
        ((2, 1, 0), (3, 3), 0),
        ((2, 1, 0), (3, 2, 3), 12 - 2 * 4),
        ((0, 0, 0), (3, 3, 3), None),
    ],
)
def test_dimension_of_the_minima_is_the_nullity_of_the_hessian(values, widths, dimension):
    target = target_with(values, (3, 3))
    found = global_minimum(target, widths, floor=1.0)
    best = sorted(values, reverse=True)[: found.rank]
    assert found.value == pytest.approx(1 + 0.5 * (sum(np.square(values)) - sum(np.square(best))))
    assert found.dimension == dimension
    if dimension is not None:
        weights = canonical_weights(target, widths, range(found.rank))
        assert inertia(hessian_spectrum(weights, target))[2] == dimension


def test_dimension_at_zero_residual_is_what_the_jacobian_leaves():
    target, widths = target_with((3, 2, 1), (3, 3)), (3, 5, 4, 3)
    weights = canonical_weights(target, widths, (0, 1, 2))
    left = sum(w.size for w in weights) - jacobian_rank(weights)
    assert global_minimum(target, widths).dimension == left


def test_more_sets_than_can_be_listed_are_refused():
    target = np.diag(np.arange(1.0, 18.0))
    with pytest.raises(InputError, match="at most 65536 sets") as caught:
        critical_values(target, (17, 17, 17))
    assert "\n" not in str(caught.value)
    assert len(critical_values(target, (17, 2, 17)).values) == 1 + 17 + 136
    assert len(critical_values(target[:16, :16], (16, 16, 16)).values) == 2**16


def test_sets_are_every_choice_within_the_widths():
    target = target_with((3, 2, 1.5, 0.5), (4, 4))
    found = critical_values(target, (4, 2, 4))
    assert sorted(found.chosen) == sorted(c for r in range(3) for c in combinations(range(4), r))


@pytest.mark.parametrize(
    ("target", "widths", "chosen", "words"),
    [
        (np.eye(3), (3, 3, 3), (0, 0), "different"),
        (np.eye(3), (3, 3, 3), (3,), "below 3"),
        (np.eye(3), (3, 3, 3), (-1,), "below 3"),
        (np.diag([1.0, 0.0, 0.0]), (3, 3, 3), (1,), "below 1"),
        (np.eye(3), (3, 2, 3), (0, 1, 2), "at most 2"),
        (np.eye(3), (3, 3), (0,), "one layer"),
        (np.eye(3), (3, 2), (0,), "end with 3"),
        (np.eye(3), (3,), (0,), "widths"),
        (np.eye(3), (3, 0, 3), (), "widths"),
        (np.eye(3) * np.nan, (3, 3, 3), (), "finite"),
    ],
)
def test_what_cannot_be_chosen_is_refused(target, widths, chosen, words):
    for call in (canonical_weights, canonical_spectrum, canonical_kind):
        with pytest.raises(InputError, match=words) as caught:
            call(target, widths, chosen)
        assert "\n" not in str(caught.value)


def test_zero_target_has_the_origin_alone():
    (point,) = critical_points(np.zeros((2, 3)), (3, 4, 4, 2))
    assert (point.kind, point.rank, point.value) == ("global_min", 0, 0.0)
    assert largest(point.weights) == 0.0
    assert np.array_equal(point.spectrum, np.zeros(36))


def test_a_negative_floor_is_refused():
    for call in (critical_values, critical_points, global_minimum):
        with pytest.raises(InputError, match="floor"):
            call(np.eye(2), (2, 2, 2), -1.0)
