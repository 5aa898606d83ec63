"""The task of telling the arms of a spiral apart."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gramdyn._checks import check, check_nonnegative, check_positive, check_positive_int, check_seed
from gramdyn.data._random import make_generator
from gramdyn.data.task import Task, make_task


def spirals(
    *,
    n_samples: int,
    n_inputs: int = 8,
    n_arms: int = 3,
    turns: float = 1.25,
    jitter: float = 0.02,
    scale: float = 3.0,
    n_heldout: int = 0,
    seed: int = 0,
) -> Task:
    """Points on the arms of a plane spiral, embedded in more dimensions, with one-hot targets.

    Arm c has t ~ U(1/4, 1), radius t, angle 2 pi (turns t + c / n_arms), jitter added to both
    coordinates; then all are multiplied by the scale and laid into R^d by an orthonormal frame.

    Args:
        n_samples: Number of samples n, a multiple of the number of arms.
        n_inputs: Number of inputs d, at least 2.
        n_arms: Number of arms, at least 2; outputs C.
        turns: Turns that an arm would make from the centre to its end; below 0 the other way.
        jitter: Standard deviation of what is added to each coordinate of the plane.
        scale: Factor on all of it, above 0.
        n_heldout: Number of further samples that are not trained on, a multiple of the arms too.
        seed: Seed of frame and samples.

    Returns:
        Task with C outputs, targets 0 and 1, and `labels`.

    Raises:
        InputError: An argument out of its range.
    """
    n, d = check_positive_int("n_samples", n_samples), check_positive_int("n_inputs", n_inputs)
    check(d >= 2, "n_inputs", "be at least 2", n_inputs)
    arms = check_positive_int("n_arms", n_arms)
    check(arms >= 2, "n_arms", "be at least 2", n_arms)
    check(n % arms == 0, "n_samples", f"be a multiple of the {arms} arms", n_samples)
    check_seed("n_heldout", n_heldout)
    check(n_heldout % arms == 0, "n_heldout", f"be a multiple of the {arms} arms", n_heldout)
    good = isinstance(turns, int | float) and not isinstance(turns, bool) and math.isfinite(turns)
    check(good, "turns", "be a finite number", turns)
    check_nonnegative("jitter", jitter)
    size = check_positive("scale", scale)
    frame, _ = np.linalg.qr(make_generator(seed, "frame").standard_normal((d, 2)))
    labels, others = np.repeat(np.arange(arms), n // arms), np.arange(n_heldout) % arms
    shape = _Arms(arms, turns, jitter, size)
    held_out = None
    if n_heldout:
        new = shape.draw(others, make_generator(seed, "held-out"))
        held_out = new @ frame.T, np.eye(arms)[others]
    notes = (("turns", float(turns)), ("jitter", float(jitter)), ("scale", size), ("seed", seed))
    return make_task(
        shape.draw(labels, make_generator(seed, "inputs")) @ frame.T,
        np.eye(arms)[labels],
        labels=labels,
        name="spirals",
        notes=notes,
        held_out=held_out,
    )


class _Arms(NamedTuple):
    """The arms of a spiral in the plane; as the arguments of `spirals`."""

    n_arms: int
    turns: float
    jitter: float
    scale: float

    def draw(self, labels: Int[np.ndarray, " n"], generator: Any) -> Float[np.ndarray, "n 2"]:
        """A point on each of these arms."""
        t = generator.uniform(0.25, 1.0, len(labels))
        angle = 2 * math.pi * (self.turns * t + labels / self.n_arms)
        points = t[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return self.scale * (points + self.jitter * generator.standard_normal(points.shape))
