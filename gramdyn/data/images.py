"""What a model of the inputs alone sees of a task: pixels, and which samples are of one class."""

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from gramdyn._checks import check
from gramdyn.data.task import Task

# Rounding of a scale that takes the brightest pixel to 1.
_ROUNDING = 1e-6


class Images(eqx.Module):
    """Samples of a task as pixels; the targets are left out.

    Attributes:
        inputs: Pixels in [0, 1], one sample a row, shape (n, d).
        members: Samples of each class in their order, as many as the smallest class has, shape
            (classes, m); None where the task has no labels. Whole numbers, in the dtype of the
            inputs where those are stacked.
    """

    inputs: Float[Array | np.ndarray, "n d"]
    members: Int[Array | np.ndarray, "C m"] | Float[Array | np.ndarray, "C m"] | None = None

    @property
    def n_inputs(self) -> int:
        """Number of pixels d."""
        return self.inputs.shape[1]


def task_images(task: Task) -> Images:
    """Pixels of a task, and the samples of each class.

    Raises:
        InputError: for a task without samples, or inputs outside of [0, 1].
    """
    check(task.n_samples > 0, "n_samples", "be above 0 for an autoencoder", task.n_samples)
    inputs = np.asarray(task.inputs)
    low, high = float(inputs.min()), float(inputs.max())
    demand = "lie in 0 to 1 for an autoencoder (of digits: centre false, and a norm that gives it)"
    check(low >= 0 and high <= 1 + _ROUNDING, "inputs", demand, (low, high))
    return Images(inputs, None if task.labels is None else class_members(np.asarray(task.labels)))


def class_members(labels: Int[np.ndarray, " n"]) -> Int[np.ndarray, "C m"]:
    """Samples of each class in their order, as many as the smallest class has."""
    found = [np.flatnonzero(labels == one) for one in np.unique(labels)]
    count = min(map(len, found))
    return np.stack([rows[:count] for rows in found])
