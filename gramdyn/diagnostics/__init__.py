"""What is looked at: diagnostics by name, running averages, records."""

from gramdyn.diagnostics import ansatz as _ansatz
from gramdyn.diagnostics import closure as _closure
from gramdyn.diagnostics import collapse as _collapse
from gramdyn.diagnostics import conditioning as _conditioning
from gramdyn.diagnostics import currents as _currents
from gramdyn.diagnostics import features as _features
from gramdyn.diagnostics import heldout as _heldout
from gramdyn.diagnostics import limits as _limits
from gramdyn.diagnostics import linear as _linear
from gramdyn.diagnostics import network as _network
from gramdyn.diagnostics import operators as _operators
from gramdyn.diagnostics import planted as _planted
from gramdyn.diagnostics import planted_folds as _planted_folds
from gramdyn.diagnostics import smoothness as _smoothness
from gramdyn.diagnostics import structured as _structured
from gramdyn.diagnostics import vae as _vae
from gramdyn.diagnostics import weight_grams as _weight_grams
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

del _ansatz, _closure, _collapse, _conditioning, _currents, _features, _heldout, _limits, _linear
del _network, _operators, _planted, _planted_folds, _smoothness, _structured, _vae, _weight_grams
