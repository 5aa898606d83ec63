"""Moments of a task carry its loss, and whitening makes the second moment a projector."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn import InputError
from gramdyn.data import (
    Task,
    digits,
    gaussian,
    linear_map,
    make_task,
    mnist5k,
    task_moments,
    whiten,
)


@functools.cache
def task_of(name):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 5)), rng.normal(size=(30, 3))
    low = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 5))
    made = {
        "n > d": (x * [3, 2, 1, 0.5, 0.1], y),
        "n < d": (x[:4], y[:4]),
        "collinear": (low, y),
        "no rest": (x, x @ rng.normal(size=(5, 3))),
        "rank one": (x, np.outer(x[:, 0], [1, 2, 3])),
        "zero targets": (x, 0 * y),
        "zero inputs": (0 * x, y),
        "one sample": (x[:1], y[:1]),
        "whitened": (whiten(x), y),
    }
    if name == "map":
        return linear_map(n_inputs=5, n_outputs=3, singular_values=(3.0, 2.0, 1.0), rotate=True)
    return make_task(*made[name])


NAMES = (
    *("n > d", "n < d", "collinear", "no rest", "rank one", "zero targets", "zero inputs"),
    *("one sample", "whitened", "map"),
)
by_task = pytest.mark.parametrize("name", NAMES)
by_scale = pytest.mark.parametrize("reduction", ["sum", "mean"])


def both(name, reduction):
    task = task_of(name)
    scale = 1.0 if reduction == "sum" else 1 / task.n_samples
    return task, scale, task_moments(task, scale)


@by_scale
@by_task
def test_moments_give_the_loss_of_every_map(name, reduction):
    task, scale, found = both(name, reduction)
    rng = np.random.default_rng(1)
    for size in (0, 0.3, 2):
        pi = size * rng.normal(size=(3, 5))
        wanted = 0.5 * scale * np.sum((task.targets - task.inputs @ pi.T) ** 2)
        gap = found.white_target() - found.whiten(pi)
        loss = 0.5 * np.sum(gap**2) + found.floor
        # against the size of what is squared: the loss itself may be 0
        size = 0.5 * scale * (np.sum(task.targets**2) + np.sum((task.inputs @ pi.T) ** 2))
        np.testing.assert_allclose(loss, wanted, rtol=1e-13, atol=1e-13 * size)
        moment = found.with_moment().input_moment
        quadratic = 0.5 * np.trace((found.target - pi) @ moment @ (found.target - pi).T)
        np.testing.assert_allclose(quadratic, 0.5 * np.sum(gap**2), rtol=1e-12, atol=1e-13 * size)


@by_scale
@by_task
def test_target_and_floor_are_those_of_least_squares(name, reduction):
    task, scale, found = both(name, reduction)
    wanted = np.linalg.lstsq(task.inputs, task.targets, rcond=None)[0].T  # of least norm
    np.testing.assert_allclose(found.target, wanted, atol=1e-13)
    rest = 0.5 * scale * np.sum((task.targets - task.inputs @ wanted.T) ** 2)
    np.testing.assert_allclose(found.floor, rest, rtol=1e-12, atol=1e-25)
    assert (found.n_inputs, found.n_outputs) == (5, 3)


@by_scale
@by_task
def test_root_and_singular_triplets(name, reduction):
    task, scale, found = both(name, reduction)
    full = found.with_moment()
    moment, root = full.input_moment, full.input_root
    np.testing.assert_allclose(moment, scale * task.inputs.T @ task.inputs, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(root, root.T, atol=1e-14 * (1 + np.abs(root).max()))
    np.testing.assert_allclose(root @ root, moment, atol=1e-13 * (1 + np.abs(moment).max()))
    assert np.linalg.eigvalsh(root).min() > -1e-13 * (1 + np.abs(root).max())
    assert [part.shape for part in (found.left, found.values, found.right)] == [
        (3, 3),
        (3,),
        (5, 3),
    ]
    white = found.target @ root
    size = 1e-14 * (1 + np.abs(white).max())
    np.testing.assert_allclose((found.left * found.values) @ found.right.T, white, atol=10 * size)
    wanted = np.linalg.svd(white)[1]
    np.testing.assert_allclose(found.values, wanted, atol=10 * size)
    assert np.all(np.diff(found.values) <= 0)
    for frame in (found.left, found.right):
        np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-14)


def test_white_values_are_neither_those_of_the_target_nor_of_the_cross_moment():
    task, _, found = both("n > d", "mean")
    cross = task.targets.T @ task.inputs / task.n_samples
    np.testing.assert_allclose(cross, found.target @ found.input_moment, atol=1e-14)
    for other in (found.target, cross):
        values = np.linalg.svd(other)[1]
        assert np.abs(values / found.values - 1).min() > 0.05


@pytest.mark.parametrize(
    ("name", "rank"),
    [("zero targets", 0), ("zero inputs", 0), ("rank one", 1), ("collinear", 2), ("one sample", 1)],
)
def test_what_is_rounding_is_zero(name, rank):
    found = both(name, "mean")[2]
    assert np.count_nonzero(found.values) == rank
    if name == "zero targets":
        assert found.floor == 0
        assert np.all(found.target == 0)


def test_the_identity_is_left_out_where_it_is_exact():
    found = both("map", "sum")[2]
    assert found.input_moment is None
    assert found.input_root is None
    assert found.floor == 0
    np.testing.assert_array_equal(found.target, task_of("map").targets.T)
    np.testing.assert_allclose(found.values, [3, 2, 1], rtol=1e-14)
    full = found.with_moment()
    np.testing.assert_array_equal(full.input_moment, np.eye(5))
    np.testing.assert_array_equal(full.input_root, np.eye(5))
    np.testing.assert_array_equal(full.white_target(), found.white_target())
    again = full.without_moment()
    assert jax.tree.structure(again) == jax.tree.structure(found)
    assert full.with_moment() is full
    # a multiple of it is not it
    scaled = both("map", "mean")[2]
    np.testing.assert_allclose(scaled.input_moment, np.eye(5) / 5, rtol=1e-15)
    np.testing.assert_allclose(scaled.values, np.array([3, 2, 1]) / np.sqrt(5), rtol=1e-14)


def test_weak_directions_are_not_lost():
    """Condition 1e9: the eigenvalues of Sxx alone would lose the third direction."""
    rng = np.random.default_rng(2)
    x, wanted = rng.normal(size=(50, 3)) * [1, 1e-5, 1e-9], rng.normal(size=(2, 3))
    found = task_moments(make_task(x, x @ wanted.T))
    # rounding of the data times the condition
    np.testing.assert_allclose(found.target, wanted, atol=1e-6)
    values = np.linalg.svd(x @ wanted.T)[1]
    np.testing.assert_allclose(found.values, values, rtol=1e-9)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scales_that_cannot_be_are_refused(scale):
    with pytest.raises(InputError, match=r"`scale` must be a finite number above 0, but is"):
        task_moments(task_of("map"), scale)


@pytest.mark.parametrize("part", ["inputs", "targets"])
def test_data_that_are_not_finite_are_refused(part):
    arrays = {"inputs": np.eye(2), "targets": np.ones((2, 1))}
    arrays[part] = np.array(arrays[part])
    arrays[part][1, 0] = np.nan
    with pytest.raises(InputError, match=rf"`{part}` must be finite everywhere"):
        task_moments(Task(**arrays))


def test_a_task_of_jax_arrays_has_the_same_moments():
    task = task_of("n > d")
    other = Task(jnp.asarray(task.inputs), jnp.asarray(task.targets))
    for one, two in zip(*map(jax.tree.leaves, map(task_moments, (task, other))), strict=True):
        np.testing.assert_array_equal(one, two)


# Whitening


@pytest.mark.parametrize("name", NAMES)
def test_whitened_inputs_have_a_projector_as_their_moment(name):
    x = task_of(name).inputs
    found = whiten(x)
    assert found.shape == x.shape
    moment = found.T @ found / len(x)
    np.testing.assert_allclose(moment, np.linalg.pinv(x) @ x, atol=1e-12)
    np.testing.assert_allclose(whiten(found), found, atol=1e-12)
    # a symmetric map of the features: no rotation hides in it
    move = np.linalg.pinv(x) @ found
    np.testing.assert_allclose(move, move.T, atol=1e-11 * (1 + np.abs(move).max()))
    assert np.linalg.eigvalsh(move).min() > -1e-12
    np.testing.assert_allclose(x @ move, found, atol=1e-12)


def test_inputs_that_are_no_matrix_are_not_whitened():
    with pytest.raises(InputError, match="`inputs` must have two axes"):
        whiten(np.ones(3))
    with pytest.raises(InputError, match="`inputs` must be finite everywhere"):
        whiten([[1.0, np.nan]])


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (digits, {"n_samples": 40}),
        (mnist5k, {"n_samples": 20, "centre": False}),
        (gaussian, {"n_samples": 12, "n_inputs": 5, "n_outputs": 2, "target": "relu_teacher"}),
        (gaussian, {"n_samples": 4, "n_inputs": 7, "on_sphere": True, "noise": 0.1}),
    ],
    ids=["digits", "mnist5k", "gaussian", "sphere"],
)
def test_tasks_whiten_their_inputs_and_leave_targets(make, options):
    plain, white = make(**options), make(**options, whiten=True)
    np.testing.assert_allclose(white.inputs, whiten(plain.inputs), atol=1e-10)
    np.testing.assert_array_equal(white.targets, plain.targets)
    assert dict(white.notes)["whiten"] is True
    assert dict(plain.notes)["whiten"] is False
    moment = white.inputs.T @ white.inputs / white.n_samples
    np.testing.assert_allclose(moment @ moment, moment, atol=1e-12)
