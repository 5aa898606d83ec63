"""Laws of the theory, checked on the states of any run against automatic differentiation."""

from gramdyn.laws import feature_checks, field_checks, weight_checks
from gramdyn.laws.registry import LAWS, Law, law
from gramdyn.laws.verify import Verdict, verify_config, verify_plan

__all__ = ["LAWS", "Law", "Verdict", "law", "verify_config", "verify_plan"]

del feature_checks, field_checks, weight_checks
