"""One chunk of a group: its program, its arguments, its arrays on the host.

Whoever schedules chunks (`gramdyn.sweep.run` here, a cluster elsewhere) goes through these three.
"""

from contextlib import suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gramdyn.dynamics.batch import pad_runs
from gramdyn.dynamics.simulate import gaps_between, run_many
from gramdyn.plan.plan import Group, Plan

# XLA's older code generator for fused loops compiles a third faster on CPU (3.5 -> 2.4 s for the
# program of a two-layer group) and the programs run as fast, within 3 %.
_QUICK_TO_COMPILE = {"xla_cpu_use_fusion_emitters": False}


def compile_group(group: Group, plan: Plan) -> Any:
    """The compiled program of a group; one serves all its chunks."""
    with plan.runtime.precision():
        lowered = run_many.lower(*_arguments(group, plan, 0))  # type: ignore[attr-defined]
        if plan.runtime.platform == "cpu":
            # An option of the compiler and no promise of it: another jaxlib may not know it.
            with suppress(jax.errors.JaxRuntimeError):
                return lowered.compile(_QUICK_TO_COMPILE)
        return lowered.compile()


def start_chunk(
    program: Any, group: Group, plan: Plan, start: int, gaps: np.ndarray | None = None
) -> Any:
    """Set the chunk from this run on going; returns at once, its arrays follow.

    Args:
        program: Of the group.
        group: The group.
        plan: Its plan.
        start: First run of the chunk.
        gaps: Steps between the saved times, where they are not to be the group's own (to time a
            few steps).
    """
    with plan.runtime.precision():
        return program(*_arguments(group, plan, start, gaps))


def fetch_chunk(found: Any, group: Group, start: int) -> dict[str, np.ndarray]:
    """Records and per-run values of a chunk by name, run axis leading; waits for them."""
    records, status, failed_at, step_size, _ = found
    named = {**records, "status": status, "failed_at": failed_at, "step_size": step_size}
    count = group.runs_from(start)
    return {name: np.asarray(array)[:count] for name, array in named.items()}


def count_failed(arrays: dict[str, np.ndarray]) -> int:
    """Runs of a chunk whose status is not ok."""
    return int(np.sum(arrays["status"] != 0))


def _arguments(
    group: Group, plan: Plan, start: int, gaps: np.ndarray | None = None
) -> tuple[Any, ...]:
    """Arguments of the compiled program for the chunk from this run on, filled to a whole chunk."""
    devices = plan.runtime.devices
    shared = max(k for k in range(1, len(devices) + 1) if group.chunk % k == 0)
    dtype = plan.runtime.dtype
    own = gaps_between(group.record.saved_steps(group.n_steps))
    params = jax.tree.map(lambda leaf: leaf[start : start + group.chunk], group.params)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(_cast(leaf, dtype)), pad_runs(params, group.chunk)
    )
    return (
        jax.tree.map(jnp.asarray, group.build),
        params,
        group.record,
        jnp.asarray(own if gaps is None else gaps),
        plan.config.runtime.diverged_above,
        group.n_steps,
        group.cost.batching,
        devices[:shared],
        False,
    )


def _cast(leaf: np.ndarray, dtype: str) -> np.ndarray:
    return leaf.astype(dtype) if leaf.dtype.kind == "f" else leaf
