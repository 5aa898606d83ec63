"""`gramdyn worker`, and where the workers of `gramdyn run` are."""

import os

from gramdyn._errors import InputError
from gramdyn.sweep.scheduler import Cluster, check_cluster, meet_scheduler, serve_worker


def choose_cluster(serve: str | None, workers: int | None, cluster: str | None) -> Cluster | None:
    """What the options of `gramdyn run` say of other machines; None without any.

    Raises:
        InputError: for options that do not go together, and a cluster that cannot be used.
    """
    if serve is not None and cluster is not None:
        raise InputError("Give --serve or --cluster, not both.")
    if workers is not None and serve is None:
        raise InputError("--workers starts workers beside --serve, and is given with it only.")
    address = cluster if serve is None else serve
    if address is None:
        return None
    found = Cluster(address, serve=serve is not None, workers=1 if workers is None else workers)
    check_cluster(found)
    return found


def work(address: str, wait: float) -> None:
    """Be a worker until the scheduler ends."""
    # Its own words tell all; to see dask's, set this to "info". Read where dask is first imported.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")
    meet_scheduler(address, "worker", wait)
    print(f"worker of {address}, process {os.getpid()}", flush=True)
    serve_worker(address)
    print("the scheduler has ended")
