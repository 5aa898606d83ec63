"""Schedulers of `dask.distributed`: started, found, joined; the only file that imports it."""

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from gramdyn._errors import InputError
from gramdyn.sweep.address import check_address, check_free, wait_until_open

_WORKER_TTL = 60  # seconds of silence after which a worker counts as dead
_DEATH_TIMEOUT = 60  # seconds a worker tries to reach its scheduler
_ANSWER = 10  # seconds in which a scheduler says what it is

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
    return f"No scheduler of dask answers at {address}: {one_line(why)}."


def one_line(words: object) -> str:
    """What an error says, in one line of bearable length."""
    return " ".join(str(words).split())[:200].rstrip(".")


@contextmanager
def client_of(cluster: Cluster) -> Iterator[Any]:
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
        told = one_line(_root(error))
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
