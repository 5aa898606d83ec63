"""Tasks of structured layers against their definitions."""

import numpy as np
import pytest

import gramdyn as gd
from gramdyn import InputError


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


def test_jitter_moves_points_in_the_plane_by_its_size():
    still, moved = (gd.spirals(n_samples=300, jitter=j, seed=1).inputs for j in (0.0, 0.02))
    assert np.linalg.matrix_rank(np.asarray(moved), tol=1e-9) == 2
    # 600 normal numbers: their root mean square within 4 standard errors.
    size = np.sqrt(np.mean(np.sum((moved - still) ** 2, axis=1)) / 2)
    assert abs(size / (3 * 0.02) - 1) < 4 / np.sqrt(2 * 600)


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
        (lambda: gd.tanh_teacher(n_samples=3, n_inputs=2, sharpness=0.0), "above 0"),
    ],
)
def test_what_cannot_be_is_told(make, told):
    with pytest.raises(InputError, match=told):
        make()
