"""Sweeps: configuration, plan, run, store, results."""

from gramdyn.sweep.config import Config
from gramdyn.sweep.load import load_config, parse_config
from gramdyn.sweep.plan import Group, Job, Plan, expand, make_plan
from gramdyn.sweep.results import open, read_manifest
from gramdyn.sweep.run import Listener, Tally, run_plan, run_sweep

__all__ = [
    "Config",
    "Group",
    "Job",
    "Listener",
    "Plan",
    "Tally",
    "expand",
    "load_config",
    "make_plan",
    "open",
    "parse_config",
    "read_manifest",
    "run_plan",
    "run_sweep",
]
