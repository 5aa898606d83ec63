"""How smoothly a loss falls."""

from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array

from gramdyn.diagnostics.base import Dims, EveryState
from gramdyn.diagnostics.registry import register
from gramdyn.systems.base import AbstractFields


@register("loss_rise")
class LossRise(EveryState):
    """Upward movement of ln loss over all steps so far, relative to what it has fallen by.

    sum over steps of max(ln L' - ln L, 0) / (ln L(0) - ln L(t)): 0 for a loss that never rises,
    infinite where it has not fallen, 0 at t = 0.
    """

    name: ClassVar[str] = "loss_rise"
    needs: ClassVar[type] = AbstractFields

    def dims(self) -> dict[str, Dims]:
        """Axes of the array."""
        return {"loss_rise": ()}

    def start(self, fields: AbstractFields, scheme: Any) -> tuple[Array, Array, Array]:
        """No loss seen yet: ln loss at first and before are infinite; no rise."""
        none = jnp.full_like(fields.loss, jnp.inf)
        return none, none, jnp.zeros_like(fields.loss)

    def look(self, memory: Any, fields: AbstractFields) -> tuple[Array, Array, Array]:
        """Add the rise of one step."""
        first, before, rise = memory
        log = jnp.log(jnp.maximum(fields.loss, jnp.finfo(fields.loss.dtype).tiny))
        first = jnp.where(jnp.isposinf(first), log, first)
        return first, log, rise + jnp.maximum(log - before, jnp.zeros_like(log))

    def tell(self, memory: Any) -> dict[str, Array]:
        """The ratio."""
        first, now, rise = memory
        fallen = first - now
        ratio = rise / jnp.where(fallen > 0, fallen, jnp.ones_like(fallen))
        never = jnp.where(rise > 0, jnp.full_like(rise, jnp.inf), rise)
        return {"loss_rise": jnp.where(fallen > 0, ratio, never)}
