"""Short running averages: what a chattering kernel is on average just before a saved time."""

import copy
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

from gramdyn.diagnostics.base import AbstractDiagnostic, Dims


class Average(AbstractDiagnostic):
    """Mean of another diagnostic over the last steps up to each saved time, that time included.

    ReLU networks drive some (sample, neuron) pairs onto their kink, where the mask flips at nearly
    every step; a kernel read at one time then jumps by per cents from step to step, at any step
    size. The mean over some 20 steps is what two precisions, or two step sizes, agree on. At t = 0
    it is the value itself; where saved times lie closer than the window it holds the steps since
    the one before. Arrays are named `<name>_average`.

    Attributes:
        of: The diagnostic.
        steps: Length of the window, in steps.

    Cost: one observation of the other diagnostic in each step of the window.
    """

    of: AbstractDiagnostic
    steps: int = eqx.field(static=True)

    @property
    def name(self) -> str:
        """Name of the other diagnostic, with `_average`."""
        return f"{self.of.name}_average"

    @property
    def needs(self) -> type:
        """What the other diagnostic needs."""
        return self.of.needs

    @property
    def chatters(self) -> bool:
        """An average does not."""
        return False

    @property
    def ignores_padding(self) -> bool:
        """As the other diagnostic."""
        return self.of.ignores_padding

    def dims(self) -> dict[str, Dims]:
        """Axes of the other diagnostic's arrays."""
        return {f"{name}_average": axes for name, axes in self.of.dims().items()}

    def start(self, fields: Any, scheme: Any) -> Any:
        """The other's memory, empty sums, and no step in them."""
        inner = self.of.start(fields, scheme)
        shapes = jax.eval_shape(lambda: self.of.observe(inner, copy.copy(fields))[0])
        sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return inner, sums, jnp.zeros((), fields.loss.dtype)

    def step(self, memory: Any, fields: Any, left: Int[Array, ""]) -> Any:
        """Add one observation if the step lies in the window."""
        inner, sums, count = memory

        def add() -> Any:
            # A copy, since what is computed inside a branch must not be kept outside it.
            found, _ = self.of.observe(inner, copy.copy(fields))
            return jax.tree.map(jnp.add, sums, found), count + 1

        sums, count = lax.cond(left < self.steps, add, lambda: (sums, count))
        return inner, sums, count

    def observe(self, memory: Any, fields: Any) -> tuple[dict[str, Array], Any]:
        """The mean, and start again."""
        inner, sums, count = memory
        found, inner = self.of.observe(inner, fields)
        mean = {f"{k}_average": (sums[k] + found[k]) / (count + 1) for k in found}
        return mean, (inner, jax.tree.map(jnp.zeros_like, sums), jnp.zeros_like(count))
