"""Sweeps: configuration, plan, run, store, results.

Names are loaded on first use, so that asking how a sweep stands does not start JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gramdyn.sweep.config import Config
    from gramdyn.sweep.load import load_config, parse_config
    from gramdyn.sweep.plan import Group, Job, Plan, expand, make_plan
    from gramdyn.sweep.results import open, read_manifest
    from gramdyn.sweep.run import Listener, Tally, run_plan, run_sweep
    from gramdyn.sweep.status import SweepState, read_state

__all__ = [
    "Config",
    "Group",
    "Job",
    "Listener",
    "Plan",
    "SweepState",
    "Tally",
    "expand",
    "load_config",
    "make_plan",
    "open",
    "parse_config",
    "read_manifest",
    "read_state",
    "run_plan",
    "run_sweep",
]

_HOMES = {
    "config": ("Config",),
    "load": ("load_config", "parse_config"),
    "plan": ("Group", "Job", "Plan", "expand", "make_plan"),
    "results": ("open", "read_manifest"),
    "run": ("Listener", "Tally", "run_plan", "run_sweep"),
    "status": ("SweepState", "read_state"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"gramdyn.sweep.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'gramdyn.sweep' has no attribute {name!r}")
