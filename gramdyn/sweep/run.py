"""Running a plan: compile each group once, compute its chunks, write them as they come."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gramdyn.dynamics.batch import pad_runs
from gramdyn.dynamics.simulate import gaps_between, run_many
from gramdyn.sweep.config import Config
from gramdyn.sweep.plan import Group, Plan, make_plan
from gramdyn.sweep.store import Store


class Listener(Protocol):
    """Who is told how a sweep gets on; called between compiled chunks, on the host."""

    def begin(self, plan: Plan) -> None:
        """The sweep starts."""

    def compiling(self, group: Group) -> None:
        """A group is being compiled."""

    def advance(self, group: Group, runs: int, failed: int) -> None:
        """A chunk of runs is written."""

    def end(self) -> None:
        """The sweep is over."""


@dataclass
class Tally:
    """What a sweep came to.

    Attributes:
        runs: Runs computed.
        failed: Of these, runs whose status is not ok.
        programs: Compiled programs, one a group.
        compile_seconds: Wall seconds spent tracing and compiling.
        seconds: Wall seconds in all.
    """

    runs: int = 0
    failed: int = 0
    programs: int = 0
    compile_seconds: float = 0.0
    seconds: float = 0.0
    started: float = field(default_factory=time.perf_counter, repr=False)


def run_sweep(config: Config, folder: str | Path, listener: Listener | None = None) -> Tally:
    """Run every job of a configuration and store what it records.

    Args:
        config: The configuration (`gramdyn.load_config`).
        folder: Where the results go; made if it is not there, and must be empty.
        listener: Who is told of progress.

    Returns:
        Counts and seconds; the results are opened with `gramdyn.open(folder)`.

    Raises:
        InputError: before anything is computed, for whatever a run would fail on, and for a folder
            that cannot be written. A run that diverges is no error: its status says so.
    """
    return run_plan(make_plan(config), folder, listener)


def run_plan(plan: Plan, folder: str | Path, listener: Listener | None = None) -> Tally:
    """As `run_sweep`, for a plan made already."""
    store, tally = Store(Path(folder)), Tally()
    store.create(plan)
    if listener:
        listener.begin(plan)
    try:
        with plan.runtime.precision():
            for group in plan.groups:
                _run_group(group, plan, store, tally, listener)
    finally:
        if listener:
            listener.end()
    tally.seconds = time.perf_counter() - tally.started
    counts = {"runs": tally.runs, "failed": tally.failed, "programs": tally.programs}
    seconds = {"compile": round(tally.compile_seconds, 3), "total": round(tally.seconds, 3)}
    store.finish({"counts": counts, "seconds": seconds})
    return tally


def _run_group(
    group: Group, plan: Plan, store: Store, tally: Tally, listener: Listener | None
) -> None:
    if listener:
        listener.compiling(group)
    begun = time.perf_counter()
    compiled = run_many.lower(*_arguments(group, plan, 0)).compile()
    tally.compile_seconds += time.perf_counter() - begun
    tally.programs += 1
    waiting: Any = None
    for start in [*group.starts, None]:
        # Dispatched before the chunk before it is written, so that writing overlaps computing.
        going = None if start is None else (start, compiled(*_arguments(group, plan, start)))
        if waiting is not None:
            _write(group, *waiting, store, tally, listener)
        waiting = going


def _arguments(group: Group, plan: Plan, start: int) -> tuple[Any, ...]:
    """Arguments of the compiled program for the chunk from this run on, filled to a whole chunk."""
    devices = plan.runtime.devices if group.chunk % len(plan.runtime.devices) == 0 else ()
    dtype = plan.runtime.dtype
    params = jax.tree.map(lambda leaf: leaf[start : start + group.chunk], group.params)
    params = jax.tree.map(lambda leaf: jnp.asarray(_cast(leaf, dtype)), pad_runs(params, group.chunk))
    return (
        jax.tree.map(jnp.asarray, group.build),
        params,
        group.record,
        gaps_between(group.record.saved_steps(group.n_steps)),
        plan.config.runtime.diverged_above,
        group.n_steps,
        plan.runtime.batching,
        devices or plan.runtime.devices[:1],
    )


def _cast(leaf: np.ndarray, dtype: str) -> np.ndarray:
    return leaf.astype(dtype) if leaf.dtype.kind == "f" else leaf


def _write(
    group: Group, start: int, out: Any, store: Store, tally: Tally, listener: Listener | None
) -> None:
    records, status, failed_at, step_size, _ = out
    count = min(group.chunk, len(group.jobs) - start)
    found = {**records, "status": status, "failed_at": failed_at, "step_size": step_size}
    host = {name: np.asarray(array)[:count] for name, array in found.items()}
    failed = int(np.sum(host["status"] != 0))
    store.write(group, start, host, {"failed": failed})
    tally.runs += count
    tally.failed += failed
    if listener:
        listener.advance(group, count, failed)
