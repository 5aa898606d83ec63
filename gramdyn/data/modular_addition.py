"""The task of adding whole numbers modulo another one."""

import numpy as np

from gramdyn._checks import check, check_positive_int
from gramdyn.data._random import make_generator
from gramdyn.data.task import Task, make_task


def modular_addition(*, modulus: int = 61, share: float = 0.7, seed: int = 0) -> Task:
    """All pairs of numbers below p as two one-hot vectors, with the class of their sum modulo p.

    A share of the p^2 pairs is trained on, the others are held out; networks that fit the first
    long before the second grok it.

    Args:
        modulus: p, at least 2.
        share: Share of the pairs that is trained on, above 0 and below 1.
        seed: Seed of which those are.

    Returns:
        Task with 2 p inputs and p outputs, targets 0 and 1, and the others held out.

    Raises:
        InputError: An argument out of its range.
    """
    p = check_positive_int("modulus", modulus)
    check(p >= 2, "modulus", "be at least 2", modulus)
    number = isinstance(share, int | float) and not isinstance(share, bool)
    n_seen = round(share * p * p) if number and 0 < share < 1 else 0
    check(0 < n_seen < p * p, "share", "leave pairs on both sides, between 0 and 1", share)
    one, two = np.divmod(make_generator(seed, "pairs").permutation(p * p), p)
    unit = np.eye(p)
    inputs, sums = np.concatenate([unit[one], unit[two]], axis=1), (one + two) % p
    notes = (("modulus", p), ("share", float(share)), ("seed", seed))
    return make_task(
        inputs[:n_seen],
        unit[sums[:n_seen]],
        labels=sums[:n_seen],
        name="modular_addition",
        notes=notes,
        held_out=(inputs[n_seen:], unit[sums[n_seen:]]),
    )
