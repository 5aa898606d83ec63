"""Published claims: the sweeps that show them, predicted beside measured."""

from gramdyn.experiments import (
    closure_depth,
    closure_one_layer,
    exact_fields,
    infinite_width,
    lazy_limit,
    operators_depth,
)
from gramdyn.experiments.registry import CLAIMS, Claim, Row, claim
from gramdyn.experiments.reproduce import Outcome, find_claim, reproduce

__all__ = [
    "CLAIMS",
    "Claim",
    "Outcome",
    "Row",
    "claim",
    "find_claim",
    "reproduce",
]

del closure_depth, closure_one_layer, exact_fields, infinite_width, lazy_limit, operators_depth
