"""Running a plan on several machines, through a scheduler of `dask.distributed`.

The driver owns the folder: it makes it, gives out chunks and counts them. Workers compute chunks
and write them (`gramdyn.sweep.remote`). A chunk whose worker dies goes to another; one that cannot
be computed is left out, and told at the end. `distributed` is imported nowhere else.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from gramdyn._errors import IncompleteError, InputError
from gramdyn.sweep.address import check_address, check_free, wait_until_open
from gramdyn.sweep.assign import Board
from gramdyn.sweep.lock import locked
from gramdyn.sweep.plan import Group, Plan
from gramdyn.sweep.remote import Outcome, compute_chunk, make_orders
from gramdyn.sweep.run import Listener, Silent, Sweep, Tally
from gramdyn.sweep.store import Store

_WORKER_TTL = 60  # seconds of silence after which a worker counts as dead
_DEATH_TIMEOUT = 60  # seconds a worker tries to reach its scheduler
_KILLS = 2  # workers a chunk may take with it and be tried again
_RETRIES = 2  # times a chunk that raises is tried again: a file system may hiccup
_TOLD = 8  # chunks named in a message
_GLANCE = 0.25  # seconds between two looks for new workers

# No pages: nothing but the scheduler's and the workers' own sockets answers. No stack sampling.
_SETTINGS = {
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
}
_CLIENT = {"set_as_default": False}


@dataclass(frozen=True)
class Cluster:
    """Where workers come from.

    Attributes:
        address: Of the scheduler, such as tcp://10.0.0.1:8786.
        serve: Start the scheduler here, at that address; otherwise it is running already.
        workers: Worker processes started here beside the scheduler.
    """

    address: str
    serve: bool = True
    workers: int = 1


def run_on_cluster(
    plan: Plan, folder: str | Path, cluster: Cluster, listener: Listener | None = None
) -> Tally:
    """As `run_plan`, on the workers of a scheduler.

    Args:
        plan: The plan; every worker must come to the same one.
        folder: Run folder, which every machine sees at the same path.
        cluster: Where the workers are.
        listener: Who is told of progress.

    Raises:
        InputError: before anything is computed, for an address that cannot be used and for a folder
            as in `run_plan`; later, where every worker there is would compute another sweep.
        IncompleteError: at the end, if chunks were not computed.
        KeyboardInterrupt: saying how many runs are stored.
    """
    with _client(cluster) as client:
        store = Store(Path(folder))
        store.create(plan)
        with locked(store.folder):
            try:
                return _ClusterSweep(client, plan, store, listener or Silent()).run()
            except KeyboardInterrupt:
                raise KeyboardInterrupt(store.stopped("interrupted")) from None


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
        self.begun: set[str] = set()
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
        """One chunk to each worker that has none; a second one would share its neighbour's fate."""
        workers = self.client.nthreads()
        self.board.keep(workers)
        for worker in workers.keys() - {worker for *_, worker in self.going.values()}:
            chunk = self.board.take(worker)
            if chunk is not None:
                self.going[self._submit(*chunk, worker)] = (*chunk, worker)

    def _submit(self, name: str, start: int, worker: str) -> Any:
        if name not in self.begun:
            self.begun.add(name)
            self.listener.compiling(self.groups[name])
        order = self.order(name, start)
        future = self.client.submit(
            compute_chunk,
            order,
            key=order.key,
            workers=[worker],
            allow_other_workers=True,  # where it dies
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
        name, start, _ = self.going.pop(future)
        if future.status != "finished":
            self.lost.setdefault(_reason(future), []).append(f"{name}-{start}")
            return
        outcome: Outcome = future.result()
        if outcome.refused is None:
            self._count(self.groups[name], outcome)
        else:
            self._refuse(future, outcome.refused, name, start)

    def _count(self, group: Group, outcome: Outcome) -> None:
        self.tally.runs += outcome.runs
        self.tally.failed += outcome.failed
        self.tally.programs += outcome.programs
        self.tally.compile_seconds += outcome.compile_seconds
        self.listener.advance(group, outcome.runs, outcome.failed)

    def _refuse(self, future: Any, reason: str, name: str, start: int) -> None:
        """Send a worker away that would compute something else; its chunk goes to another."""
        self.board.put_back(name, start)
        workers = [worker for each in self.client.who_has([future]).values() for worker in each]
        self.client.retire_workers(workers)
        future.release()
        if not self.client.nthreads():
            raise InputError(f"Worker {', '.join(workers)} cannot take part: {reason}.")


def _reason(future: Any) -> str:
    """Why a chunk was not computed, in one line."""
    from distributed import KilledWorker

    error = future.exception() if future.status == "error" else None
    if error is None:
        return str(future.status)
    if isinstance(error, KilledWorker):
        return f"its worker died, {_KILLS + 1} times"
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"[:200]


def _some(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more


def check_cluster(cluster: Cluster) -> None:
    """Refuse a cluster that cannot be used, before anything is planned.

    Raises:
        InputError: without dask.distributed, and for an address that is none, or cannot be served.
    """
    _dask()
    _, host, port = check_address(cluster.address)
    if cluster.serve:
        check_free(cluster.address, host, port)


@contextmanager
def _client(cluster: Cluster) -> Iterator[Any]:
    """A client of the scheduler, which is started here if that is asked for.

    Raises:
        InputError: for a cluster that cannot be used.
    """
    check_cluster(cluster)
    dask, distributed = _dask()
    with dask.config.set(_SETTINGS):
        if not cluster.serve:
            with _connect(cluster.address) as client:
                yield client
            return
        with _scheduler(cluster) as served, distributed.Client(served, **_CLIENT) as client:
            yield client


def _scheduler(cluster: Cluster) -> Any:
    """A scheduler in this process, and its own workers."""
    _, distributed = _dask()
    scheme, host, port = check_address(cluster.address)
    return distributed.LocalCluster(
        n_workers=cluster.workers,
        threads_per_worker=1,
        host=host,
        scheduler_port=port,
        protocol=scheme,
        silence_logs=logging.CRITICAL,
        dashboard_address=None,
        scheduler_kwargs={
            "dashboard_address": "127.0.0.1:0",
            "dashboard": False,
            "worker_ttl": _WORKER_TTL,
            "allowed_failures": _KILLS,
        },
        **_worker_options(),
    )


def _worker_options() -> dict[str, Any]:
    # No limit of memory: it would be a share of the machine's for each core, and the plan has one.
    return {"memory_limit": 0, "death_timeout": _DEATH_TIMEOUT}


def _connect(address: str) -> Any:
    _, distributed = _dask()
    _, host, port = check_address(address)
    wait_until_open(address, host, port, 0)
    try:
        return distributed.Client(address, timeout=10, **_CLIENT)
    except OSError as error:
        raise InputError(f"No scheduler of dask answers at {address}: {error}.") from None


def serve_worker(address: str, wait: float = _DEATH_TIMEOUT) -> None:
    """Be a worker of the scheduler at an address until that ends; restarts itself if killed.

    Args:
        address: Of the scheduler.
        wait: Seconds to wait for it.

    Raises:
        InputError: if the address is none, or nothing answers there.
    """
    import asyncio

    dask, distributed = _dask()
    logging.getLogger("distributed").setLevel(logging.WARNING)
    _, host, port = check_address(address)
    wait_until_open(address, host, port, wait)

    async def live() -> None:
        nanny = distributed.Nanny(
            address,
            nthreads=1,
            host=distributed.utils.get_ip(host),
            silence_logs=logging.WARNING,
            **_worker_options(),
        )
        async with nanny:
            await nanny.finished()

    try:
        with dask.config.set(_SETTINGS):
            asyncio.run(live())
    except OSError as error:
        raise InputError(f"No scheduler of dask answers at {address}: {error}.") from None


def _dask() -> tuple[Any, Any]:
    """The modules dask and distributed.

    Raises:
        InputError: without them.
    """
    try:
        import dask
        import distributed
    except ImportError:
        raise InputError(
            "Several machines need dask.distributed: pip install 'gramdyn[cluster]'."
        ) from None
    return dask, distributed
