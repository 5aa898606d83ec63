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
