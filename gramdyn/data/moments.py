"""What a linear network sees of its data: two moments, whatever the number of samples."""

import math
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from gramdyn._checks import check_matrix, check_positive
from gramdyn.data.task import Task


class Moments(eqx.Module):
    """Second moments of a task and what follows from them, for squared loss with factor s.

        Sxx = s X^T X,  Syx = s Y^T X,  T = Syx Sxx^+,  floor = s/2 |Y - X T^T|_F^2
        loss(Pi) = 1/2 |(T - Pi) Sxx^(1/2)|_F^2 + floor, exactly, for singular Sxx too

    Levels of the landscape and plateaus of the loss follow from the singular values of the white
    target T Sxx^(1/2), not from those of T or Syx. What is conserved is so in the weights
    themselves: whitening the inputs is another flow in the same landscape.

    Attributes:
        target: T, shape (C, d).
        input_moment: Sxx, shape (d, d), or None where it is the identity.
        input_root: Sxx^(1/2), shape (d, d), or None likewise.
        floor: Least loss of any linear map, shape ().
        left: Left singular vectors of the white target, columns, shape (C, k), k = min(C, d).
        values: Its singular values, descending, those at rounding level set to 0, shape (k,).
        right: Its right singular vectors, columns, shape (d, k).
    """

    target: Float[Array | np.ndarray, "C d"]
    input_moment: Float[Array | np.ndarray, "d d"] | None
    input_root: Float[Array | np.ndarray, "d d"] | None
    floor: Float[Array | np.ndarray, ""]
    left: Float[Array | np.ndarray, "C k"]
    values: Float[Array | np.ndarray, " k"]
    right: Float[Array | np.ndarray, "d k"]

    @property
    def n_inputs(self) -> int:
        """Number of input features d."""
        return self.target.shape[1]

    @property
    def n_outputs(self) -> int:
        """Number of outputs C."""
        return self.target.shape[0]

    def white_target(self) -> Any:
        """T Sxx^(1/2), shape (C, d)."""
        return self.target if self.input_root is None else self.target @ self.input_root

    def whiten(self, matrix: Any) -> Any:
        """A map that acts on inputs, as one that acts on white inputs: times Sxx^(1/2)."""
        return matrix if self.input_root is None else matrix @ self.input_root

    def with_moment(self) -> "Moments":
        """The same with the identity spelt out, so that it stacks with others."""
        eye = np.eye(self.n_inputs)
        return self if self.input_moment is not None else self._with(eye)

    def without_moment(self) -> "Moments":
        """The same with the identity left out."""
        return self._with(None)

    def _with(self, moment: Any) -> "Moments":
        spots = lambda tree: (tree.input_moment, tree.input_root)  # noqa: E731
        return eqx.tree_at(spots, self, (moment, moment), is_leaf=lambda leaf: leaf is None)


def task_moments(task: Task, scale: float = 1.0) -> Moments:
    """The moments of a task, on the host in float64.

    Args:
        task: Inputs and targets.
        scale: Factor s of the loss: 1 for the sum over samples, 1/n for the mean.

    Raises:
        InputError: for a factor that is not above 0, or data that are not finite.

    Cost: some n d (d + C) multiplications and a singular value decomposition of a d x d matrix.
    """
    scale = check_positive("scale", scale)
    inputs, targets = check_matrix("inputs", task.inputs), check_matrix("targets", task.targets)
    moment = scale * inputs.T @ inputs
    white = np.array_equal(moment, np.eye(len(moment)))
    if white:
        root, target = moment, scale * targets.T @ inputs
    else:
        root, target = _root_and_target(inputs, targets, scale)
    floor = np.asarray(0.5 * scale * np.sum((targets - inputs @ target.T) ** 2))
    left, values, right = np.linalg.svd(target @ root, full_matrices=False)
    values = np.where(values > max(target.shape) * _EPS * values[0], values, 0.0)
    found = Moments(target, moment, root, floor, left, values, right.T)
    return found.without_moment() if white else found


# Singular values below this share of the largest, times the longer side, are rounding.
_EPS = float(np.finfo(np.float64).eps)


def _root_and_target(
    inputs: Float[np.ndarray, "n d"], targets: Float[np.ndarray, "n C"], scale: float
) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, "C d"]]:
    """Sxx^(1/2) and T.

    From the inputs themselves: Sxx has the square of their condition, and would lose as many digits
    again. A rotation of the samples, the same of both, changes neither and leaves few of them.
    """
    d = inputs.shape[1]
    rows = np.asarray(np.linalg.qr(np.hstack([inputs, targets]), mode="r")) * math.sqrt(scale)
    left, values, right = np.linalg.svd(rows[:, :d], full_matrices=False)
    kept = values > max(inputs.shape) * _EPS * values[0]
    left, values, right = left[:, kept], values[kept], right[kept]
    return (right.T * values) @ right, (rows[:, d:].T @ left / values) @ right
