"""The run folder: written chunk by chunk, whole at any moment, opened as labelled arrays."""

from typing import TYPE_CHECKING

from gramdyn._lazy import lazy_names

if TYPE_CHECKING:
    from gramdyn.store.results import open
    from gramdyn.store.status import SweepState, read_state
    from gramdyn.store.store import Store
    from gramdyn.store.whole import read_manifest

__all__ = [
    "Store",
    "SweepState",
    "open",
    "read_manifest",
    "read_state",
]

__getattr__ = lazy_names(
    __name__,
    {
        "gramdyn.store.results": ("open",),
        "gramdyn.store.status": (
            "SweepState",
            "read_state",
        ),
        "gramdyn.store.store": ("Store",),
        "gramdyn.store.whole": ("read_manifest",),
    },
)
