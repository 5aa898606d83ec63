"""How a run is doing: one code a run, carried through the loop."""

from enum import IntEnum

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Status(IntEnum):
    """Code of a run.

    ok: every step so far had a finite loss below the limit.
    not_finite: the loss became infinite or NaN.
    diverged: the loss rose above `diverged_above` times its first value.
    step_limit: an adaptive solver used up the internal steps it is allowed within one step.
    """

    OK = 0
    NOT_FINITE = 1
    DIVERGED = 2
    STEP_LIMIT = 3


def status_name(code: int) -> str:
    """The code as a word: "ok", "not_finite", "diverged" or "step_limit"."""
    return Status(int(code)).name.lower()


def check_loss(loss: Float[Array, ""], limit: Float[Array, ""]) -> Int[Array, ""]:
    """Status of a run that was ok so far, from its loss and the loss it may not exceed."""
    too_high = jnp.where(loss > limit, Status.DIVERGED, Status.OK)
    return jnp.where(jnp.isfinite(loss), too_high, Status.NOT_FINITE).astype(jnp.int32)


def is_ok(status: Int[Array, ""]) -> Bool[Array, ""]:
    """Whether the run goes on."""
    return status == Status.OK
