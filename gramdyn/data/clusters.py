"""The task of telling Gaussian clusters apart."""

import math

import numpy as np

from gramdyn._checks import check, check_positive, check_positive_int, check_seed
from gramdyn.data._random import make_generator
from gramdyn.data.task import Task, make_task


def clusters(
    *,
    n_samples: int,
    n_inputs: int,
    n_classes: int = 4,
    distance: float = 4.0,
    n_heldout: int = 0,
    seed: int = 0,
) -> Task:
    """Classes x ~ N(c, I) about centres c ~ N(0, distance^2 / d), with one-hot targets.

    So |c| is `distance` on average, and two centres lie sqrt(2) times that apart.

    Args:
        n_samples: Number of samples n, a multiple of the number of classes, so that all are alike.
        n_inputs: Number of inputs d.
        n_classes: Number of classes C, at least 2.
        distance: Root mean square distance of a centre from 0, above 0.
        n_heldout: Number of further samples that are not trained on, a multiple of C too.
        seed: Seed of centres and samples.

    Returns:
        Task with C outputs, targets 0 and 1, and `labels`.

    Raises:
        InputError: An argument out of its range.
    """
    n, d = check_positive_int("n_samples", n_samples), check_positive_int("n_inputs", n_inputs)
    count = check_positive_int("n_classes", n_classes)
    check(count >= 2, "n_classes", "be at least 2", n_classes)
    check(n % count == 0, "n_samples", f"be a multiple of the {count} classes", n_samples)
    check_seed("n_heldout", n_heldout)
    check(n_heldout % count == 0, "n_heldout", f"be a multiple of the {count} classes", n_heldout)
    size = check_positive("distance", distance) / math.sqrt(d)
    centres = size * make_generator(seed, "centres").standard_normal((count, d))
    labels, others = np.repeat(np.arange(count), n // count), np.arange(n_heldout) % count
    seen = centres[labels] + make_generator(seed, "inputs").standard_normal((n, d))
    new = centres[others] + make_generator(seed, "held-out").standard_normal((n_heldout, d))
    return make_task(
        seen,
        np.eye(count)[labels],
        labels=labels,
        name="clusters",
        notes=(("distance", float(distance)), ("seed", seed)),
        held_out=(new, np.eye(count)[others]) if n_heldout else None,
    )
