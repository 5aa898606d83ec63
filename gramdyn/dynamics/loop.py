"""The loop: a trajectory as a scan over saved times with a loop over steps inside.

Everything here is pure and traceable; one `jit` around `trajectory` is a whole run, and a map of
it over a leading axis is a batch (`gramdyn.dynamics.batch`). Nothing talks to the host.
"""

from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from gramdyn.dynamics.schemes import AbstractScheme, resolve_step
from gramdyn.dynamics.status import check_loss, is_ok
from gramdyn.systems.base import AbstractSystem


@runtime_checkable
class Recorder(Protocol):
    """What the loop asks of whoever looks at the fields: a fold over the trajectory."""

    def saved_steps(self, n_steps: int) -> np.ndarray:
        """Steps at which to observe, increasing from 0 and at most `n_steps`."""
        ...

    def start(self, fields: Any, scheme: AbstractScheme) -> Any:
        """Memory at t = 0, for the scheme that will step."""
        ...

    def step(self, memory: Any, fields: Any, left: Int[Array, ""]) -> Any:
        """Memory after a step between saved times, `left` steps before the next one."""
        ...

    def observe(self, memory: Any, fields: Any) -> tuple[dict[str, Array], Any]:
        """Named arrays of a saved time, and the memory after it."""
        ...


class Carry(eqx.Module):
    """Where a trajectory stands: all it takes to go on.

    Attributes:
        state: State of the system.
        memory: Memory of the scheme.
        fold: Memory of the recorder.
        scheme: The scheme with its step resolved.
        step: Steps made, shape ().
        status: Code of `gramdyn.dynamics.Status`, shape ().
        failed_at: Step at which the status left "ok", -1 while it is, shape ().
        limit: Loss above which the run counts as diverged, shape ().
    """

    state: Any
    memory: Any
    fold: Any
    scheme: AbstractScheme
    step: Int[Array, ""]
    status: Int[Array, ""]
    failed_at: Int[Array, ""]
    limit: Float[Array, ""]


def start(
    system: AbstractSystem, scheme: AbstractScheme, recorder: Recorder, diverged_above: float
) -> Carry:
    """The trajectory at t = 0."""
    zero = jnp.zeros((), jnp.int32)
    system, state = system.at(zero), system.initial_state()
    fields = system.fields(state)
    scheme = resolve_step(scheme, system, fields)
    loss = fields.watched_loss
    return Carry(
        state=state,
        memory=scheme.init(state),
        fold=recorder.start(fields, scheme),
        scheme=scheme,
        step=zero,
        status=zero,
        failed_at=zero - 1,
        # A run that starts at zero loss has no scale to diverge by.
        limit=jnp.where(loss > 0, diverged_above * loss, jnp.inf).astype(loss.dtype),
    )


def advance(
    system: AbstractSystem, recorder: Recorder, carry: Carry, gaps: Int[Array, " T"]
) -> tuple[Carry, dict[str, Array]]:
    """Record and go on, once for each gap.

    Args:
        system: What evolves.
        recorder: Who looks.
        carry: Where the trajectory stands.
        gaps: Steps between each saved time and the next, shape (T,); the last is 0 at the end.

    Returns:
        The trajectory after the last gap, and the records with a leading time axis of length T.
        Records of a failed run are NaN (0 for integers) from the saved time after its failure on,
        and its state stays the last one whose loss was acceptable or the first that was not.
    """

    def save_and_go(carry: Carry, gap: Int[Array, ""]) -> tuple[Carry, dict[str, Array]]:
        now = system.at(carry.step)
        fields = now.fields(carry.state)
        carry = _judge(carry, fields)
        records, fold = recorder.observe(carry.fold, fields)
        records = _blank(records, is_ok(carry.status))
        carry = replace(carry, fold=fold)
        carry = _move(now, carry, fields, gap > 0)
        return lax.fori_loop(1, jnp.maximum(gap, 1), body_of(gap), carry), records

    def body_of(gap: Int[Array, ""]) -> Any:
        def body(i: Int[Array, ""], carry: Carry) -> Carry:
            now = system.at(carry.step)
            fields = now.fields(carry.state)
            carry = _judge(carry, fields)
            fold = recorder.step(carry.fold, fields, gap - i)
            carry = replace(carry, fold=fold)
            return _move(now, carry, fields, jnp.asarray(True))

        return body

    return lax.scan(save_and_go, carry, gaps)


def _judge(carry: Carry, fields: Any) -> Carry:
    """Note the first step at which the loss is out of bounds or the scheme in trouble."""
    trouble = carry.scheme.trouble(carry.memory)
    found = jnp.where(is_ok(trouble), check_loss(fields.watched_loss, carry.limit), trouble)
    ok = is_ok(carry.status)
    failed_at = jnp.where(ok & ~is_ok(found), carry.step, carry.failed_at)
    status = jnp.where(ok, found, carry.status)
    return replace(carry, status=status, failed_at=failed_at)


def _move(system: AbstractSystem, carry: Carry, fields: Any, wanted: Bool[Array, ""]) -> Carry:
    """One step where wanted and the run is still ok; the same carry otherwise."""
    state, memory = carry.scheme.step(system, carry.state, carry.memory, fields)
    goes = is_ok(carry.status) & wanted
    keep = lambda new, old: jnp.where(goes, new, old)  # noqa: E731
    return replace(
        carry,
        state=jax.tree.map(keep, state, carry.state),
        memory=jax.tree.map(keep, memory, carry.memory),
        step=carry.step + goes.astype(carry.step.dtype),
    )


def _blank(records: dict[str, Array], ok: Bool[Array, ""]) -> dict[str, Array]:
    """The records, or NaN (0 for integers) in their place."""
    fill = lambda leaf: jnp.nan if jnp.issubdtype(leaf.dtype, jnp.inexact) else 0  # noqa: E731
    return jax.tree.map(
        lambda leaf: jnp.where(ok, leaf, jnp.asarray(fill(leaf), leaf.dtype)), records
    )


def trajectory(
    system: AbstractSystem,
    scheme: AbstractScheme,
    recorder: Recorder,
    gaps: Int[Array, " T"],
    diverged_above: float,
) -> tuple[Carry, dict[str, Array]]:
    """A whole run: its end and its records, with a leading time axis."""
    carry = start(system, scheme, recorder, diverged_above)
    return advance(system, recorder, carry, gaps)
