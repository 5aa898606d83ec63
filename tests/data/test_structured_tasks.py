"""Tasks of structured layers against their definitions."""

import numpy as np
import pytest

import gramdyn as gd
from gramdyn import InputError
from gramdyn.data._random import make_generator


def in_the_plane(points):
    """Coordinates in the plane that the points span, up to a rotation or reflection of it."""
    _, values, frame = np.linalg.svd(points, full_matrices=False)
    assert values[1] > 1
    assert np.all(values[2:] < 1e-12)
    return points @ frame[:2].T


def test_spirals_wind_by_their_turns():
    task = gd.spirals(n_samples=240, n_inputs=8, jitter=0.0, n_heldout=90, seed=3)
    assert task.inputs.shape == (240, 8)
    assert task.n_heldout == 90
    plane = in_the_plane(np.concatenate([task.inputs, task.held_out.inputs]))
    labels = np.concatenate([task.labels, np.argmax(task.held_out.targets, axis=1)])
    radius = np.hypot(*plane.T) / 3.0
    assert radius.min() >= 0.25
    assert radius.max() <= 1.0
    angle = np.arctan2(plane[:, 1], plane[:, 0])
    # Turned back by its radius, each arm is one direction; a reflection turns the other way.
    for sign in (1, -1):
        straight = np.exp(1j * sign * angle - 2j * np.pi * 1.25 * radius)
        means = np.array([straight[labels == c].mean() for c in range(3)])
        if np.all(np.abs(means) > 0.999):
            break
    np.testing.assert_allclose(np.abs(means), 1.0, atol=1e-9)
    thirds = means[[1, 2, 0]] / means
    np.testing.assert_allclose(thirds, np.exp(2j * np.pi / 3), atol=1e-9)
    np.testing.assert_array_equal(np.argmax(task.targets, axis=1), task.labels)


@pytest.mark.parametrize("turns", [1.25, -0.5])
def test_each_point_lies_on_the_arm_of_its_label(turns):
    task = gd.spirals(
        n_samples=60, n_inputs=5, n_arms=4, turns=turns, jitter=0.0, scale=2.0, seed=5
    )
    frame, _ = np.linalg.qr(make_generator(5, "frame").standard_normal((5, 2)))
    np.testing.assert_allclose(frame.T @ frame, np.eye(2), atol=1e-15)
    plane = task.inputs @ frame
    np.testing.assert_allclose(plane @ frame.T, task.inputs, atol=1e-15)  # nothing outside of it
    points = (plane[:, 0] + 1j * plane[:, 1]) / 2
    start = points * np.exp(-2j * np.pi * turns * np.abs(points)) / np.abs(points)
    np.testing.assert_allclose(start, np.exp(2j * np.pi * task.labels / 4), atol=1e-13)
    np.testing.assert_array_equal(np.bincount(task.labels), [15] * 4)
    np.testing.assert_array_equal(task.targets, np.eye(4)[task.labels])


def test_radii_are_uniform():
    task = gd.spirals(n_samples=3000, jitter=0.0, scale=1.0)
    radius = np.sort(np.linalg.norm(task.inputs, axis=1))
    # Kolmogorov and Smirnov: 2 / sqrt(n) is left by 7 draws in 10 000.
    gap = np.abs((radius - 0.25) / 0.75 - np.arange(3000) / 3000)
    assert gap.max() < 2 / np.sqrt(3000)


def test_samples_held_out_are_others_and_change_none():
    task, more = (gd.spirals(n_samples=30, n_heldout=m, seed=1) for m in (0, 30))
    assert task.held_out is None
    np.testing.assert_array_equal(task.inputs, more.inputs)
    assert np.abs(np.sort(more.held_out.inputs, axis=0) - np.sort(task.inputs, axis=0)).min() > 0
    assert np.any(gd.spirals(n_samples=30, seed=2).inputs != task.inputs)


def test_jitter_moves_points_in_the_plane_by_its_size():
    still, moved = (gd.spirals(n_samples=300, jitter=j, seed=1).inputs for j in (0.0, 0.02))
    assert np.linalg.matrix_rank(np.asarray(moved), tol=1e-9) == 2
    # 600 normal numbers: their root mean square within 4 standard errors.
    size = np.sqrt(np.mean(np.sum((moved - still) ** 2, axis=1)) / 2)
    assert abs(size / (3 * 0.02) - 1) < 4 / np.sqrt(2 * 600)


def test_targets_of_a_tanh_teacher_by_hand():
    task = gd.tanh_teacher(n_samples=48, n_inputs=8, n_outputs=2, seed=4)
    teacher = make_generator(4, "teacher")
    hidden, readout = teacher.standard_normal((12, 8)), teacher.standard_normal((2, 12))
    for x, y in zip(task.inputs, task.targets, strict=True):
        units = [
            np.tanh(2.0 * sum(w * one for w, one in zip(row, x, strict=True)) / 8**0.5)
            for row in hidden
        ]
        wanted = [sum(a * u for a, u in zip(row, units, strict=True)) / 12**0.5 for row in readout]
        np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-14)  # sums of 12
    other = gd.tanh_teacher(n_samples=48, n_inputs=8, n_outputs=2, teacher_width=3, seed=4)
    np.testing.assert_array_equal(other.inputs, task.inputs)
    assert dict(other.notes) == {"teacher_width": 3, "sharpness": 2.0, "seed": 4}


def test_a_tanh_teacher_is_one():
    task = gd.tanh_teacher(n_samples=3000, n_inputs=8, n_outputs=2, seed=2)
    np.testing.assert_allclose(np.cov(task.inputs.T), np.eye(8), atol=4 * np.sqrt(2 / 3000))
    # Targets are odd and bounded, and less sharp teachers are linear maps of the inputs.
    soft = gd.tanh_teacher(n_samples=3000, n_inputs=8, n_outputs=2, sharpness=1e-4, seed=2)
    fit, residual, *_ = np.linalg.lstsq(soft.inputs, soft.targets, rcond=None)
    assert np.all(residual < 1e-12 * np.sum(soft.targets**2))
    again = np.linalg.lstsq(task.inputs, task.targets, rcond=None)
    assert np.all(again[1] > 0.02 * np.sum(task.targets**2, axis=0))
    assert np.abs(task.targets).max() > np.abs(task.inputs @ fit * 1e4).min()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: gd.spirals(n_samples=10), "multiple of the 3 arms"),
        (lambda: gd.spirals(n_samples=9, n_inputs=1), "at least 2"),
        (lambda: gd.spirals(n_samples=9, n_arms=1), "at least 2"),
        (lambda: gd.spirals(n_samples=9, n_heldout=4), "multiple of the 3 arms"),
        (lambda: gd.spirals(n_samples=9, jitter=-1.0), "finite number >= 0"),
        (lambda: gd.spirals(n_samples=9, turns=float("inf")), "`turns` must be a finite number"),
        (lambda: gd.spirals(n_samples=9, scale=0.0), "above 0"),
        (lambda: gd.spirals(n_samples=9, seed=-1), "at least 0"),
        (lambda: gd.tanh_teacher(n_samples=3, n_inputs=2, sharpness=0.0), "above 0"),
        (lambda: gd.tanh_teacher(n_samples=3, n_inputs=2, teacher_width=0), "at least 1"),
    ],
)
def test_what_cannot_be_is_told(make, told):
    with pytest.raises(InputError, match=told):
        make()
