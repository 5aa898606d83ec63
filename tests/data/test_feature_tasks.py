"""Tasks of feature learning against their definitions, and samples that are held out."""

import numpy as np
import pytest

import gramdyn as gd
from gramdyn import InputError
from gramdyn.data._packaged import DIGITS, MNIST5K, load_images
from gramdyn.kernels.target_linearity import target_linearity


def test_swiss_roll_is_that_of_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    points, t = datasets.make_swiss_roll(1000, random_state=0)
    task = gd.swiss_roll(n_samples=1000, seed=0)
    for found, wanted in ((task.inputs, points[:, [0, 2]]), (task.targets[:, 0], t)):
        low, high = wanted.min(axis=0), wanted.max(axis=0)
        np.testing.assert_allclose(found, (wanted - low) / (high - low), atol=1e-15)


def test_no_line_tells_the_place_on_a_swiss_roll():
    task = gd.swiss_roll().cast("float64")
    value = target_linearity(task.inputs, task.targets).value
    assert abs(float(value) - 0.0686686) < 1e-6  # stated by an independent computation


def test_monomials_are_products_of_the_inputs_they_name():
    task = gd.monomials(n_samples=7, n_inputs=4, terms=[[1], [1, 2], [4, 4]], n_heldout=3, seed=2)
    for x, y in ((task.inputs, task.targets), (task.held_out.inputs, task.held_out.targets)):
        np.testing.assert_allclose(y[:, 0], x[:, 0] + x[:, 0] * x[:, 1] + x[:, 3] ** 2, atol=1e-14)
    assert task.n_heldout == 3
    assert not np.any(np.isin(task.held_out.inputs, task.inputs))
    more = gd.monomials(n_samples=7, n_inputs=4, terms=[[1]], seed=2)
    np.testing.assert_array_equal(more.inputs, task.inputs)


def test_modular_addition_has_every_pair_once():
    task = gd.modular_addition(modulus=7, share=0.6, seed=3)
    assert task.n_samples == 29
    inputs = np.concatenate([task.inputs, task.held_out.inputs])
    targets = np.concatenate([task.targets, task.held_out.targets])
    one, two = np.argmax(inputs[:, :7], axis=1), np.argmax(inputs[:, 7:], axis=1)
    assert len(set(zip(one.tolist(), two.tolist(), strict=True))) == 49
    np.testing.assert_array_equal(np.argmax(targets, axis=1), (one + two) % 7)
    np.testing.assert_array_equal(inputs.sum(axis=1), 2.0)
    np.testing.assert_array_equal(targets.sum(axis=1), 1.0)


def test_clusters_lie_about_their_centres():
    options = {"n_inputs": 5, "n_classes": 3, "distance": 6.0, "seed": 1}
    task = gd.clusters(n_samples=3000, n_heldout=3000, **options)
    means = [task.inputs[task.labels == k].mean(axis=0) for k in range(3)]
    others = [task.held_out.inputs[task.held_out.targets[:, k] == 1].mean(axis=0) for k in range(3)]
    np.testing.assert_allclose(means, others, atol=4 * np.sqrt(2 / 1000))  # of the same centres
    spread = np.concatenate([task.inputs[task.labels == k] - means[k] for k in range(3)])
    np.testing.assert_allclose(np.cov(spread.T), np.eye(5), atol=4 * np.sqrt(2 / 3000))
    drawn = [gd.clusters(n_samples=60, **options | {"seed": seed}) for seed in range(60)]
    squares = [
        np.sum(one.inputs[one.labels == k].mean(axis=0) ** 2) for one in drawn for k in range(3)
    ]
    wanted = 36 + 5 / 20  # and the noise of a mean of 20
    assert abs(np.mean(squares) - wanted) < 4 * np.std(squares) / np.sqrt(len(squares))


