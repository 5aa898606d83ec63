"""Kinds of critical points: the table by hand, and the rank rule against the dense Hessian."""

import numpy as np
import pytest
from support.deep_linear_points import (
    BEST,
    FLAT,
    LEARNED,
    SIGMA,
    STRICT,
    TABLE,
    Point,
    canonical,
    hessian,
    random_point,
    units,
)

from gramdyn._errors import InputError
from gramdyn.deep_linear._points import flatten, gradients, unflatten
from gramdyn.deep_linear.classify import classify
from gramdyn.deep_linear.critical import critical_points


@pytest.mark.parametrize("row", TABLE)
def test_every_row_of_the_table(row):
    widths, chosen, extra, level, kind, least, inertia, order, _ = row
    weights, target = canonical(SIGMA, widths, chosen, extra), np.diag(SIGMA)
    found = classify(weights, target, floor=0.25)
    assert (found.kind, found.order_lower_bound) == (kind, order)
    assert found.rank == len(chosen)
    assert found.value == pytest.approx(level + 0.25, abs=1e-12)
    wanted = [float(mode in chosen) for mode in range(3)]
    np.testing.assert_allclose(found.coefficients, wanted, atol=1e-12)
    values = np.linalg.eigvalsh(hessian(weights, target))
    assert values[0] == pytest.approx(least, abs=1e-6)  # the table gives six digits
    # Eigenvalues of the table are 0.1 or more; those of zero are rounding.
    assert tuple(np.sum(x) for x in (values < -1e-8, values > 1e-8, abs(values) <= 1e-8)) == inertia


def _mismatches(count):
    wrong, kinds = [], set()
    for family in LEARNED:
        rng = np.random.default_rng(11)
        for index in range(count):
            point = random_point(rng, family, 2 + index % 4, top=index % 3 > 0)
            found = classify(point.weights, point.target)
            least = np.linalg.eigvalsh(hessian(point.weights, point.target))[0]
            kinds.add((family, found.kind))
            # Zero eigenvalues are rounding, 1e-14; the least strict point is at 0.04.
            strict = bool(least < -1e-7)
            if (found.kind == STRICT) != strict or (found.order_lower_bound == 2) != strict:
                wrong.append((family, index, found.kind, least))
    return wrong, kinds


def test_rank_rule_agrees_with_the_least_eigenvalue():
    wrong, kinds = _mismatches(50)
    assert not wrong
    # None of them reads as not critical.
    assert kinds == {(family, kind) for family in LEARNED for kind in (STRICT, FLAT, BEST)}


@pytest.mark.slow
def test_rank_rule_agrees_with_the_least_eigenvalue_1500_times():
    assert not _mismatches(500)[0]


def test_hessian_of_these_tests_is_the_difference_of_gradients():
    point = random_point(np.random.default_rng(2), "generic", 4, top=True)
    flat, step, columns = flatten(point.weights), 1e-5, []
    for unit in np.eye(flat.size):
        ends = [unflatten(flat + side * step * unit, point.weights) for side in (1, -1)]
        up, down = (flatten(gradients(end, point.target)) for end in ends)
        columns.append((up - down) / (2 * step))
    # Central differences: third derivatives times step^2 = 1e-10, and rounding 1e-16 / step.
    np.testing.assert_allclose(hessian(point.weights, point.target), columns, atol=1e-8)


def test_gradient_is_the_difference_of_losses():
    rng = np.random.default_rng(4)
    weights = tuple(rng.normal(size=shape) for shape in ((4, 3), (2, 4), (3, 2)))
    target, step = rng.normal(size=(3, 3)), 1e-6
    flat = flatten(weights)

    def loss(moved):
        a, b, c = unflatten(moved, weights)
        return 0.5 * np.linalg.norm(target - c @ b @ a) ** 2

    slopes = [
        (loss(flat + step * e) - loss(flat - step * e)) / (2 * step) for e in np.eye(flat.size)
    ]
    np.testing.assert_allclose(flatten(gradients(weights, target)), slopes, atol=1e-7)


def test_wrong_mode_of_a_tied_target_is_strict():
    # Largest unlearned 2 = sigma_{r+1}, yet the learned mode is the one of 1.
    weights = canonical((2.0, 2.0, 1.0), (3, 2, 2, 2, 3), (2,))
    assert classify(weights, np.diag([2.0, 2.0, 1.0])).kind == STRICT


