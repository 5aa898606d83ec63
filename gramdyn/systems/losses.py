"""Losses: value, and the output gradient that enters the residual law."""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gramdyn._checks import check, check_known

REDUCTIONS = ("sum", "mean")


class AbstractLoss(eqx.Module):
    """A loss of outputs and targets, `scale * sum over samples`.

    Attributes:
        reduction: "sum" (scale 1) or "mean" (scale 1/n).
    """

    reduction: eqx.AbstractVar[str]

    def scale(self, n_samples: int) -> float:
        """The factor s in front of the sum over samples."""
        return 1.0 if self.reduction == "sum" else 1.0 / n_samples

    def check_targets(self, targets: np.ndarray) -> None:
        """Refuse targets that it is not made for; none by default.

        Raises:
            InputError: saying what they must be.
        """
        return

    @abstractmethod
    def value(self, outputs: Float[Array, "n C"], targets: Float[Array, "n C"]) -> Float[Array, ""]:
        """The loss."""

    @abstractmethod
    def residual(
        self, outputs: Float[Array, "n C"], targets: Float[Array, "n C"]
    ) -> Float[Array, "n C"]:
        """Output gradient of the sum: d loss / d outputs = s * residual, shape (n, C)."""


class SquaredLoss(AbstractLoss):
    """s/2 sum (outputs - targets)^2, with residual outputs - targets."""

    reduction: str = eqx.field(static=True, default="sum")

    def __check_init__(self) -> None:
        check_known("loss reduction", self.reduction, REDUCTIONS)

    def value(self, outputs: Float[Array, "n C"], targets: Float[Array, "n C"]) -> Float[Array, ""]:
        """s/2 sum (outputs - targets)^2."""
        return 0.5 * self.scale(outputs.shape[0]) * jnp.sum((outputs - targets) ** 2)

    def residual(
        self, outputs: Float[Array, "n C"], targets: Float[Array, "n C"]
    ) -> Float[Array, "n C"]:
        """Outputs - targets."""
        return outputs - targets


class CrossEntropyLoss(AbstractLoss):
    """-s sum targets . log softmax(outputs), with residual softmax(outputs) - targets.

    Targets are distributions over two classes or more, such as one-hot rows. The residual is no
    affine image of the outputs, so a constant kernel does not decide it; and its Hessian by the
    outputs is diag(p) - p p^T, at most 1/2, so that descent is stable up to twice the step that it
    is for squared loss with the same kernel, at least.
    """

    reduction: str = eqx.field(static=True, default="mean")

    def __check_init__(self) -> None:
        check_known("loss reduction", self.reduction, REDUCTIONS)

    def check_targets(self, targets: np.ndarray) -> None:
        """Refuse targets that are no distributions."""
        good = targets.shape[1] > 1 and bool(np.all(targets >= 0))
        good = good and bool(np.allclose(np.sum(targets, axis=1), 1.0, rtol=0, atol=1e-9))
        told = f"{targets.shape[1]} column(s) from {targets.min():g} to {targets.max():g}"
        check(good, "targets", "be distributions over two classes or more for cross-entropy", told)

    def value(self, outputs: Float[Array, "n C"], targets: Float[Array, "n C"]) -> Float[Array, ""]:
        """-s sum targets . log softmax(outputs)."""
        logs = jax.nn.log_softmax(outputs, axis=1)
        return -self.scale(outputs.shape[0]) * jnp.sum(targets * logs)

    def residual(
        self, outputs: Float[Array, "n C"], targets: Float[Array, "n C"]
    ) -> Float[Array, "n C"]:
        """Softmax(outputs) - targets."""
        return jax.nn.softmax(outputs, axis=1) - targets


LOSSES: dict[str, Callable[[str], AbstractLoss]] = {
    "squared": SquaredLoss,
    "cross_entropy": CrossEntropyLoss,
}


def make_loss(kind: str, reduction: str) -> AbstractLoss:
    """The loss of a kind in `LOSSES`.

    Raises:
        InputError: for an unknown kind or reduction.
    """
    return LOSSES[check_known("loss", kind, LOSSES)](reduction)
