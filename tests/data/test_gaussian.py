import math

import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.data import gaussian

KINDS = ["random", "linear", "relu_teacher"]
FOUR_ERRORS = 4.0


def moments_agree(samples, mean, second, axis=0):
    """Mean and mean square over samples, each within four standard errors."""
    for values, expected in ((samples, mean), (samples**2, second)):
        error = values.std(axis=axis) / math.sqrt(values.shape[axis])
        assert np.all(np.abs(values.mean(axis=axis) - expected) < FOUR_ERRORS * error)


@pytest.mark.parametrize("on_sphere", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_shapes(kind, on_sphere):
    task = gaussian(n_samples=5, n_inputs=3, n_outputs=2, target=kind, on_sphere=on_sphere)
    assert task.inputs.shape == (5, 3)
    assert task.targets.shape == (5, 2)
    assert (task.name, task.labels) == ("gaussian", None)


def test_inputs_have_variance_norm_squared_over_d():
    task = gaussian(n_samples=20_000, n_inputs=5, norm=3.0)
    moments_agree(task.inputs, 0.0, 9 / 5)
    covariance = task.inputs.T @ task.inputs / 20_000
    off_diagonal = covariance[np.triu_indices(5, 1)]
    assert np.all(np.abs(off_diagonal) < FOUR_ERRORS * 9 / 5 / math.sqrt(20_000))
    kurtosis = np.mean(task.inputs**4) / np.mean(task.inputs**2) ** 2
    assert abs(kurtosis - 3) < FOUR_ERRORS * math.sqrt(24 / 100_000)


def test_sphere_is_exact_and_keeps_the_directions():
    flat, round_ = (
        gaussian(n_samples=50, n_inputs=7, norm=2.0, on_sphere=s) for s in (False, True)
    )
    np.testing.assert_allclose((round_.inputs**2).sum(axis=1), 4, rtol=1e-13)
    lengths = np.linalg.norm(flat.inputs, axis=1, keepdims=True)
    np.testing.assert_allclose(round_.inputs, 2 * flat.inputs / lengths, rtol=1e-12)
    assert lengths.std() > 0.1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("on_sphere", [False, True])
@pytest.mark.parametrize("n_inputs", [1, 3, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_targets_have_mean_0_and_variance_1(kind, n_inputs, on_sphere, seed):
    task = gaussian(
        n_samples=20_000,
        n_inputs=n_inputs,
        n_outputs=2,
        target=kind,
        norm=0.5,
        on_sphere=on_sphere,
        teacher_width=3,
        seed=seed,
    )
    if n_inputs == 1 and on_sphere and kind != "random":
        # Two points, +norm and -norm: mean 0 and variance 1 leave only +1 and -1.
        np.testing.assert_allclose(np.abs(task.targets), 1, rtol=1e-12)
    else:
        moments_agree(task.targets, 0.0, 1.0)


def test_linear_targets_are_linear_with_rows_of_one_length():
    task = gaussian(n_samples=40, n_inputs=6, n_outputs=3, target="linear", norm=2.0)
    rows, *_ = np.linalg.lstsq(task.inputs, task.targets, rcond=None)
    np.testing.assert_allclose(task.inputs @ rows, task.targets, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=0), math.sqrt(6) / 2.0, rtol=1e-12)


def test_outputs_of_a_linear_task_differ():
    task = gaussian(n_samples=40, n_inputs=6, n_outputs=2, target="linear")
    assert abs(np.corrcoef(task.targets.T)[0, 1]) < 0.95


def test_relu_teacher_of_one_unit_is_a_standardised_ramp():
    task = gaussian(n_samples=400, n_inputs=3, target="relu_teacher", teacher_width=1)
    y = task.targets[:, 0]
    floor, sd = 1 / math.sqrt(2 * math.pi), math.sqrt(0.5 - 0.5 / math.pi)
    flat = np.isclose(np.abs(y), floor / sd, rtol=1e-12)
    assert 150 < flat.sum() < 250  # inputs on the dead side, all at the same value
    active = np.flatnonzero(~flat)
    sign = -np.sign(y[flat][0])
    row, *_ = np.linalg.lstsq(task.inputs[active], sign * y[active] * sd + floor, rcond=None)
    assert np.linalg.norm(row) == pytest.approx(math.sqrt(3), rel=1e-10)
    rebuilt = sign * (np.maximum(task.inputs @ row, 0) - floor) / sd
    np.testing.assert_allclose(rebuilt, y, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_targets_do_not_depend_on_the_norm(kind):
    one, five = (gaussian(n_samples=30, n_inputs=4, target=kind, norm=norm) for norm in (1.0, 5.0))
    np.testing.assert_allclose(one.targets, five.targets, atol=1e-12)
    np.testing.assert_allclose(5 * one.inputs, five.inputs, rtol=1e-12)


def test_teacher_width_changes_the_teacher_only_for_the_teacher():
    def targets(kind, width):
        return gaussian(n_samples=9, n_inputs=4, target=kind, teacher_width=width).targets

    assert not np.allclose(targets("relu_teacher", 2), targets("relu_teacher", 3))
    np.testing.assert_array_equal(targets("linear", 2), targets("linear", 3))


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_added_with_its_standard_deviation(kind):
    options = {"n_samples": 10_000, "n_inputs": 4, "target": kind}
    clean, noisy, twice = (gaussian(**options, noise=noise) for noise in (0.0, 0.3, 0.6))
    added = noisy.targets - clean.targets
    moments_agree(added, 0.0, 0.09)
    np.testing.assert_allclose(twice.targets - clean.targets, 2 * added, atol=1e-12)
    assert abs(np.corrcoef(added[:, 0], clean.targets[:, 0])[0, 1]) < FOUR_ERRORS / 100


def test_inputs_stay_when_the_targets_change():
    base = gaussian(n_samples=8, n_inputs=3)
    for options in (
        {"target": "linear"},
        {"target": "relu_teacher"},
        {"n_outputs": 4},
        {"noise": 1.0},
    ):
        task = gaussian(n_samples=8, n_inputs=3, **options)
        np.testing.assert_array_equal(task.inputs, base.inputs)
        assert task.targets.shape != base.targets.shape or not np.allclose(
            task.targets, base.targets
        )


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_reproduce_and_change(kind):
    first, again, other = (
        gaussian(n_samples=6, n_inputs=4, target=kind, noise=0.1, seed=seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert np.min(np.abs(first.inputs - other.inputs)) > 0
    assert np.min(np.abs(first.targets - other.targets)) > 0


def test_a_larger_task_begins_with_the_smaller_one():
    small, large = (gaussian(n_samples=n, n_inputs=4, target="linear") for n in (5, 9))
    np.testing.assert_array_equal(small.inputs, large.inputs[:5])
    np.testing.assert_allclose(small.targets, large.targets[:5], rtol=1e-13)


def test_inputs_and_random_targets_are_different_numbers():
    task = gaussian(n_samples=20, n_inputs=1, norm=1.0)
    assert abs(np.corrcoef(task.inputs[:, 0], task.targets[:, 0])[0, 1]) < 0.9


def test_notes_say_how_it_was_made():
    task = gaussian(n_samples=3, n_inputs=2, norm=2.0, noise=0.5, seed=7)
    assert dict(task.notes) == {
        "target": "random",
        "norm": 2,
        "on_sphere": False,
        "whiten": False,
        "noise": 0.5,
        "seed": 7,
    }
    task = gaussian(n_samples=3, n_inputs=2, target="relu_teacher", teacher_width=6)
    assert dict(task.notes)["teacher_width"] == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, r"`n_samples` must be a whole number of at least 1, but is 0\."),
        ({"n_inputs": -2}, r"`n_inputs` must be a whole number of at least 1, but is -2\."),
        ({"n_outputs": 0}, r"`n_outputs` must be a whole number of at least 1"),
        ({"teacher_width": 0}, r"`teacher_width` must be a whole number of at least 1"),
        ({"norm": 0.0}, r"`norm` must be a finite number above 0"),
        ({"noise": -0.1}, r"`noise` must be a finite number >= 0, but is -0\.1\."),
        ({"noise": math.nan}, r"`noise` must be a finite number >= 0, but is nan\."),
        ({"seed": -1}, r"`seed` must be a whole number of at least 0, but is -1\."),
        (
            {"target": "liner"},
            r"Unknown target `liner`; did you mean `linear`\? allowed: linear, r",
        ),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        gaussian(**({"n_samples": 3, "n_inputs": 2} | options))


def test_whitened_inputs_have_no_norm_of_their_own():
    with pytest.raises(InputError, match="`norm` must be left out where inputs are whitened"):
        gaussian(n_samples=4, n_inputs=3, whiten=True, norm=2.0)
