"""From a configuration to what will run: axes, jobs, groups, their programs and their cost."""

from typing import TYPE_CHECKING

from gramdyn._lazy import lazy_names

if TYPE_CHECKING:
    from gramdyn.plan.config import Config
    from gramdyn.plan.jobs import Job, expand
    from gramdyn.plan.load import load_config, parse_config
    from gramdyn.plan.plan import Group, Plan, make_plan

__all__ = [
    "Config",
    "Group",
    "Job",
    "Plan",
    "expand",
    "load_config",
    "make_plan",
    "parse_config",
]

__getattr__ = lazy_names(
    __name__,
    {
        "gramdyn.plan.config": ("Config",),
        "gramdyn.plan.jobs": (
            "Job",
            "expand",
        ),
        "gramdyn.plan.load": (
            "load_config",
            "parse_config",
        ),
        "gramdyn.plan.plan": (
            "Group",
            "Plan",
            "make_plan",
        ),
    },
)
