"""Escape orders and directions against the loss itself, in balls and along lines."""

import numpy as np
import pytest
from support.deep_linear_points import (
    LEARNED,
    SIGMA,
    TABLE,
    canonical,
    chain,
    hessian,
    random_point,
    units,
)

from gramdyn._errors import InputError
from gramdyn.deep_linear._points import flatten
from gramdyn.deep_linear.ball import ball_minimum, change_of_loss, fitted_order
from gramdyn.deep_linear.classify import classify
from gramdyn.deep_linear.escape import _steepest, escape_order, loss_along, unstable_directions

SADDLES = [row for row in TABLE if row[-1] is not None]
# Of this row the steepest move mixes two modes: see its own test.
MIXED = ((3,) * 4, (), [(1, 1, 1, 1.0), (3, 2, 1, 1.0)])


def _point(row):
    widths, chosen, extra = row[:3]
    return canonical(SIGMA, widths, chosen, extra), np.diag(SIGMA)


def _least(directions):
    """Least order, and the largest coefficient at that order."""
    clean = [d for d in directions if d.clean]
    order = min(d.order for d in clean)
    return order, max(d.coefficient for d in clean if d.order == order)


@pytest.mark.parametrize("row", [row for row in SADDLES if row[:3] != MIXED])
def test_order_and_coefficient_of_every_row(row):
    weights, target = _point(row)
    order, coefficient = _least(unstable_directions(weights, target))
    assert order == row[-2] == escape_order(weights, target).order_lower_bound
    assert coefficient == pytest.approx(row[-1], abs=1e-5)  # digits of the table


@pytest.mark.parametrize("row", SADDLES)
def test_least_loss_in_a_ball_has_that_order_and_coefficient(row):
    weights, target = _point(row)
    found = fitted_order(weights, target, n_starts=3)
    assert found == pytest.approx(row[-2], abs=2e-3)  # terms above t^m, measured 3e-4
    scaled = -ball_minimum(weights, target, 0.01, n_starts=3) / 0.01 ** row[-2]
    assert scaled == pytest.approx(row[-1], rel=1e-3)


def test_one_direction_a_mode_may_be_less_steep_than_a_mixture():
    weights, target = _point(MIXED)
    order, coefficient = _least(unstable_directions(weights, target))
    steepest = -np.linalg.eigvalsh(hessian(weights, target))[0] / 2
    assert (order, coefficient) == (2, pytest.approx(1.5))
    assert steepest == pytest.approx(1.57003, abs=1e-5)
    assert coefficient < steepest


def test_weaker_mode_may_leave_first():
    weights = canonical(SIGMA, (3,) * 4, (0,), [(1, 3, 3, 1.0)])
    found = escape_order(weights, np.diag(SIGMA))
    assert (found.order_lower_bound, found.modes, found.by_mode) == (2, (1, 2), (3, 2))
    directions = unstable_directions(weights, np.diag(SIGMA))
    assert [(d.mode, d.order) for d in directions] == [(1, 3), (2, 2)]


@pytest.mark.parametrize("n_layers", [2, 3, 4, 5])
def test_canonical_points_of_best_rank_leave_at_order_of_the_depth(n_layers):
    for rank in range(3):
        weights = canonical(SIGMA, (3,) * (n_layers + 1), tuple(range(rank)))
        for found in unstable_directions(weights, np.diag(SIGMA)):
            wanted = SIGMA[found.mode] * n_layers ** (-n_layers / 2)
            assert (found.order, found.layers) == (n_layers, tuple(range(1, n_layers + 1)))
            assert found.coefficient == pytest.approx(wanted, rel=1e-12)


def test_other_modes_may_ask_for_the_other_sign():
    # Inputs v_1 + v_2 and outputs u_1 - u_2 pass R^T as 2 - 1, whichever of the two modes is meant.
    shapes = ((1, 2), (1, 1), (1, 1), (2, 1))
    weights = tuple(np.zeros(shape) for shape in shapes)
    weights[0][:], weights[3][:] = [[1.0, 1.0]], [[1.0], [-1.0]]
    for found in unstable_directions(weights, np.diag([2.0, 1.0])):
        assert (found.order, found.layers) == (2, (2, 3))
        assert found.coefficient == pytest.approx(0.5)


