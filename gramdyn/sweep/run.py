"""Running a plan: compile each group once, compute its chunks, write them as they come."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gramdyn.plan.config import Config
from gramdyn.plan.plan import Group, Plan, make_plan
from gramdyn.store.folder import set_aside
from gramdyn.store.lock import locked
from gramdyn.store.store import Store
from gramdyn.sweep.compute import compile_group, count_failed, fetch_chunk, start_chunk

_COMPILERS = 2


@runtime_checkable
class Listener(Protocol):
    """Who is told how a sweep gets on; called between compiled chunks, on the host."""

    def begin(self, plan: Plan) -> None:
        """The sweep starts."""

    def reuse(self, group: Group, runs: int, failed: int) -> None:
        """Runs of a group were found from before."""

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

    def reuse(self, group: Group, runs: int, failed: int) -> None:
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
        repaired: Of those computed, runs found in the folder but damaged.
        failed: Runs whose status is not ok, computed or reused.
        programs: Compiled programs, one a group.
        compile_seconds: Seconds spent tracing and compiling, threads added up.
        seconds: Wall seconds in all.
        aside: Where the folder is now that was there before and was set aside, if so.
    """

    runs: int = 0
    reused: int = 0
    repaired: int = 0
    failed: int = 0
    programs: int = 0
    compile_seconds: float = 0.0
    seconds: float = 0.0
    aside: Path | None = None
    started: float = field(default_factory=time.perf_counter, repr=False)

    def summary(self) -> dict[str, Any]:
        """Counts and seconds as plain data."""
        names = ("runs", "reused", "repaired", "failed", "programs")
        seconds = {"compile": round(self.compile_seconds, 3), "total": round(self.seconds, 3)}
        return {"counts": {name: getattr(self, name) for name in names}, "seconds": seconds}


def run_sweep(
    config: Config, folder: str | Path, listener: Listener | None = None, *, force: bool = False
) -> Tally:
    """Run every job of a configuration and store what it records.

    Args:
        config: The configuration (`gramdyn.load_config`).
        folder: Where the results go; made if it is not there. Chunks of this very sweep that are
            there already, undamaged, are not computed again.
        listener: Who is told of progress.
        force: Set a folder that is there aside, as NAME.old-1, and start anew.

    Returns:
        Counts and seconds; the results are opened with `gramdyn.open(folder)`.

    Raises:
        InputError: before anything is computed, for whatever a run would fail on, for a folder
            that cannot be written, that holds another sweep or that another process writes; later,
            where the folder can be written no more. A run that diverges is no error: its status
            says so.
        KeyboardInterrupt: saying how many runs are stored.
    """
    return run_plan(make_plan(config), folder, listener, force=force)


def run_plan(
    plan: Plan, folder: str | Path, listener: Listener | None = None, *, force: bool = False
) -> Tally:
    """As `run_sweep`, for a plan made already."""
    return run_in_folder(Sweep, plan, folder, listener, force=force)


def run_in_folder(
    kind: Callable[[Plan, Store, Listener], "Sweep"],
    plan: Plan,
    folder: str | Path,
    listener: Listener | None,
    *,
    force: bool,
) -> Tally:
    """Make or find the folder of a plan and run a sweep of some kind in it."""
    store = Store(Path(folder))
    aside = set_aside(store.folder) if force else None
    store.create(plan)
    with locked(store.folder):
        try:
            sweep = kind(plan, store, listener or Silent())
            sweep.tally.aside = aside
            return sweep.run()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(store.stopped("interrupted")) from None


class Sweep:
    """A sweep under way in this process: what is missing, and what came out so far."""

    def __init__(self, plan: Plan, store: Store, listener: Listener):
        self.plan, self.store, self.listener = plan, store, listener
        self.tally = Tally()
        self.missing = {group.name: store.missing(group) for group in plan.groups}
        self.tally.repaired = store.repaired

    def run(self) -> Tally:
        """Compute and write what is missing; the counts."""
        self.listener.begin(self.plan)
        try:
            self._run_groups()
        finally:
            self.listener.end()
        self.tally.seconds = time.perf_counter() - self.tally.started
        self.store.finish(self.tally.summary())
        return self.tally

    def _run_groups(self) -> None:
        # Compiled ahead in threads: a compile keeps one core busy, and chunks run beside it.
        pool = ThreadPoolExecutor(_COMPILERS)
        try:
            groups = [group for group in self.plan.groups if self.missing[group.name]]
            ahead = {group.name: pool.submit(_compile, group, self.plan) for group in groups}
            for group in self.plan.groups:
                self._reuse(group)
                if group.name in ahead:
                    self._run_group(group, ahead.pop(group.name))
        finally:
            # Not waited for: who stops a sweep, or has no disk, wants to be told now.
            pool.shutdown(wait=False, cancel_futures=True)

    def _reuse(self, group: Group) -> None:
        """Count the chunks that are there."""
        starts = set(group.starts) - set(self.missing[group.name])
        there = [facts for start in starts if (facts := self.store.facts(group, start))]
        reused, failed = (sum(facts[key] for facts in there) for key in ("runs", "failed"))
        self.tally.reused += reused
        self.tally.failed += failed
        if reused:
            self.listener.reuse(group, reused, failed)

    def _run_group(self, group: Group, program: Any) -> None:
        self.listener.compiling(group)
        compiled, seconds = program.result()
        self.tally.compile_seconds += seconds
        self.tally.programs += 1
        waiting: Any = None
        for start in [*self.missing[group.name], None]:
            # Dispatched before the chunk before it is written: writing overlaps computing.
            going = None
            if start is not None:
                going = start, start_chunk(compiled, group, self.plan, start)
            if waiting is not None:
                self._write(group, *waiting)
            waiting = going

    def _write(self, group: Group, start: int, found: Any) -> None:
        arrays = fetch_chunk(found, group, start)
        failed = count_failed(arrays)
        self.store.write(group, start, arrays, {"failed": failed})
        self.tally.runs += group.runs_from(start)
        self.tally.failed += failed
        self.listener.advance(group, group.runs_from(start), failed)


def _compile(group: Group, plan: Plan) -> tuple[Any, float]:
    """The group's program, and the seconds it took to trace and compile."""
    begun = time.perf_counter()
    return compile_group(group, plan), time.perf_counter() - begun
