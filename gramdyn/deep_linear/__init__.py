"""Deep linear networks on paper: exact solutions, critical points, their kind and surroundings.

Everything here is computed on the host in float64, for the white problem: weights W_1 to W_L and
the target of white inputs (`whitening` for others). What trains is `gramdyn.MomentSystem`.
"""

from gramdyn.deep_linear.ball import ball_minimum, fitted_order
from gramdyn.deep_linear.canonical import (
    canonical_spectrum,
    canonical_weights,
    canonical_weights_from_subspace,
)
from gramdyn.deep_linear.classify import Classification, classify
from gramdyn.deep_linear.critical import (
    CriticalPoint,
    CriticalValues,
    GlobalMinimum,
    critical_points,
    critical_values,
    global_minimum,
)
from gramdyn.deep_linear.descent import outcomes
from gramdyn.deep_linear.escape import (
    EscapeOrder,
    UnstableDirection,
    escape_order,
    loss_along,
    unstable_directions,
)
from gramdyn.deep_linear.hessian import (
    critical_step,
    hessian_matrix,
    hessian_product,
    hessian_spectrum,
    inertia,
    quadratic_form,
    sharpness,
)
from gramdyn.deep_linear.manifolds import (
    LevelSubspace,
    OriginManifolds,
    level_subspace,
    origin_manifolds,
    project_onto_level_subspace,
)
from gramdyn.deep_linear.modes import half_time, leading_half_time, mode_solution, mode_time
from gramdyn.deep_linear.nilpotent import Nilpotency, is_nilpotent, nilpotency, ranks_of_powers
from gramdyn.deep_linear.paths import Path, algebraic_approach, escape_time, follow
from gramdyn.deep_linear.products import Weights, product, whole_map, widths_of
from gramdyn.deep_linear.quotient import (
    QuotientRepresentative,
    canonical_orbit_dimension,
    interval_multiplicities,
    jordan_blocks,
    orbit_dimension,
    quotient_representative,
)
from gramdyn.deep_linear.riccati import RiccatiSolution, lambda_balanced_weights, riccati_solution
from gramdyn.deep_linear.scalar import scalar_two_layer
from gramdyn.deep_linear.sequential import local_rate, plateau_levels
from gramdyn.deep_linear.splitting import Split, excess_projectors, split
from gramdyn.deep_linear.tangent import jacobian_rank, tangent_kernel_matrix
from gramdyn.deep_linear.whitening import unwhiten_weights, white_target, whiten_weights

__all__ = [
    "Classification",
    "CriticalPoint",
    "CriticalValues",
    "EscapeOrder",
    "GlobalMinimum",
    "LevelSubspace",
    "Nilpotency",
    "OriginManifolds",
    "Path",
    "QuotientRepresentative",
    "RiccatiSolution",
    "Split",
    "UnstableDirection",
    "Weights",
    "algebraic_approach",
    "ball_minimum",
    "canonical_orbit_dimension",
    "canonical_spectrum",
    "canonical_weights",
    "canonical_weights_from_subspace",
    "classify",
    "critical_points",
    "critical_step",
    "critical_values",
    "escape_order",
    "escape_time",
    "excess_projectors",
    "fitted_order",
    "follow",
    "global_minimum",
    "half_time",
    "hessian_matrix",
    "hessian_product",
    "hessian_spectrum",
    "inertia",
    "interval_multiplicities",
    "is_nilpotent",
    "jacobian_rank",
    "jordan_blocks",
    "lambda_balanced_weights",
    "leading_half_time",
    "level_subspace",
    "local_rate",
    "loss_along",
    "mode_solution",
    "mode_time",
    "nilpotency",
    "orbit_dimension",
    "origin_manifolds",
    "outcomes",
    "plateau_levels",
    "product",
    "project_onto_level_subspace",
    "quadratic_form",
    "quotient_representative",
    "ranks_of_powers",
    "riccati_solution",
    "scalar_two_layer",
    "sharpness",
    "split",
    "tangent_kernel_matrix",
    "unstable_directions",
    "unwhiten_weights",
    "white_target",
    "whiten_weights",
    "whole_map",
    "widths_of",
]