def _turned_slope(point, out_from, out_to, in_from, in_to):
    """Second derivative of the loss over the squared move, as outputs and inputs turn together."""
    outputs = np.outer(out_to, out_from) - np.outer(out_from, out_to)
    inputs = np.outer(in_to, in_from) - np.outer(in_from, in_to)
    moved = [np.zeros_like(weight) for weight in point.weights]
    moved[0] -= point.weights[0] @ inputs
    moved[-1] += outputs @ point.weights[-1]
    move = flatten(tuple(moved))
    return move @ hessian(point.weights, point.target) @ move, move @ move


def test_mode_above_a_learned_one_leaves_at_order_two_at_least_as_steeply_as_by_turning():
    rng, seen = np.random.default_rng(12), 0
    for index in range(80):
        point = random_point(rng, "generic", 2 + index % 4)
        left, values, right = np.linalg.svd(point.target)
        for found in unstable_directions(point.weights, point.target):
            last = max(point.chosen, default=-1)
            if found.mode < last:
                u, v = left.T, right
                turn = (u[last], u[found.mode], v[last], v[found.mode])
                slope, square = _turned_slope(point, *turn)
                fall = values[last] * (values[found.mode] - values[last])
                assert slope == pytest.approx(-2 * fall, rel=1e-9)
                assert found.order == 2
                assert found.coefficient >= fall / square - 1e-9
                seen += 1
    assert seen > 10


def test_move_with_a_lower_term_is_not_called_of_its_order():
    weights, target = canonical(SIGMA, (3,) * 4, (), units(2)), np.diag(SIGMA)
    ones = tuple(np.ones((3, 3)) / np.sqrt(27) for _ in range(3))
    assert loss_along(weights, target, ones)[2] < -0.1
    assert loss_along(weights, target, ones)[3] < -0.1
    assert _steepest(weights, target, [((1, 2, 3), ones)], 1e-8) is None


def _all_directions(count):
    for family in LEARNED:
        rng = np.random.default_rng(7)
        for index in range(count):
            point = random_point(rng, family, 2 + index % 4, top=True)
            if classify(point.weights, point.target).order_lower_bound is not None:
                yield point, unstable_directions(point.weights, point.target)


def _check_falls(count):
    """Along every clean direction the loss is -c t^m + a t^{2m}; returns how many were met."""
    met = bare = above = 0
    for point, directions in _all_directions(count):
        clean = [d for d in directions if d.clean]
        met, bare = met + bool(clean), bare + (not clean)
        bound = escape_order(point.weights, point.target)
        above += bool(clean) and min(d.order for d in clean) > bound.order_lower_bound
        for found in clean:
            assert found.order_lower_bound is None or found.order >= found.order_lower_bound
            assert np.linalg.norm(flatten(found.direction)) == pytest.approx(1.0)
            t, order = 0.01, found.order
            moved = tuple(w + t * v for w, v in zip(point.weights, found.direction, strict=True))
            size = point.target.shape[1]
            change = chain(moved, size) - chain(point.weights, size)
            residual = point.target - chain(point.weights, size)
            fall = np.sum(residual * change)  # exact for any move, as is the square below
            assert fall == pytest.approx(found.coefficient * t**order, rel=1e-6, abs=1e-13)
            # All of the change of Pi is of order t^m, or the square would show.
            assert np.sum(change**2) <= 50 * t ** (2 * order)
    return met, bare, above


def test_loss_falls_along_clean_directions_as_said():
    met, bare, _ = _check_falls(30)
    assert met > 3 * bare > 0


@pytest.mark.slow
def test_loss_falls_along_clean_directions_as_said_900_times():
    met, bare, above = _check_falls(300)
    assert (met + bare > 700, bare < met / 5, above < met / 10) == (True, True, True)


