"""Gradient flow by the implicit midpoint method, which keeps quadratic invariants."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from gramdyn._checks import check_positive_int
from gramdyn.dynamics.schemes import AbstractScheme, Step, add_step, check_step
from gramdyn.dynamics.status import Status
from gramdyn.systems.base import AbstractSystem

# The step's equation is solved to this many units in the last place of the largest entry.
_ROUNDING = 4


class ImplicitMidpoint(AbstractScheme):
    """Gradient flow by y' = y + dt velocity((y + y') / 2), of second order.

    Every quadratic invariant of the flow, such as W_{l+1}^T W_{l+1} - W_l W_l^T of linear layers,
    is kept to rounding, whatever the step: what is wrong is the trajectory, by order dt^2. The
    equation is solved by fixed-point iteration, which contracts while dt times half the largest
    rate is below 1. Where the velocity jumps, as where the mask of a ReLU flips, it may have no
    solution at all, and the run ends there with status "step_limit": of ten random ReLU networks
    all did, at one flip or another.

    Attributes:
        step_size: Time step dt, a number or `Relative`.
        max_steps: Iterations a step may take; a run that needs more has status "step_limit".

    Cost: one evaluation of the velocity an iteration, some 10 to 20 a step in float64.
    """

    step_size: Step
    max_steps: int = eqx.field(static=True, default=64)
    linear: bool = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        check_step(self.step_size)
        check_positive_int("max_steps", self.max_steps)

    @property
    def integrates(self) -> bool:
        """It does, to second order, and keeps quadratic invariants to rounding."""
        return True

    @property
    def ignores_padding(self) -> bool:
        """Entries that stay zero change neither a slope nor when the iteration stops."""
        return True

    def init(self, state: Any) -> Bool[Array, ""]:
        """Whether a step ran out of iterations: not yet."""
        return jnp.asarray(False)

    def step(self, system: AbstractSystem, state: Any, memory: Any, fields: Any) -> Any:
        """One step of length dt."""
        # A run that failed stands still; without this it would use up its iterations every step.
        dt = jnp.where(memory | ~jnp.isfinite(fields.loss), 0.0, jnp.asarray(self.step_size))

        def refine(middle: Any) -> Any:
            return add_step(state, dt / 2, system.velocity(middle))

        start = add_step(state, dt / 2, system.velocity(state, fields))
        middle, solved = _fixed_point(refine, start, _largest(state), self.max_steps)
        state = jax.tree.map(lambda old, middle: 2 * middle - old, state, middle)
        return state, memory | ~solved

    def trouble(self, memory: Any) -> Int[Array, ""]:
        """`Status.STEP_LIMIT` once a step ran out of iterations."""
        return jnp.where(memory, Status.STEP_LIMIT, Status.OK).astype(jnp.int32)


def _fixed_point(
    refine: Callable[[Any], Any], start: Any, size: Float[Array, ""], max_steps: int
) -> tuple[Any, Bool[Array, ""]]:
    """Where `refine` stops to move, to rounding in units of `size`, and whether it did."""
    # Of the largest entry: those near 0 need no more.
    close = _ROUNDING * jnp.finfo(size.dtype).eps * size

    def go_on(carry: Any) -> Bool[Array, ""]:
        _, moved, count = carry
        return (moved > close) & (count < max_steps)

    def again(carry: Any) -> Any:
        old, _, count = carry
        new = refine(old)
        return new, _largest(jax.tree.map(jnp.subtract, new, old)), count + 1

    carry = (start, jnp.full_like(size, jnp.inf), jnp.zeros((), jnp.int32))
    found, moved, _ = lax.while_loop(go_on, again, carry)
    return found, moved <= close  # false for NaN as well


def _largest(state: Any) -> Float[Array, ""]:
    """Largest entry by size, above 0."""
    found = functools.reduce(jnp.maximum, [jnp.max(jnp.abs(x)) for x in jax.tree.leaves(state)])
    return jnp.maximum(found, jnp.finfo(found.dtype).tiny)
