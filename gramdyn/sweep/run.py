"""Running a plan: compile each group once, compute its chunks, write them as they come."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gramdyn.sweep.compute import compile_group, count_failed, fetch_chunk, start_chunk
from gramdyn.sweep.config import Config
from gramdyn.sweep.plan import Group, Plan, make_plan
from gramdyn.sweep.store import Store

_COMPILERS = 2


@runtime_checkable
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


class Silent:
    """A listener that does nothing."""

    def begin(self, plan: Plan) -> None:
        """Nothing."""

    def compiling(self, group: Group) -> None:
        """Nothing."""

    def advance(self, group: Group, runs: int, failed: int) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


@dataclass
class Tally:
    """What a sweep came to.

    Attributes:
        runs: Runs computed.
        reused: Runs found in the folder from before.
        failed: Of those computed, runs whose status is not ok.
        programs: Compiled programs, one a group.
        compile_seconds: Seconds spent tracing and compiling, threads added up.
        seconds: Wall seconds in all.
    """

    runs: int = 0
    reused: int = 0
    failed: int = 0
    programs: int = 0
    compile_seconds: float = 0.0
    seconds: float = 0.0
    started: float = field(default_factory=time.perf_counter, repr=False)

    def summary(self) -> dict[str, Any]:
        """Counts and seconds as plain data."""
        names = ("runs", "reused", "failed", "programs")
        seconds = {"compile": round(self.compile_seconds, 3), "total": round(self.seconds, 3)}
        return {"counts": {name: getattr(self, name) for name in names}, "seconds": seconds}


def run_sweep(config: Config, folder: str | Path, listener: Listener | None = None) -> Tally:
    """Run every job of a configuration and store what it records.

    Args:
        config: The configuration (`gramdyn.load_config`).
        folder: Where the results go; made if it is not there. Chunks of this very sweep that are
            there already are not computed again.
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
    listener = listener or Silent()
    listener.begin(plan)
    # Compiled ahead in threads: a compile keeps one core busy, and chunks run beside it.
    pool = ThreadPoolExecutor(_COMPILERS)
    try:
        ahead = {g.name: pool.submit(_compile, g, plan) for g in plan.groups if store.missing(g)}
        for group in plan.groups:
            _run_group(group, plan, store, tally, ahead.pop(group.name, None), listener)
    finally:
        pool.shutdown(cancel_futures=True)
        listener.end()
    tally.seconds = time.perf_counter() - tally.started
    store.finish(tally.summary())
    return tally


def _compile(group: Group, plan: Plan) -> tuple[Any, float]:
    """The group's program, and the seconds it took to trace and compile."""
    begun = time.perf_counter()
    return compile_group(group, plan), time.perf_counter() - begun


def _run_group(
    group: Group, plan: Plan, store: Store, tally: Tally, program: Any, listener: Listener
) -> None:
    missing = store.missing(group)
    reused = len(group.jobs) - sum(group.runs_from(start) for start in missing)
    tally.reused += reused
    if reused:
        listener.advance(group, reused, 0)
    if not missing:
        return
    listener.compiling(group)
    compiled, seconds = program.result()
    tally.compile_seconds += seconds
    tally.programs += 1
    waiting: Any = None
    for start in [*missing, None]:
        # Dispatched before the chunk before it is written: writing overlaps computing.
        going = None if start is None else (start, start_chunk(compiled, group, plan, start))
        if waiting is not None:
            _write(group, *waiting, store, tally, listener)
        waiting = going


def _write(
    group: Group, start: int, found: Any, store: Store, tally: Tally, listener: Listener
) -> None:
    arrays = fetch_chunk(found, group, start)
    failed = count_failed(arrays)
    store.write(group, start, arrays, {"failed": failed})
    tally.runs += group.runs_from(start)
    tally.failed += failed
    listener.advance(group, group.runs_from(start), failed)
