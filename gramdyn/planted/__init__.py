"""A ReLU network that learns a linear map on Gaussian inputs, on paper: what theory says of it.

f(x) = sum_i V_i relu(w_i . x) against y = B x, x ~ N(0, I), loss 1/2 E |f - y|^2, both layers
trained. Everything here is computed on the host in float64; what trains are the functions of
`gramdyn.kernels.planted`. One output has the target a, the only row of B.
"""

from gramdyn.planted._points import gradient_of, loss_of
from gramdyn.planted.classify import Classification, classify, kinds
from gramdyn.planted.early import (
    alignment_steps,
    both_signs,
    early_strengths,
    early_weights,
    final_gains,
    success_probability,
)
from gramdyn.planted.growth import (
    group_gain,
    growth_loss,
    growth_steps,
    half_rise_offset,
    half_rise_steps,
    half_rise_time,
    rise_lag_steps,
)
from gramdyn.planted.hessian import hessian_matrix, plateau_spectrum, ray_spectrum
from gramdyn.planted.imbalance import imbalance, imbalance_bound, imbalance_increment
from gramdyn.planted.opening import cubic_form, escape_time, opened_half_fit
from gramdyn.planted.outputs import (
    Pairing,
    efold_steps,
    growth_rates,
    loss_levels,
    pairing,
    simplex_level,
)
from gramdyn.planted.samples import active_moment, alignment_angle, sample_rate, typical_rate
from gramdyn.planted.stationary import global_minimum, half_fit, paired_minimum, plateau
from gramdyn.planted.thin import Thin, thin, thin_target

__all__ = [
    "Classification",
    "Pairing",
    "Thin",
    "active_moment",
    "alignment_angle",
    "alignment_steps",
    "both_signs",
    "classify",
    "cubic_form",
    "early_strengths",
    "early_weights",
    "efold_steps",
    "escape_time",
    "final_gains",
    "global_minimum",
    "gradient_of",
    "group_gain",
    "growth_loss",
    "growth_rates",
    "growth_steps",
    "half_fit",
    "half_rise_offset",
    "half_rise_steps",
    "half_rise_time",
    "hessian_matrix",
    "imbalance",
    "imbalance_bound",
    "imbalance_increment",
    "kinds",
    "loss_levels",
    "loss_of",
    "opened_half_fit",
    "paired_minimum",
    "pairing",
    "plateau",
    "plateau_spectrum",
    "ray_spectrum",
    "rise_lag_steps",
    "sample_rate",
    "simplex_level",
    "success_probability",
    "thin",
    "thin_target",
    "typical_rate",
]
