"""Running a plan: here, or on the workers of a cluster."""

from typing import TYPE_CHECKING

from gramdyn._lazy import lazy_names

if TYPE_CHECKING:
    from gramdyn._errors import IncompleteError
    from gramdyn.sweep.cluster import run_on_cluster
    from gramdyn.sweep.run import Listener, Tally, run_plan, run_sweep
    from gramdyn.sweep.scheduler import Cluster

__all__ = [
    "Cluster",
    "IncompleteError",
    "Listener",
    "Tally",
    "run_on_cluster",
    "run_plan",
    "run_sweep",
]

__getattr__ = lazy_names(
    __name__,
    {
        "gramdyn._errors": ("IncompleteError",),
        "gramdyn.sweep.cluster": ("run_on_cluster",),
        "gramdyn.sweep.run": ("Listener", "Tally", "run_plan", "run_sweep"),
        "gramdyn.sweep.scheduler": ("Cluster",),
    },
)
