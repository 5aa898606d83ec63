"""Diagnostics of networks: loss, residual, kernels, spectra, masks."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gramdyn._checks import check_positive_int
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.registry import diagnostic, register
from gramdyn.kernels.coactivation import coactivation as share_active
from gramdyn.kernels.coactivation import count_flips
from gramdyn.kernels.compare import relative_movement, target_alignment
from gramdyn.kernels.gram import as_matrix, conj_gram
from gramdyn.kernels.spectra import spectrum, top_eigenvalues
from gramdyn.systems.base import AbstractFields
from gramdyn.systems.network_fields import NetworkFields

PAIR = ("sample", "output", "sample_2", "output_2")


@diagnostic({"loss": ()}, needs=AbstractFields, sees_padding=False)
def loss(fields: AbstractFields) -> Float[Array, ""]:
    """Loss."""
    return fields.loss


@diagnostic({"residual": ("sample", "output")}, sees_padding=False)
def residual(fields: NetworkFields) -> Float[Array, "n C"]:
    """Residual r, shape (n, C)."""
    return fields.residual


@diagnostic({"outputs": ("sample", "output")}, sees_padding=False)
def outputs(fields: NetworkFields) -> Float[Array, "n C"]:
    """Outputs f, shape (n, C)."""
    return fields.outputs


@diagnostic({"layer_kernels": ("layer", *PAIR)}, chatters=True, sees_padding=False)
def layer_kernels(fields: NetworkFields) -> Float[Array, "L n C n C"]:
    """Kernel of each trained layer, shape (layers, n, C, n, C)."""
    return fields.layer_kernels


@diagnostic({"tangent_kernel": PAIR}, chatters=True, sees_padding=False)
def tangent_kernel(fields: NetworkFields) -> Float[Array, "n C n C"]:
    """Sum of the layer kernels, shape (n, C, n, C)."""
    return fields.tangent_kernel


@diagnostic({"conj_grams": ("hidden", *PAIR)}, chatters=True, sees_padding=False)
def conj_grams(fields: NetworkFields) -> Float[Array, "L n C n C"]:
    """Gram of each hidden layer's sensitivities; at depth 1 the weighted co-activation."""
    return jnp.stack([conj_gram(sens) for sens in fields.sens[:-1]])


@diagnostic({"coactivation": ("hidden", "sample", "sample_2")}, chatters=True)
def coactivation(fields: NetworkFields) -> Float[Array, "L n n"]:
    """Share of each hidden layer's neurons active on both of two samples, (hidden, n, n)."""
    dtype = fields.targets.dtype.type
    return jnp.stack([share_active(active, dtype) for active in fields.active])


@diagnostic({"alignment": (), "layer_alignment": ("layer",)}, chatters=True, sees_padding=False)
def alignment(fields: NetworkFields) -> dict[str, Array]:
    """Cosine of the tangent kernel, and of each layer's kernel, with y y^T."""
    of = jax.vmap(lambda kernel: target_alignment(kernel, fields.targets))
    return _split("alignment", of(fields.all_kernels))


def _split(name: str, found: Float[Array, "L ..."]) -> dict[str, Array]:
    """What was found for `all_kernels`: of the tangent kernel, and of each layer's."""
    return {name: found[0], f"layer_{name}": found[1:]}


class TopEigenvalues(AbstractDiagnostic):
    """Largest eigenvalues of the tangent kernel and of each layer's kernel, descending.

    Attributes:
        count: How many, at most n C.
    """

    count: int = eqx.field(static=True, default=1)
    name: ClassVar[str] = "top_eigenvalues"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = True

    @property
    def ignores_padding(self) -> bool:
        """Kernels do not see neurons without weights."""
        return True

    def dims(self) -> dict[str, Dims]:
        """Axes of the two arrays."""
        return {"top_eigenvalues": ("top",), "layer_top_eigenvalues": ("layer", "top")}

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """Eigenvalues by an iterative method."""
        top = lambda kernel: top_eigenvalues(as_matrix(kernel), self.count)  # noqa: E731
        # One after the other: each stops when it is done, and the iteration compiles once.
        if len(fields.trained) == 1:  # then its kernel is the tangent kernel
            found = jnp.repeat(top(fields.tangent_kernel)[None], 2, axis=0)
        else:
            found = jax.lax.map(top, fields.all_kernels)
        return _split("top_eigenvalues", found), memory


