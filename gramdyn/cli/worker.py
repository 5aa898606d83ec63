"""`gramdyn worker`, and where the workers of `gramdyn run` are."""

import os

from gramdyn._errors import InputError
from gramdyn.sweep.address import check_address
from gramdyn.sweep.cluster import Cluster, check_cluster, serve_worker


def choose_cluster(serve: str | None, workers: int, cluster: str | None) -> Cluster | None:
    """What the options of `gramdyn run` say of other machines; None without any."""
    if serve and cluster:
        raise InputError("Give --serve or --cluster, not both.")
    address = serve or cluster
    if not address:
        return None
    found = Cluster(address, serve=bool(serve), workers=workers)
    check_cluster(found)
    return found


def work(address: str, wait: float) -> None:
    """Be a worker until the scheduler ends."""
    check_address(address)
    # Its own words tell all; to see dask's, set this to "info". Read where dask is first imported.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")
    print(f"worker of {address}, process {os.getpid()}", flush=True)
    serve_worker(address, wait)
    print("the scheduler has ended")
