"""Published claims reproduced by sweeps, and the laws checked on any run."""

from gramdyn.experiments import (
    closure_depth,
    closure_one_layer,
    exact_fields,
    field_checks,
    infinite_width,
    lazy_limit,
    linear_adjacency,
    linear_conservation,
    linear_convergence,
    linear_data,
    linear_descent,
    linear_dissipation,
    linear_escape,
    linear_hessian,
    linear_modes,
    linear_phases,
    linear_plateaus,
    linear_riccati,
    linear_saddles,
    operators_depth,
    weight_checks,
)
from gramdyn.experiments.registry import CLAIMS, Claim, Row, claim
from gramdyn.experiments.reproduce import Outcome, find_claim, reproduce
from gramdyn.experiments.verify import Verdict, verify_config, verify_plan

__all__ = [
    "CLAIMS",
    "Claim",
    "Outcome",
    "Row",
    "Verdict",
    "claim",
    "find_claim",
    "reproduce",
    "verify_config",
    "verify_plan",
]

del closure_depth, closure_one_layer, exact_fields, infinite_width, lazy_limit, operators_depth
del linear_phases
del field_checks, weight_checks
del linear_adjacency, linear_conservation, linear_convergence, linear_descent, linear_dissipation
del linear_plateaus
del linear_modes
del linear_riccati
del linear_hessian
del linear_saddles
del linear_escape
del linear_data