@register("top_eigenvalues")
def make_top_eigenvalues(count: int = 1) -> TopEigenvalues:
    """Largest `count` eigenvalues of the tangent kernel and of each layer's kernel."""
    return TopEigenvalues(check_positive_int("count", count))


@diagnostic(
    {"spectrum": ("rank",), "layer_spectrum": ("layer", "rank")}, chatters=True, sees_padding=False
)
def spectra(fields: NetworkFields) -> dict[str, Array]:
    """All eigenvalues of the tangent and of each layer's kernel, descending. Cost (n C)^3."""
    return _split("spectrum", jax.vmap(lambda k: spectrum(as_matrix(k)))(fields.all_kernels))


@register("kernel_movement")
class KernelMovement(AbstractDiagnostic):
    """Relative distance |K(t) - K(0)|_F / |K(0)|_F of the tangent kernel and of each layer's."""

    name: ClassVar[str] = "kernel_movement"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = True

    @property
    def ignores_padding(self) -> bool:
        """Kernels do not see neurons without weights."""
        return True

    def dims(self) -> dict[str, Dims]:
        """Axes of the two arrays."""
        return {"kernel_movement": (), "layer_kernel_movement": ("layer",)}

    def start(self, fields: NetworkFields, scheme: Any) -> Float[Array, "L n C n C"]:
        """The kernels at t = 0."""
        return fields.all_kernels

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """Movement since t = 0."""
        found = jax.vmap(relative_movement)(fields.all_kernels, memory)
        return _split("kernel_movement", found), memory


@register("flips")
class Flips(AbstractDiagnostic):
    """Mask flips of each hidden layer since the saved time before, counted at every step."""

    name: ClassVar[str] = "flips"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    @property
    def ignores_padding(self) -> bool:
        """A neuron without weights never flips."""
        return True

    def dims(self) -> dict[str, Dims]:
        """Axes of the array."""
        return {"flips": ("hidden",)}

    def start(self, fields: NetworkFields, scheme: Any) -> Any:
        """Masks now, and no flip yet."""
        return fields.active, jnp.zeros(len(fields.active), jnp.int32)

    def step(self, memory: Any, fields: NetworkFields, left: Int[Array, ""]) -> Any:
        """Add the flips of one step."""
        masks, count = memory
        pairs = zip(masks, fields.active, strict=True)
        return fields.active, count + jnp.stack([count_flips(old, new) for old, new in pairs])

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """The count, and start again."""
        masks, count = self.step(memory, fields, jnp.zeros((), jnp.int32))
        return {"flips": count}, (masks, jnp.zeros_like(count))


class Chatter(AbstractDiagnostic):
    """Share of each hidden layer's (sample, neuron) pairs that rest on their kink.

    A pair chatters if its mask flipped `at_least` times since the saved time before, so the saved
    times must lie further apart than that (40 steps, say).

    Attributes:
        at_least: Flips that make a pair count.
    """

    at_least: int = eqx.field(static=True, default=3)
    name: ClassVar[str] = "chatter"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the array."""
        return {"chatter": ("hidden",)}

    def start(self, fields: NetworkFields, scheme: Any) -> Any:
        """Masks now, and no flip yet."""
        return fields.active, tuple(_zeros(active) for active in fields.active)

    def step(self, memory: Any, fields: NetworkFields, left: Int[Array, ""]) -> Any:
        """Add the flips of one step, pair by pair."""
        masks, counts = memory
        triples = zip(counts, masks, fields.active, strict=True)
        return fields.active, tuple(
            count + (old != new).astype(count.dtype) for count, old, new in triples
        )

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """The share, and start again."""
        masks, counts = self.step(memory, fields, jnp.zeros((), jnp.int32))
        dtype = fields.targets.dtype
        share = jnp.stack([jnp.mean((count >= self.at_least).astype(dtype)) for count in counts])
        return {"chatter": share}, (masks, tuple(_zeros(active) for active in masks))


def _zeros(active: Bool[Array, "n N"]) -> Int[Array, "n N"]:
    return jnp.zeros(active.shape, jnp.int32)


@register("chatter")
def make_chatter(at_least: int = 3) -> Chatter:
    """Share of (sample, neuron) pairs that flipped `at_least` times since the saved time before."""
    return Chatter(check_positive_int("at_least", at_least))