@pytest.mark.parametrize("n_layers", [3, 4])
@pytest.mark.parametrize("family", LEARNED)
def test_least_loss_in_a_ball_has_the_order_of_the_ranks(family, n_layers):
    rng = np.random.default_rng([n_layers, 1])
    found = None
    while found is None or found.kind != "nonstrict_saddle":
        point = random_point(rng, family, n_layers, top=True)
        found = classify(point.weights, point.target)
    fitted = fitted_order(point.weights, point.target, n_starts=3)
    assert fitted == pytest.approx(found.order_lower_bound, abs=0.02)  # terms above t^m


def test_loss_along_is_the_polynomial_of_the_loss():
    rng = np.random.default_rng(0)
    weights, direction = (
        tuple(rng.normal(size=shape) for shape in ((4, 3), (2, 4), (3, 2))) for _ in range(2)
    )
    target = rng.normal(size=(3, 3))
    terms = loss_along(weights, target, direction)
    for t in (-0.7, 0.0, 1.3):
        moved = tuple(w + t * v for w, v in zip(weights, direction, strict=True))
        loss = 0.5 * np.linalg.norm(target - chain(moved, 3)) ** 2
        assert np.polynomial.polynomial.polyval(t, terms) == pytest.approx(loss, rel=1e-12)
        change = change_of_loss(weights, target, tuple(t * v for v in direction))
        assert change == pytest.approx(loss - terms[0], rel=1e-11, abs=1e-12)


def test_tied_modes_have_one_order_in_every_basis():
    turn = np.eye(3)
    turn[:2, :2] = np.array([[0.6, -0.8], [0.8, 0.6]])
    weights = canonical((2.0, 2.0, 1.0), (3, 3, 3, 3), (0,))
    turned = (weights[0] @ turn.T, weights[1], turn @ weights[2])
    found = unstable_directions(turned, np.diag([2.0, 2.0, 1.0]))
    assert [(d.mode, d.order) for d in found] == [(1, 3), (2, 3)]
    assert found[0].coefficient == pytest.approx(2 * 3**-1.5)


def test_rank_deficient_target_has_no_way_out_along_its_zero_mode():
    found = escape_order(canonical((2.0, 1.0, 0.0), (3,) * 4, (0,)), np.diag([2.0, 1.0, 0.0]))
    assert (found.modes, found.by_mode) == ((1,), (3,))


def test_minimum_behind_a_narrow_layer_has_modes_that_no_layer_passes():
    weights, target = canonical(SIGMA, (3, 3, 1, 3), (0,)), np.diag(SIGMA)
    found = escape_order(weights, target)
    assert (found.order_lower_bound, found.by_mode) == (None, (None, None))
    for direction in unstable_directions(weights, target):
        assert not direction.clean
        assert (direction.order, direction.direction, direction.layers) == (None, None, ())


def test_nothing_is_left_at_zero_loss_or_with_a_zero_target():
    weights = canonical(SIGMA, (3, 3, 3), (0, 1, 2))
    assert unstable_directions(weights, np.diag(SIGMA)) == ()
    assert escape_order((np.zeros((2, 2)),) * 3, np.zeros((2, 2))).order_lower_bound is None


def test_bad_input_is_refused_in_words():
    weights, target = canonical(SIGMA, (3,) * 4, (0,), units(2)), np.diag(SIGMA)
    at = canonical(SIGMA, (3,) * 4, (0,))
    with pytest.raises(InputError, match="critical point"):
        escape_order(tuple(w + 0.1 for w in weights), target)
    with pytest.raises(InputError, match="float64"):
        unstable_directions(tuple(w.astype(np.float32) for w in at), target)
    with pytest.raises(InputError, match="unlearned modes"):
        unstable_directions(at, target, modes=[0])
    with pytest.raises(InputError, match="finite"):
        escape_order(at, target * np.nan)
    with pytest.raises(InputError, match="radius"):
        ball_minimum(at, target, 0.0)
    with pytest.raises(InputError, match="different radii"):
        fitted_order(at, target, (0.1, 0.1))
    with pytest.raises(InputError, match="saddle"):
        fitted_order(canonical(SIGMA, (3, 3, 3), (0, 1, 2)), target, n_starts=1)
    assert [d.mode for d in unstable_directions(at, target, modes=[2])] == [2]
