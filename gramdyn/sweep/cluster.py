"""Running a plan on several machines, through a scheduler of `dask.distributed`.

The driver owns the folder: it makes it, gives out chunks and counts them. Workers compute chunks
and write them (`gramdyn.sweep.remote`). A chunk whose worker dies goes to another; one that cannot
be computed is left out, and told at the end. `distributed` is imported nowhere else.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from gramdyn._errors import IncompleteError, InputError
from gramdyn.plan.plan import Group, Plan
from gramdyn.store.store import Store
from gramdyn.sweep.address import check_address, check_free, wait_until_open
from gramdyn.sweep.assign import Board
from gramdyn.sweep.remote import Outcome, compute_chunk, make_orders
from gramdyn.sweep.run import Listener, Sweep, Tally, run_in_folder

_WORKER_TTL = 60  # seconds of silence after which a worker counts as dead
_DEATH_TIMEOUT = 60  # seconds a worker tries to reach its scheduler
_TRIES = 3  # workers a chunk may take with it
_RETRIES = 2  # times a chunk that raises is tried again: a file system may hiccup
_TOLD = 8  # chunks named in a message
_ANSWER = 10  # seconds in which a worker gives its counts, and a scheduler says what it is
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
    with _client(cluster) as client:
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
    return f"{type(error).__name__}: {_one_line(error)}"


def _some(names: list[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more


def check_cluster(cluster: Cluster) -> None:
    """Refuse a cluster that cannot be used, before anything is planned.

    Raises:
        InputError: without dask.distributed, for an address that is none or cannot be served, and
            for tls:// without certificates.
    """
    _, host, port = check_address(cluster.address)
    roles = ("scheduler", "worker", "client") if cluster.serve else ("client",)
    for role in roles:
        _connection(cluster.address, role)
    if cluster.serve:
        check_free(cluster.address, host, port)


def _connection(address: str, role: str) -> dict[str, Any]:
    """How one of this role, scheduler, worker or client, connects to an address.

    Raises:
        InputError: if that takes certificates which are not there or cannot be read.
    """
    _, distributed = _dask()
    try:
        found: dict[str, Any] = distributed.Security().get_connection_args(role)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"Certificates of dask's {role} cannot be read: {error}.") from None
    if address.startswith("tls:") and not found.get("ssl_context"):
        raise InputError(
            f"Address {address} needs certificates: distributed.comm.tls of dask's configuration "
            f"names none for a {role}."
        )
    return found


def meet_scheduler(address: str, role: str, wait: float = 0.0) -> None:
    """Wait until a scheduler of dask answers at an address.

    Args:
        address: Of the scheduler.
        role: As which it is asked: worker or client.
        wait: Seconds until something must listen there; an answer has its own deadline.

    Raises:
        InputError: if the address is none, nothing listens there, or what does is no scheduler.
    """
    _, host, port = check_address(address)
    asked = partial(_identity, address, _connection(address, role))
    wait_until_open(address, host, port, wait)
    try:
        # In a thread: a notebook has a loop running in this one.
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(lambda: asyncio.run(asked())).result()
    except TimeoutError:
        raise InputError(_no_scheduler(address, f"no answer in {_ANSWER} s")) from None
    except OSError as error:
        raise InputError(_no_scheduler(address, error)) from None
    except Exception:  # whatever comes of reading what is not dask's, MemoryError too
        raise InputError(_no_scheduler(address, "what it says is not dask's")) from None
    if found != "Scheduler":
        raise InputError(_no_scheduler(address, f"what answers is a {found}"))


async def _identity(address: str, connection: dict[str, Any]) -> str:
    """What kind of server of dask answers at an address."""
    _, distributed = _dask()

    async def ask() -> str:
        async with distributed.rpc(address, connection_args=connection) as server:
            return str((await server.identity())["type"])

    # Around it all: dask's own timeout ends with the connection, before anything is read.
    return await asyncio.wait_for(ask(), _ANSWER)


def _no_scheduler(address: str, why: object) -> str:
    return f"No scheduler of dask answers at {address}: {_one_line(why)}."


def _one_line(words: object) -> str:
    return " ".join(str(words).split())[:200].rstrip(".")


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
    """A scheduler in this process, and its own workers.

    Raises:
        InputError: if it does not start.
    """
    try:
        return _local_cluster(cluster)
    except (OSError, RuntimeError) as error:
        told = _one_line(_root(error))
        raise InputError(f"No scheduler starts at {cluster.address}: {told}.") from None


def _root(error: BaseException) -> BaseException:
    """What an error comes from in the end."""
    return _root(error.__cause__) if error.__cause__ else error


def _local_cluster(cluster: Cluster) -> Any:
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
        },
        **_worker_options(),
    )


def _worker_options() -> dict[str, Any]:
    # No limit of memory: it would be a share of the machine's for each core, and the plan has one.
    return {"memory_limit": 0, "death_timeout": _DEATH_TIMEOUT}


def _connect(address: str) -> Any:
    _, distributed = _dask()
    meet_scheduler(address, "client")
    try:
        return distributed.Client(address, timeout=_ANSWER, **_CLIENT)
    except OSError as error:
        raise InputError(_no_scheduler(address, error)) from None


def serve_worker(address: str) -> None:
    """Be a worker of a scheduler that answers until it ends; restarts itself if killed.

    Args:
        address: Of the scheduler (`meet_scheduler`).

    Raises:
        InputError: if it is gone.
    """
    dask, distributed = _dask()
    _, host, _ = check_address(address)

    async def live() -> None:
        nanny = distributed.Nanny(
            address,
            nthreads=1,
            host=distributed.utils.get_ip(host),
            silence_logs=logging.CRITICAL,
            **_worker_options(),
        )
        async with nanny:
            await nanny.finished()

    try:
        with dask.config.set(_SETTINGS):
            asyncio.run(live())
    except OSError as error:
        raise InputError(_no_scheduler(address, error)) from None


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
