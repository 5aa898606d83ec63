"""Diagnostics of answers: accuracy, and what samples say that nothing is trained on."""

from collections.abc import Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_nonnegative, check_positive_int, check_seed
from gramdyn._errors import InputError
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.registry import diagnostic, register
from gramdyn.systems.network_fields import NetworkFields


def held_out_of(fields: NetworkFields, reader: str) -> NetworkFields:
    """The fields on the samples that are held out.

    Raises:
        InputError: where the task has none.
    """
    if fields.held_out is None:
        raise InputError(
            f"Diagnostic `{reader}` reads samples that are held out, but the task has none: "
            "see n_heldout and its like."
        )
    return fields.held_out


def _share_right(fields: NetworkFields) -> Float[Array, ""]:
    return share_right(fields.outputs, fields.targets)


def share_right(outputs: Float[Array, "n C"], targets: Float[Array, "n C"]) -> Float[Array, ""]:
    """Share of rows whose largest output is that of the largest target, or of one the sign."""
    if targets.shape[1] == 1:
        right = (outputs[:, 0] > 0) == (targets[:, 0] > 0)
    else:
        right = jnp.argmax(outputs, axis=1) == jnp.argmax(targets, axis=1)
    return jnp.mean(right.astype(outputs.dtype))


@diagnostic({"accuracy": ()})
def accuracy(fields: NetworkFields) -> Float[Array, ""]:
    """Share of training samples whose largest output is that of their largest target.

    Of one output: whose sign is the target's. Ties are up to rounding, such as at a centred start.
    """
    return _share_right(fields)


@diagnostic({"heldout_accuracy": ()})
def heldout_accuracy(fields: NetworkFields) -> Float[Array, ""]:
    """The accuracy on samples that are held out.

    Raises:
        InputError: where the task has none.
    """
    return _share_right(held_out_of(fields, "heldout_accuracy"))


@diagnostic({"heldout_loss": ()}, sees_padding=False)
def heldout_loss(fields: NetworkFields) -> Float[Array, ""]:
    """The loss on samples that are held out.

    Raises:
        InputError: where the task has none.
    """
    return held_out_of(fields, "heldout_loss").loss


class NoisyAccuracy(AbstractDiagnostic):
    """The accuracy on samples held out, Gaussian noise added to their inputs.

    The noise is the same at every time and for every network of a sweep.

    Attributes:
        noise: Standard deviations.
        draws: Draws of the noise, over which the accuracy is averaged.
        seed: Seed of the noise.

    Cost: a forward pass on the held-out samples for each standard deviation and draw.
    """

    noise: tuple[float, ...] = eqx.field(static=True)
    draws: int = eqx.field(static=True, default=1)
    seed: int = eqx.field(static=True, default=0)
    name: ClassVar[str] = "noisy_accuracy"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    @property
    def ignores_padding(self) -> bool:
        """As `heldout_accuracy`, ties are up to rounding."""
        return False

    def dims(self) -> dict[str, Dims]:
        """Axes of the array."""
        return {"noisy_accuracy": ("noise",)}

    def labels(self) -> dict[str, tuple[str, ...]]:
        """The standard deviations."""
        return {"noise": tuple(f"{one:g}" for one in self.noise)}

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """The accuracies, one after the other."""
        held = held_out_of(fields, "noisy_accuracy")
        assert held.inputs is not None
        inputs, targets = held.inputs, held.targets
        keys = jax.random.split(jax.random.key(self.seed), self.draws)

        def at(size: Float[Array, ""]) -> Float[Array, ""]:
            draw = lambda key: _accuracy_at(fields, inputs, targets, size, key)  # noqa: E731
            return jnp.mean(jax.lax.map(draw, keys))

        found = jax.lax.map(at, jnp.asarray(self.noise, inputs.dtype))
        return {"noisy_accuracy": found}, memory


def _accuracy_at(
    fields: NetworkFields,
    inputs: Float[Array, "n d"],
    targets: Float[Array, "n C"],
    size: Float[Array, ""],
    key: Any,
) -> Float[Array, ""]:
    moved = inputs + size * jax.random.normal(key, inputs.shape, inputs.dtype)
    return share_right(fields.network(moved), targets)


@register("noisy_accuracy")
def make_noisy_accuracy(noise: Sequence[float], draws: int = 1, seed: int = 0) -> NoisyAccuracy:
    """The accuracy on samples held out at these standard deviations of noise on their inputs."""
    listed = isinstance(noise, Sequence) and not isinstance(noise, str) and len(noise) > 0
    check(listed, "noise", "be a list of standard deviations", noise)
    sizes = tuple(check_nonnegative("noise", one) for one in noise)
    return NoisyAccuracy(sizes, check_positive_int("draws", draws), check_seed("seed", seed))
