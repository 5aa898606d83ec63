import math

import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.data import orthogonal


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (5, 5), (6, 11), (40, 64)])
def test_inputs_are_orthogonal(n, d, rotate):
    task = orthogonal(n_samples=n, n_inputs=d, norms=1.5, rotate=rotate)
    np.testing.assert_allclose(task.inputs @ task.inputs.T, 2.25 * np.eye(n), atol=1e-12)


def test_without_rotation_the_inputs_lie_on_the_axes():
    task = orthogonal(n_samples=3, n_inputs=5, norms=2.0, rotate=False)
    np.testing.assert_array_equal(task.inputs, 2 * np.eye(3, 5))


@pytest.mark.parametrize("rotate", [True, False])
@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.5, 0.99])
def test_gram_of_equal_angles(overlap, rotate):
    task = orthogonal(
        n_samples=7, n_inputs=9, norms=(0.5, 2.0), overlap=overlap, rotate=rotate, seed=3
    )
    lengths = np.linalg.norm(task.inputs, axis=1)
    cosines = task.inputs @ task.inputs.T / np.outer(lengths, lengths)
    expected = np.full((7, 7), overlap)
    np.fill_diagonal(expected, 1.0)
    np.testing.assert_allclose(cosines, expected, atol=1e-12)
    assert np.all((lengths >= 0.5 - 1e-12) & (lengths <= 2.0 + 1e-12))
    assert lengths.std() > 0.1


def test_lengths_do_not_depend_on_angles_or_rotation():
    tasks = [
        orthogonal(n_samples=5, n_inputs=6, norms=(1.0, 2.0), overlap=c, rotate=r)
        for c, r in ((0.0, True), (0.0, False), (0.4, True))
    ]
    lengths = [np.linalg.norm(task.inputs, axis=1) for task in tasks]
    np.testing.assert_allclose(lengths[1:], [lengths[0]] * 2, rtol=1e-12)
    np.testing.assert_array_equal(tasks[1].targets, tasks[0].targets)


def test_lengths_fill_their_range_evenly():
    lengths = np.linalg.norm(
        orthogonal(n_samples=400, n_inputs=400, norms=(1.0, 3.0), rotate=False).inputs, axis=1
    )
    assert abs(lengths.mean() - 2) < 4 * (2 / math.sqrt(12)) / math.sqrt(400)
    assert lengths.min() < 1.1
    assert lengths.max() > 2.9


def test_rotation_prefers_no_direction():
    """Each entry of a Haar frame has mean 0 and mean square 1 / d; QR alone breaks the first."""
    frames = np.stack([orthogonal(n_samples=2, n_inputs=3, seed=s).inputs for s in range(600)])
    error = math.sqrt(1 / 3 / 600)
    assert np.all(np.abs(frames.mean(axis=0)) < 4 * error)
    spread = (frames**2).std(axis=0) / math.sqrt(600)
    assert np.all(np.abs((frames**2).mean(axis=0) - 1 / 3) < 4 * spread)


@pytest.mark.parametrize(("n", "plus"), [(1, 1), (8, 4), (9, 5)])
def test_targets_are_half_plus_half_minus(n, plus):
    task = orthogonal(n_samples=n, n_inputs=n, n_outputs=3)
    assert task.targets.shape == (n, 3)
    assert np.array_equal(np.abs(task.targets), np.ones((n, 3)))
    assert (task.targets > 0).sum(axis=0).tolist() == [plus] * 3
    assert task.labels is None


def test_outputs_have_their_own_signs_in_random_order():
    targets = orthogonal(n_samples=40, n_inputs=40, n_outputs=2).targets
    assert not np.array_equal(targets[:, 0], targets[:, 1])
    assert 5 < np.count_nonzero(np.diff(targets[:, 0])) < 35


def test_labels_tell_the_sign_of_the_one_output():
    task = orthogonal(n_samples=9, n_inputs=9)
    np.testing.assert_array_equal(2.0 * task.labels - 1, task.targets[:, 0])
    assert task.name == "orthogonal"


def test_seeds_reproduce_and_change():
    def make(seed):
        return orthogonal(n_samples=12, n_inputs=12, norms=(1.0, 2.0), seed=seed)

    first, again, other = make(1), make(1), make(2)
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert np.min(np.abs(first.inputs - other.inputs)) > 0
    assert not np.array_equal(first.targets, other.targets)


def test_notes_say_how_it_was_made():
    notes = dict(orthogonal(n_samples=2, n_inputs=4, norms=(1.0, 2.0), overlap=0.25, seed=6).notes)
    assert notes == {"norm_low": 1.0, "norm_high": 2.0, "overlap": 0.25, "rotate": True, "seed": 6}
    notes = dict(orthogonal(n_samples=2, n_inputs=4, norms=3.0).notes)
    assert (notes["norm_low"], notes["norm_high"]) == (3.0, 3.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, r"`n_samples` must be a whole number of at least 1, but is 0\."),
        ({"n_inputs": 2}, r"`n_inputs` must be at least n_samples = 3 for .*, but is 2\."),
        ({"n_outputs": 0}, r"`n_outputs` must be a whole number of at least 1"),
        ({"overlap": 1.0}, r"`overlap` must be below 1, but is 1\.0\."),
        ({"overlap": -0.1}, r"`overlap` must be a finite number >= 0, but is -0\.1\."),
        ({"norms": 0.0}, r"`norms` must be a finite number above 0, but is 0\.0\."),
        ({"norms": (0.0, 1.0)}, r"`norms` must be a finite number above 0, but is 0\.0\."),
        ({"norms": (2.0, 1.0)}, r"`norms` must be a pair \(low, high\) with low <= high"),
        ({"seed": -1}, r"`seed` must be a whole number of at least 0, but is -1\."),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        orthogonal(**({"n_samples": 3, "n_inputs": 4, "norms": (1.0, 2.0)} | options))
