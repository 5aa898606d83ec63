"""`gramdyn worker`, and where the workers of `gramdyn run` are."""

import os

from gramdyn._errors import InputError
from gramdyn.sweep.cluster import Cluster, serve_worker


def choose_cluster(serve: str | None, workers: int, cluster: str | None) -> Cluster | None:
    """What the options of `gramdyn run` say of other machines; None without any."""
    if serve and cluster:
        raise InputError("Give --serve or --cluster, not both.")
    if cluster:
        return Cluster(cluster, serve=False)
    return Cluster(serve, workers=workers) if serve else None


def work(address: str, wait: float) -> None:
    """Be a worker until the scheduler ends."""
    print(f"worker of {address}, process {os.getpid()}", flush=True)
    serve_worker(address, wait)
    print("the scheduler has ended")
