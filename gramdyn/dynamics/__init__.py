"""How states are stepped: schemes, the loop, batches of runs."""

from gramdyn.dynamics.adaptive import Adaptive
from gramdyn.dynamics.midpoint import ImplicitMidpoint
from gramdyn.dynamics.optimisers import Optax, known_optimisers
from gramdyn.dynamics.registry import SCHEMES, register_scheme
from gramdyn.dynamics.schemes import (
    AbstractScheme,
    GradientDescent,
    Relative,
    RungeKutta4,
    euler,
)
from gramdyn.dynamics.simulate import DIVERGED_ABOVE, Result, simulate, simulate_many
from gramdyn.dynamics.status import Status, status_name
from gramdyn.dynamics.whitening import gram_whitening

__all__ = [
    "DIVERGED_ABOVE",
    "SCHEMES",
    "AbstractScheme",
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
    "known_optimisers",
    "register_scheme",
    "simulate",
    "simulate_many",
    "status_name",
]
