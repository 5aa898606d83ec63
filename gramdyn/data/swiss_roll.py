"""The task of a rolled-up line: two inputs, and how far along it a sample lies."""

import numpy as np

from gramdyn._checks import check, check_positive_int, check_seed
from gramdyn.data.task import Task, make_task


def swiss_roll(*, n_samples: int = 1000, seed: int = 0) -> Task:
    """Points (t cos t, t sin t), t uniform from 1.5 pi to 4.5 pi, with target t.

    Each input and the target are scaled to [0, 1] over the samples. No straight line through the
    plane tells t: Target Linearity of the inputs is 0.07. The draw is that of scikit-learn's
    generator for the same seed, less its height.

    Args:
        n_samples: Number of samples n, at least 2.
        seed: Seed of t.

    Returns:
        Task with 2 inputs and 1 output.

    Raises:
        InputError: An argument out of its range.
    """
    n = check_positive_int("n_samples", n_samples)
    check(n >= 2, "n_samples", "be at least 2", n)
    check(check_seed("seed", seed) < 2**32, "seed", "be below 2^32 here", seed)
    draw = np.random.RandomState(seed)
    t = 1.5 * np.pi * (1.0 + 2.0 * draw.uniform(size=n))
    inputs = np.stack([t * np.cos(t), t * np.sin(t)], axis=1)
    notes = (("seed", seed),)
    return make_task(_to_unit(inputs), _to_unit(t[:, None]), name="swiss_roll", notes=notes)


def _to_unit(columns: np.ndarray) -> np.ndarray:
    """Each column from 0 to 1."""
    low, high = columns.min(axis=0), columns.max(axis=0)
    return (columns - low) / np.where(high > low, high - low, 1.0)