@pytest.mark.parametrize("make", [gd.digits, gd.mnist5k])
def test_images_held_out_are_others_on_the_same_scale(make):
    options = {"classes": (0, 1, 2), "n_samples": 60, "norm": 3.0, "seed": 4}
    task, plain = make(**options, n_heldout=31), make(**options)
    np.testing.assert_array_equal(task.inputs, plain.inputs)  # they change nothing
    assert (task.n_heldout, plain.n_heldout) == (31, 0)
    both = np.concatenate([task.inputs, task.held_out.inputs])
    assert len(np.unique(both, axis=0)) == 91
    # Back by the map of those trained on, they are grey values of images of the set.
    raw = make(**options | {"centre": False, "norm": 1.0}).inputs
    grey = raw / np.min(raw[raw > 0])
    factor = np.linalg.norm(task.inputs) / np.linalg.norm(grey - grey.mean(axis=0))
    back = task.held_out.inputs / factor + grey.mean(axis=0)
    np.testing.assert_allclose(back, np.round(back), atol=1e-9)
    every, _ = load_images(DIGITS if make is gd.digits else MNIST5K)
    assert {tuple(row) for row in np.round(back)} <= {tuple(row) for row in every}
    counts = np.bincount(np.argmax(task.held_out.targets, axis=1))
    np.testing.assert_array_equal(counts, [11, 10, 10])


def test_redrawn_labels():
    options = {"classes": tuple(range(10)), "n_samples": 1000, "one_hot": True, "n_heldout": 400}
    clean, noisy = gd.digits(**options), gd.digits(**options, label_noise=0.5)
    np.testing.assert_array_equal(clean.inputs, noisy.inputs)
    for one, two in ((clean, noisy), (clean.held_out, noisy.held_out)):
        changed = np.mean(np.argmax(one.targets, axis=1) != np.argmax(two.targets, axis=1))
        n = len(one.targets)
        assert abs(changed - 0.45) < 4 * np.sqrt(0.45 * 0.55 / n)  # one in ten is drawn again
    np.testing.assert_array_equal(noisy.labels, np.argmax(noisy.targets, axis=1))


def test_arrays_held_out_come_from_the_file(tmp_path):
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
    np.savez(tmp_path / "a.npz", inputs=x[:4], targets=y[:4], newer=x[4:], answers=y[4:])
    path = tmp_path / "a.npz"
    task = gd.arrays(path, heldout_inputs="newer", heldout_targets="answers")
    np.testing.assert_array_equal(task.held_out.inputs, x[4:])
    np.testing.assert_array_equal(task.held_out.targets[:, 0], y[4:])
    with pytest.raises(InputError, match="be given with heldout_inputs"):
        gd.arrays(path, heldout_inputs="newer")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: gd.digits(n_samples=300, n_heldout=80), "`n_heldout` must be at most"),
        (lambda: gd.digits(n_heldout=-1), "`n_heldout` must be a whole number"),
        (lambda: gd.digits(n_heldout=4, whiten=True), "be 0 with `whiten`"),
        (lambda: gd.digits(label_noise=1.5), "`label_noise` must be a number from 0 to 1"),
        (lambda: gd.monomials(n_samples=3, n_inputs=2, terms=[[3]]), "list inputs from 1 to 2"),
        (lambda: gd.monomials(n_samples=3, n_inputs=2, terms=[]), "hold one product"),
        (lambda: gd.modular_addition(modulus=1), "`modulus` must be at least 2"),
        (lambda: gd.modular_addition(share=1.0), "leave pairs on both sides"),
        (lambda: gd.clusters(n_samples=5, n_inputs=2), "be a multiple of the 4 classes"),
        (lambda: gd.swiss_roll(n_samples=0), "`n_samples`"),
        (lambda: gd.make_task([[1.0]], [1.0], held_out=([[1.0, 2.0]], [1.0])), "have 1 columns"),
    ],
)
def test_refusals(make, told):
    with pytest.raises(InputError, match=told):
        make()
