"""Running a plan on several machines, through a scheduler of `dask.distributed`.

The driver owns the folder: it makes it, gives out chunks and counts them. Workers compute chunks
and write them (`gramdyn.sweep.remote`). A chunk whose worker dies goes to another; one that cannot
be computed is left out, and told at the end.
"""

from collections import Counter
from collections.abc import Collection
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from gramdyn._errors import IncompleteError, InputError
from gramdyn.plan.plan import Group, Plan
from gramdyn.store.store import Store
from gramdyn.sweep.assign import Board
from gramdyn.sweep.remote import Outcome, compute_chunk, make_orders
from gramdyn.sweep.run import Listener, Sweep, Tally, run_in_folder
from gramdyn.sweep.scheduler import Cluster, client_of, one_line

_TRIES = 3  # workers a chunk may take with it
_RETRIES = 2  # times a chunk that raises is tried again: a file system may hiccup
_TOLD = 8  # chunks named in a message
_ANSWER = 10  # seconds in which a worker gives its counts
_GLANCE = 0.25  # seconds between two looks for new workers


def run_on_cluster(
    plan: Plan,
    folder: str | Path,
    cluster: Cluster,
    listener: Listener | None = None,
    *,
    force: bool = False,
) -> Tally:
    """As `run_plan`, on the workers of a scheduler.

    Args:
        plan: The plan; every worker must come to the same one.
        folder: Run folder, which every machine sees at the same path.
        cluster: Where the workers are.
        listener: Who is told of progress.
        force: Set a folder that is there aside, as NAME.old-1, once the scheduler has answered, and
            start anew.

    Raises:
        InputError: before anything is computed, for an address that cannot be used and for a folder
            as in `run_plan`; later, where every worker there is would compute another sweep.
        IncompleteError: at the end, if chunks were not computed.
        KeyboardInterrupt: saying how many runs are stored.
    """
    with client_of(cluster) as client:
        kind = partial(_ClusterSweep, client)
        return run_in_folder(kind, plan, folder, listener, force=force)


class _ClusterSweep(Sweep):
    """A sweep under way on workers: what is given out, what is lost."""

    def __init__(self, client: Any, plan: Plan, store: Store, listener: Listener):
        super().__init__(plan, store, listener)
        self.client, self.order = client, make_orders(plan, store.folder)
        self.groups = {group.name: group for group in plan.groups}
        work = {name: group.run_flops * group.chunk for name, group in self.groups.items()}
        self.board = Board(self.missing, work)
        self.going: dict[Any, tuple[str, int, str]] = {}  # chunks and their workers by future
        self.done: Queue[Any] = Queue()
        self.begun: set[str] = set()  # groups
        self.refused: set[str] = set()  # workers
        self.tries: Counter[tuple[str, int]] = Counter()
        self.lost: dict[str, list[str]] = {}  # chunks by what became of them

    def _run_groups(self) -> None:
        """Have computed what is missing.

        Raises:
            IncompleteError: if chunks were not computed.
        """
        for group in self.plan.groups:
            self._reuse(group)
        try:
            while self.board or self.going:
                self._give_out()
                self._take_in()
        except OSError as error:  # of the connection
            raise IncompleteError(self.store.stopped(f"the scheduler is gone: {error}")) from None
        if self.lost:
            count = sum(map(len, self.lost.values()))
            told = "; ".join(f"{_some(names)}: {why}" for why, names in self.lost.items())
            raise IncompleteError(self.store.stopped(f"{count} chunks not computed ({told})"))

    def _give_out(self) -> None:
        """One chunk to each worker that has none."""
        workers = self.client.nthreads().keys()
        self._take_back(workers)
        busy = {worker for *_, worker in self.going.values()}
        for worker in workers - busy - self.refused:
            chunk = self.board.take(worker)
            if chunk is not None:
                self.going[self._submit(*chunk, worker)] = (*chunk, worker)

    def _take_back(self, workers: Collection[str]) -> None:
        """The chunks of workers that are not among these go to others, a few times."""
        self.board.keep(workers)
        for future, (name, start, worker) in list(self.going.items()):
            if worker not in workers and not future.done():
                del self.going[future]
                future.cancel()
                self._again(name, start)

    def _again(self, name: str, start: int) -> None:
        self.tries[name, start] += 1
        if self.tries[name, start] < _TRIES:
            self.board.put_back(name, start)
        else:
            self._lose(name, start, f"its worker died, {_TRIES} times")

    def _lose(self, name: str, start: int, why: str) -> None:
        self.lost.setdefault(why, []).append(f"{name}-{start}")

    def _submit(self, name: str, start: int, worker: str) -> Any:
        if name not in self.begun:
            self.begun.add(name)
            self.listener.compiling(self.groups[name])
        order = self.order(name, start)
        future = self.client.submit(
            compute_chunk,
            order,
            key=f"{order.key}-{self.tries[name, start]}",
            workers=[worker],
            retries=_RETRIES,
        )
        future.add_done_callback(self.done.put)
        return future

    def _take_in(self) -> None:
        """Count a chunk that came back, if one does soon."""
        try:
            future = self.done.get(timeout=_GLANCE)
        except Empty:
            return
        if future not in self.going:
            return  # taken back
        name, start, worker = self.going.pop(future)
        if future.status != "finished":
            self._lose(name, start, _reason(future))
            return
        try:
            outcome: Outcome = future.result(timeout=_ANSWER)
        except TimeoutError:  # it died with its answer; the chunk is there
            self._again(name, start)
            return
        if outcome.refused is None:
            self._count(self.groups[name], outcome)
        else:
            self.board.put_back(name, start)
            self._refuse(worker, outcome.refused)

    def _count(self, group: Group, outcome: Outcome) -> None:
        self.tally.runs += outcome.runs
        self.tally.failed += outcome.failed
        self.tally.programs += outcome.programs
        self.tally.compile_seconds += outcome.compile_seconds
        self.listener.advance(group, outcome.runs, outcome.failed)

    def _refuse(self, worker: str, reason: str) -> None:
        """Ask a worker no more that would compute something else."""
        self.refused.add(worker)
        if self.client.nthreads().keys() <= self.refused:
            raise InputError(f"Worker {worker} cannot take part: {reason}.")


def _reason(future: Any) -> str:
    """Why a chunk was not computed, in one line."""
    error = future.exception() if future.status == "error" else None
    if error is None:
        return str(future.status)
    return f"{type(error).__name__}: {one_line(error)}"


def _some(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more
