"""Losses: value, and the output gradient that enters the residual law."""

from abc import abstractmethod

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check_known

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
