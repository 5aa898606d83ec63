"""Published claims, reproduced by sweeps: predicted beside measured."""

import importlib

from gramdyn.experiments.registry import CLAIMS, Claim, Row, claim
from gramdyn.experiments.reproduce import Outcome, find_claim, reproduce

__all__ = ["CLAIMS", "Claim", "Outcome", "Row", "claim", "find_claim", "reproduce"]

# Modules of claims in the order in which they are told; importing one enters its claim.
_MODULES = (
    *("closure_one_layer", "exact_fields", "closure_depth", "operators_depth"),
    *("lazy_limit", "infinite_width"),
    *("linear_conservation", "linear_dissipation", "linear_adjacency", "linear_convergence"),
    *("linear_descent", "linear_plateaus", "linear_modes", "linear_riccati", "linear_phases"),
    *("linear_hessian", "linear_saddles", "linear_escape", "linear_data"),
    *("planted_formulas", "planted_success", "planted_times", "planted_escape"),
    *("planted_landscape", "planted_scale", "planted_tail", "planted_pairing", "planted_drift"),
    *("planted_closure", "planted_samples"),
    *("features_swiss_roll", "features_whitening", "features_layers", "features_staircase"),
    *("features_labels", "features_grokking", "features_collapse", "features_gram"),
    "features_ansatz",
    "vae_interpolation",
    *("structured_kernels", "structured_depth", "structured_noise", "structured_smoothness"),
    *("structured_digits", "structured_rates"),
)
for _module in _MODULES:
    importlib.import_module(f"gramdyn.experiments.{_module}")
