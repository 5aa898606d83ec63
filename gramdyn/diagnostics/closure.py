"""`closure_error`: how far the run is from what its fields alone, cut by a closure, would do."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.companion import Companion, check_whole
from gramdyn.diagnostics.registry import register
from gramdyn.systems.closure import CLOSURES, Closure, make_closure
from gramdyn.systems.field_space import field_system
from gramdyn.systems.network_fields import NetworkFields

_ARRAYS = ("closure_error", "residual_gap", "field_gap")


class ClosureError(AbstractDiagnostic):
    """Distance between the run and field-space systems stepped beside it by the same scheme.

    One array entry a closure (axis "closure", labelled):

    * `closure_error`: |r_closed - r| / |r| over the whole trajectory so far, the norms taken over
      samples, outputs and steps,
    * `residual_gap`: largest |r_closed - r| of any entry at any step so far,
    * `field_gap`: largest |z_closed - z| of any entry of any hidden layer at any step so far.

    A closed system that blew up, or whose adaptive steps ran out, has infinite error. Cuts follow
    the laws of the flow, so under gradient descent their errors hold a part of the order of the
    step; "exact" follows the discrete laws. Closures and what they keep: `gramdyn.systems.Closure`.

    Attributes:
        closures: The closures by name.

    Cost: about two steps of the network for each closure at every step.
    """

    closures: tuple[tuple[str, Closure], ...] = eqx.field(static=True)
    name: ClassVar[str] = "closure_error"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the three arrays."""
        return dict.fromkeys(_ARRAYS, ("closure",))

    def labels(self) -> dict[str, tuple[str, ...]]:
        """Names of the closures."""
        return {"closure": tuple(name for name, _ in self.closures)}

    def start(self, fields: NetworkFields, scheme: Any) -> Any:
        """The closed systems at t = 0."""
        systems = [field_system(fields, closure) for _, closure in self.closures]
        zero = jnp.zeros(len(systems), fields.targets.dtype)
        check_whole(fields, self.name)
        companions = tuple(Companion.of(system, scheme, self.name) for system in systems)
        return companions, zero, jnp.zeros((), zero.dtype), zero, zero

    def step(self, memory: Any, fields: NetworkFields, left: Any) -> Any:
        """Compare, then step the closed systems."""
        companions, apart, size, residual_gap, field_gap = memory
        seen = [companion.fields() for companion in companions]
        gaps = jnp.stack([one.residual - fields.residual for one in seen])
        apart = apart + jnp.sum(gaps**2, axis=(1, 2))
        size = size + jnp.sum(fields.residual**2)
        residual_gap = jnp.maximum(residual_gap, jnp.max(jnp.abs(gaps), axis=(1, 2)))
        field_gap = jnp.maximum(field_gap, jnp.stack([_field_gap(one, fields) for one in seen]))
        companions = tuple(one.step(shown) for one, shown in zip(companions, seen, strict=True))
        return companions, apart, size, residual_gap, field_gap

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """The three distances so far."""
        memory = self.step(memory, fields, None)
        _, apart, size, residual_gap, field_gap = memory
        error = jnp.sqrt(apart / jnp.where(size > 0, size, 1.0))
        found = dict(zip(_ARRAYS, (error, residual_gap, field_gap), strict=True))
        return {name: jnp.where(jnp.isnan(x), jnp.inf, x) for name, x in found.items()}, memory


def _field_gap(fields: NetworkFields, other: NetworkFields) -> Float[Array, ""]:
    pairs = zip(fields.traces[:-1], other.traces[:-1], strict=True)
    return jnp.max(jnp.stack([jnp.max(jnp.abs(one.pre - two.pre)) for one, two in pairs]))


@register("closure_error")
def make_closure_error(
    closures: Sequence[str | Mapping[str, Any] | Closure] = ("flips_omitted", "frozen", "dropped"),
) -> ClosureError:
    """Distance to the fields stepped alone: "exact", "flips_omitted", "frozen", "dropped", cuts.

    A cut is a mapping with `order` (layers that operators may cross), `expansion` (power of the
    weights' movement in them), or both.
    """
    listed = isinstance(closures, Sequence) and not isinstance(closures, str) and len(closures) > 0
    check(listed, "closures", f"be a list of {', '.join(CLOSURES)}, or cuts", closures)
    named = tuple((closure.name, closure) for closure in map(make_closure, closures))
    names = [name for name, _ in named]
    check(len(set(names)) == len(names), "closures", "name each closure once", names)
    return ClosureError(named)