def test_tied_modes_learned_in_any_basis_are_the_same_kind():
    angle = np.deg2rad(33.0)
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    weights = canonical((2.0, 2.0, 1.0), (3, 3, 3, 3), (0,))
    turned = (weights[0] @ turn.T, weights[1], turn @ weights[2])
    found = classify(turned, np.diag([2.0, 2.0, 1.0]))
    assert (found.kind, found.rank, found.order_lower_bound) == (FLAT, 1, 3)
    assert sum(found.coefficients) == pytest.approx(1.0)


def test_rank_deficient_target_is_done_at_its_rank():
    target = np.diag([2.0, 1.0, 0.0])
    found = classify(canonical((2.0, 1.0, 0.0), (3, 4, 3), (0, 1)), target)
    assert (found.kind, found.value) == (BEST, pytest.approx(0.0, abs=1e-15))
    assert found.coefficients[2] == 0.0
    off = classify((np.eye(3), np.eye(3)), target)  # not critical: the map reaches the zero mode
    np.testing.assert_allclose(off.coefficients, [0.5, 1.0, 0.0])


def test_small_mode_is_not_hidden_by_its_square():
    sigma = (1.0, 1e-5)  # half its square, 5e-11, is below the tolerance
    assert classify(canonical(sigma, (2, 2, 2), (0,)), np.diag(sigma)).kind == STRICT


def test_zero_target_has_global_minima_only():
    found = classify((np.zeros((2, 3)), np.ones((2, 2))), np.zeros((2, 3)))
    assert (found.kind, found.value, found.order_lower_bound) == (BEST, 0.0, None)
    np.testing.assert_array_equal(found.coefficients, 0.0)


def test_width_below_the_rank_of_the_target_is_a_minimum_with_loss():
    found = classify(canonical(SIGMA, (3, 1, 2, 3), (0,)), np.diag(SIGMA))
    assert (found.kind, found.value) == (BEST, pytest.approx(2.5))


def test_one_layer_has_its_minimum_only():
    assert classify((np.diag(SIGMA),), np.diag(SIGMA)).kind == BEST
    assert classify((np.zeros((3, 3)),), np.diag(SIGMA)).kind == "not_critical"


def test_point_beside_a_saddle_is_not_critical():
    near = tuple(w + 1e-4 for w in canonical(SIGMA, (3, 3, 3), (0,)))
    found = classify(near, np.diag(SIGMA))
    assert (found.kind, found.order_lower_bound) == ("not_critical", None)
    assert found.gradient_norm == pytest.approx(
        np.sqrt(sum((g**2).sum() for g in gradients(near, np.diag(SIGMA))))
    )
    assert not found.pivots.any()


def test_pivots_name_the_blocks_that_decide():
    # L = 3 with W_2 = I: W_{2:2} = I of rank 3 and W_{0:1} T^T W_{3:4} = T^T open pivot (3, 1).
    found = classify(canonical(SIGMA, (3,) * 4, (), units(2)), np.diag(SIGMA))
    wanted = np.zeros((3, 3), dtype=bool)
    wanted[1, 0] = wanted[2, 1] = True
    np.testing.assert_array_equal(found.pivots, wanted)


def test_bad_input_is_refused_in_words():
    weights, target = canonical(SIGMA, (3, 3, 3), ()), np.diag(SIGMA)
    with pytest.raises(InputError, match="float64"):
        classify(tuple(w.astype(np.float32) for w in weights), target)
    with pytest.raises(InputError, match="finite"):
        classify(weights, target * np.nan)
    with pytest.raises(InputError, match="shape"):
        classify(weights, target[:2])
    with pytest.raises(InputError, match="floor"):
        classify(weights, target, floor=-1.0)


def test_every_random_point_is_what_it_says():
    point = random_point(np.random.default_rng(5), "deficient", 5)
    assert isinstance(point, Point)
    assert classify(point.weights, point.target).gradient_norm < 1e-12


def test_zero_of_a_small_target_is_absolute_until_it_is_scaled():
    """Unlike that of `critical_points`, as the docstring says, and so is the remedy there."""
    scale, target = 1e-9, 1e-9 * np.diag(SIGMA)
    small = tuple(scale ** (1 / 2) * weight for weight in canonical(SIGMA, (3, 3, 3), (0,)))
    assert classify(small, target).rank == 0
    assert classify(small, target).kind == "global_min"  # every mode is zero to the tolerance
    assert critical_points(target, (3, 3, 3))[3].chosen == (0,)
    top = float(np.linalg.norm(target, 2))
    scaled = classify(tuple(weight / top ** (1 / 2) for weight in small), target / top)
    assert (scaled.kind, scaled.rank) == ("strict_saddle", 1)
