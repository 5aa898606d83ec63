"""Diagnostics of structured layers: what their flow conserves, what bounds them."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.registry import diagnostic, register
from gramdyn.systems.network_fields import NetworkFields


@register("structure_drift")
class StructureDrift(AbstractDiagnostic):
    """How far what each trained layer's structure conserves has gone, relative to its size.

    Gradient flow leaves alone: U^T U - V^T V of a low-rank matrix, |v_i| of reflectors, |W| of a
    normalised one, a_i^2 - sum_j W_ij^2 and b_j^2 - sum_i W_ij^2 of a shaped one, alpha^2 - |U|^2
    of a bottleneck. `structure_drift` is max |c(t) - c(0)| / max |c(0)|, 0 for layers that conserve
    nothing of the kind; by Runge-Kutta steps dt it is of order dt^4, by descent of order eta.
    """

    name: ClassVar[str] = "structure_drift"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the array."""
        return {"structure_drift": ("layer",)}

    def start(self, fields: NetworkFields, scheme: Any) -> tuple[Array, ...]:
        """The numbers at t = 0."""
        return _conserved(fields)

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """The drift of each layer."""
        pairs = zip(memory, _conserved(fields), strict=True)
        found = [_drift(start, now) for start, now in pairs]
        return {"structure_drift": jnp.stack(found)}, memory


def _conserved(fields: NetworkFields) -> tuple[Array, ...]:
    """Of each trained layer."""
    dtype = fields.targets.dtype
    return tuple(fields.network.layers[i].conserved().astype(dtype) for i in fields.trained)


def _drift(start: Float[Array, " k"], now: Float[Array, " k"]) -> Float[Array, ""]:
    if not start.size:
        return jnp.zeros((), start.dtype)
    size = jnp.max(jnp.abs(start))
    return jnp.max(jnp.abs(now - start)) / jnp.where(size > 0, size, jnp.ones_like(size))


@diagnostic({"lipschitz": ("hidden",), "lipschitz_product": ()})
def lipschitz(fields: NetworkFields) -> dict[str, Array]:
    """Bound on |h' - g'| / |h - g| of each hidden layer, and the product of all of them.

    Cost: an SVD a layer where the structure knows no bound.
    """
    bounds = jnp.stack([layer.lipschitz() for layer in fields.network.layers[:-1]])
    return {"lipschitz": bounds, "lipschitz_product": jnp.prod(bounds)}
