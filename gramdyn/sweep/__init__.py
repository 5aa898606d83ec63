"""Running a plan: here, or on the workers of a cluster."""

from typing import TYPE_CHECKING

from gramdyn._lazy import lazy_names

if TYPE_CHECKING:
    from gramdyn.sweep.cluster import Cluster, run_on_cluster
    from gramdyn.sweep.run import Listener, Tally, run_plan, run_sweep

__all__ = [
    "Cluster",
    "Listener",
    "Tally",
    "run_on_cluster",
    "run_plan",
    "run_sweep",
]

__getattr__ = lazy_names(
    __name__,
    {
        "gramdyn.sweep.cluster": (
            "Cluster",
            "run_on_cluster",
        ),
        "gramdyn.sweep.run": (
            "Listener",
            "Tally",
            "run_plan",
            "run_sweep",
        ),
    },
)
