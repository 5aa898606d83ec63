"""Diagnostics of answers: accuracy, and what samples say that nothing is trained on."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gramdyn._checks import check, check_nonnegative, check_positive_int, check_seed
from gramdyn._errors import InputError
from gramdyn._types import Key
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
    return jnp.mean(are_right(fields.outputs, fields.targets), dtype=fields.outputs.dtype)


def are_right(outputs: Float[Array, "n C"], targets: Float[Array, "n C"]) -> Bool[Array, " n"]:
    """Whether the largest output is that of the largest target; of one output, the sign."""
    if targets.shape[1] == 1:
        return (outputs[:, 0] > 0) == (targets[:, 0] > 0)
    return jnp.argmax(outputs, axis=1) == jnp.argmax(targets, axis=1)


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
    """The accuracy on samples that are held out, Gaussian noise added to their inputs.

    For each standard deviation sigma the share of right answers at x + sigma xi, xi ~ N(0, I), over
    all samples and draws of xi. The draws depend on seed and precision alone: they are the same at
    every time, for every network and for every sigma. At sigma = 0 it is `heldout_accuracy`.

    Attributes:
        noise: Standard deviations, at least 0.
        draws: Number of draws of the noise.
        seed: Seed of the noise.

    Raises:
        InputError: where the task has no samples that are held out.

    Cost: a forward pass on the held-out samples for each standard deviation and draw, one after the
    other: one draw of the noise is kept at a time.
    """

    noise: tuple[float, ...] = eqx.field(static=True)
    draws: int = eqx.field(static=True, default=1)
    seed: int = eqx.field(static=True, default=0)
    name: ClassVar[str] = "noisy_accuracy"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    @property
    def ignores_padding(self) -> bool:
        """Outputs do not see neurons without weights.

        Nor are there the ties of a centred start: such a network has no samples held out.
        """
        return True

    def dims(self) -> dict[str, Dims]:
        """Axes of the array."""
        return {"noisy_accuracy": ("noise",)}

    def labels(self) -> dict[str, tuple[str, ...]]:
        """The standard deviations."""
        return {"noise": tuple(f"{size:g}" for size in self.noise)}

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """The accuracies, one after the other."""
        held = held_out_of(fields, self.name)
        keys = jax.random.split(jax.random.key(self.seed), self.draws)

        def at(size: Float[Array, ""]) -> Float[Array, ""]:
            right = jax.lax.map(lambda key: _right_in_noise(held, size, key), keys)
            return jnp.mean(right, dtype=size.dtype)

        sizes = jnp.asarray(self.noise, held.targets.dtype)
        return {"noisy_accuracy": jax.lax.map(at, sizes)}, memory


def _right_in_noise(held: NetworkFields, size: Float[Array, ""], key: Key) -> Bool[Array, " n"]:
    """Which answers are right in one draw of the noise."""
    inputs = held.inputs
    assert inputs is not None
    moved = inputs + size * jax.random.normal(key, inputs.shape, inputs.dtype)
    return are_right(held.network(moved), held.targets)


@register("noisy_accuracy")
def make_noisy_accuracy(noise: Any = (0.2, 0.4), draws: int = 1, seed: int = 0) -> NoisyAccuracy:
    """Check the options of `NoisyAccuracy`.

    Raises:
        InputError: for no list of numbers of at least 0, no draw, or a seed out of 0 to 2^32 - 1.
    """
    listed = isinstance(noise, list | tuple) and len(noise) > 0
    check(listed, "noise", "be a list of standard deviations", noise)
    sizes = tuple(check_nonnegative("noise", size) for size in noise)
    # In 32 bits a key drops the upper bits of its seed unseen.
    check(check_seed("seed", seed) < 2**32, "seed", "be below 2^32 here", seed)
    return NoisyAccuracy(sizes, check_positive_int("draws", draws), seed)
