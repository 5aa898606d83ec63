"""What is looked at: diagnostics by name, running averages, records."""

from gramdyn.diagnostics import limits as _limits
from gramdyn.diagnostics import network as _network
from gramdyn.diagnostics.average import Average
from gramdyn.diagnostics.base import AbstractDiagnostic, Instant
from gramdyn.diagnostics.record import Record
from gramdyn.diagnostics.registry import DIAGNOSTICS, diagnostic, make_diagnostic, register

__all__ = [
    "DIAGNOSTICS",
    "AbstractDiagnostic",
    "Average",
    "Instant",
    "Record",
    "diagnostic",
    "make_diagnostic",
    "register",
]

del _limits, _network
