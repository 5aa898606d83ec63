"""gramdyn: learning dynamics of neural networks in training-set space.

Public names are loaded on first use, so that importing the package, or asking the command line for
help, does not start JAX. Importing changes no global setting of JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gramdyn._lazy import lazy_names
from gramdyn._version import __version__

if TYPE_CHECKING:
    from gramdyn._errors import ConfigError, IncompleteError, InputError
    from gramdyn._process import use_all_cores, use_compile_cache
    from gramdyn.data import (
        Moments,
        Population,
        Task,
        arrays,
        clusters,
        digits,
        gaussian,
        linear_map,
        make_task,
        mnist5k,
        modular_addition,
        monomials,
        orthogonal,
        planted_map,
        spirals,
        swiss_roll,
        tanh_teacher,
        task_moments,
        task_population,
    )
    from gramdyn.diagnostics import AbstractDiagnostic, Record, diagnostic
    from gramdyn.dynamics import (
        Adaptive,
        GradientDescent,
        ImplicitMidpoint,
        Optax,
        Relative,
        Result,
        RungeKutta4,
        Status,
        euler,
        gram_whitening,
        simulate,
        simulate_many,
    )
    from gramdyn.kernels import (
        linear_residual,
        linearity_by_layer,
        neural_collapse,
        target_linearity,
    )
    from gramdyn.models import (
        Activation,
        Network,
        enriched_network,
        init_network,
        leaky_relu,
        limit_kernels,
        linear,
        pad_network,
        relu,
        thin_network,
    )
    from gramdyn.plan import load_config, make_plan
    from gramdyn.report import save_overview, write_report
    from gramdyn.store import open
    from gramdyn.sweep import run_sweep
    from gramdyn.systems import (
        AbstractSystem,
        Closure,
        FieldSystem,
        MomentSystem,
        NetworkSystem,
        OrthogonalSystem,
        PlantedSystem,
        SquaredLoss,
        make_field_system,
        make_moment_system,
        make_orthogonal_system,
        make_planted_system,
        make_system,
    )

_HOMES = {
    "gramdyn._errors": ("ConfigError", "IncompleteError", "InputError"),
    "gramdyn._process": ("use_all_cores", "use_compile_cache"),
    "gramdyn.data": (
        "Moments",
        "Population",
        "Task",
        "arrays",
        "clusters",
        "digits",
        "gaussian",
        "linear_map",
        "make_task",
        "mnist5k",
        "modular_addition",
        "monomials",
        "orthogonal",
        "planted_map",
        "spirals",
        "swiss_roll",
        "tanh_teacher",
        "task_moments",
        "task_population",
    ),
    "gramdyn.kernels": (
        "linear_residual",
        "linearity_by_layer",
        "neural_collapse",
        "target_linearity",
    ),
    "gramdyn.models": (
        "Activation",
        "Network",
        "enriched_network",
        "init_network",
        "leaky_relu",
        "limit_kernels",
        "linear",
        "pad_network",
        "relu",
        "thin_network",
    ),
    "gramdyn.systems": (
        "AbstractSystem",
        "Closure",
        "FieldSystem",
        "MomentSystem",
        "NetworkSystem",
        "OrthogonalSystem",
        "PlantedSystem",
        "SquaredLoss",
        "make_field_system",
        "make_moment_system",
        "make_orthogonal_system",
        "make_planted_system",
        "make_system",
    ),
    "gramdyn.dynamics": (
        "Adaptive",
        "GradientDescent",
        "ImplicitMidpoint",
        "Optax",
        "Relative",
        "Result",
        "RungeKutta4",
        "Status",
        "euler",
        "gram_whitening",
        "simulate",
        "simulate_many",
    ),
    "gramdyn.diagnostics": ("AbstractDiagnostic", "Record", "diagnostic"),
    "gramdyn.plan": ("load_config", "make_plan"),
    "gramdyn.store": ("open",),
    "gramdyn.sweep": ("run_sweep",),
    "gramdyn.report": ("save_overview", "write_report"),
}
_PACKAGES = (
    *("kernels", "models", "data", "deep_linear", "planted", "systems", "dynamics", "diagnostics"),
    *("plan", "store", "sweep", "report", "experiments", "laws", "cli"),
)
_NAMES = {name for names in _HOMES.values() for name in names}

# `open` is left out, so that a star import does not hide the builtin.
__all__ = ["__version__", *sorted(_NAMES - {"open"})]

_public = lazy_names(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    return importlib.import_module(f"gramdyn.{name}") if name in _PACKAGES else _public(name)


def __dir__() -> list[str]:
    return [*__all__, "open"]
