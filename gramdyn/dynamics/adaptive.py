"""Gradient flow by an adaptive solver."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from gramdyn._checks import check_number, check_positive_int
from gramdyn._types import Scalar
from gramdyn.dynamics.schemes import AbstractScheme, Step, check_step
from gramdyn.dynamics.status import Status
from gramdyn.systems.base import AbstractSystem


class Adaptive(AbstractScheme):
    """Gradient flow by Tsitouras' 5(4) method with error control, in stretches of `dt`.

    Where ReLU units sit on their kink the flow slides along it and the cost grows like 1/rtol, not
    like rtol^(-1/5): keep rtol mild there, or take fixed steps. Under a batch every run of a
    vmapped group waits for the slowest.

    Attributes:
        step_size: Length dt of one stretch and the first step tried in it, a number or `Relative`.
        rtol: Relative tolerance of a step.
        atol: Absolute tolerance of a step; below a tenth of the weights' scale.
        max_steps: Internal steps a stretch may take; a run that needs more has status "step_limit".
    """

    step_size: Step
    rtol: Scalar = 1e-3
    atol: Scalar = 1e-5
    max_steps: int = eqx.field(static=True, default=4096)
    linear: bool = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        check_step(self.step_size)
        check_number("rtol", self.rtol, above=0.0)
        check_number("atol", self.atol, above=0.0)
        check_positive_int("max_steps", self.max_steps)

    @property
    def integrates(self) -> bool:
        """It does, within its tolerances."""
        return True

    def init(self, state: Any) -> Bool[Array, ""]:
        """Whether a stretch ran out of internal steps: not yet."""
        return jnp.asarray(False)

    def step(self, system: AbstractSystem, state: Any, memory: Any, fields: Any) -> Any:
        """Advance by dt with as many internal steps as the tolerance asks for."""
        import diffrax  # half a second to import, and most runs do not need it

        dt = jnp.asarray(self.step_size)
        # A run that failed stands still; without this it would use up its steps in every stretch.
        failed = memory | ~jnp.isfinite(fields.loss)
        dt = jnp.where(failed, jnp.zeros_like(dt), dt)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: jax.tree.map(_bounded, system.velocity(y))),
            diffrax.Tsit5(),
            t0=jnp.zeros_like(dt),
            t1=dt,
            dt0=jnp.asarray(self.step_size),
            y0=state,
            stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            saveat=diffrax.SaveAt(t1=True),
            adjoint=diffrax.ForwardMode(),
            max_steps=self.max_steps,
            throw=False,
        )
        state = jax.tree.map(lambda saved: saved[-1], solution.ys)
        return state, memory | (solution.result != diffrax.RESULTS.successful)

    def trouble(self, memory: Any) -> Int[Array, ""]:
        """`Status.STEP_LIMIT` once a stretch ran out of internal steps."""
        return jnp.where(memory, Status.STEP_LIMIT, Status.OK).astype(jnp.int32)


def _bounded(velocity: Array) -> Array:
    """The velocity with numbers in place of what overflowed.

    A step tried too long may leave the range of numbers: with no number for its error the
    controller would try NaN next, not a shorter step.
    """
    largest = jnp.sqrt(jnp.asarray(jnp.finfo(velocity.dtype).max, velocity.dtype))
    found = jnp.nan_to_num(velocity, nan=largest, posinf=largest, neginf=-largest)
    return jnp.clip(found, -largest, largest)
