"""What evolves: states, their velocity, and the fields seen from them."""

from gramdyn.systems.base import AbstractFields, AbstractSystem
from gramdyn.systems.closure import CLOSURES, Closure, make_closure
from gramdyn.systems.field_laws import FieldVelocity, conjugate_jump, conjugate_law, forward_law
from gramdyn.systems.field_space import FieldState, FieldSystem, field_system, make_field_system
from gramdyn.systems.linear import ResidualFields, ResidualSystem
from gramdyn.systems.losses import (
    LOSSES,
    REDUCTIONS,
    AbstractLoss,
    CrossEntropyLoss,
    SquaredLoss,
    make_loss,
)
from gramdyn.systems.make import (
    COORDINATES,
    make_moment_system,
    make_planted_system,
    make_system,
)
from gramdyn.systems.moments import MomentFields, MomentSystem
from gramdyn.systems.network import NetworkSystem
from gramdyn.systems.network_fields import NetworkFields
from gramdyn.systems.orthogonal import OrthogonalSystem, make_orthogonal_system
from gramdyn.systems.planted import PlantedFields, PlantedSystem
from gramdyn.systems.planted_samples import SampledSystem
from gramdyn.systems.planted_view import PlantedView
from gramdyn.systems.vae import VaeFields, VaeSystem, make_vae_system

__all__ = [
    "CLOSURES",
    "COORDINATES",
    "LOSSES",
    "REDUCTIONS",
    "AbstractFields",
    "AbstractLoss",
    "AbstractSystem",
    "Closure",
    "CrossEntropyLoss",
    "FieldState",
    "FieldSystem",
    "FieldVelocity",
    "MomentFields",
    "MomentSystem",
    "NetworkFields",
    "NetworkSystem",
    "OrthogonalSystem",
    "PlantedFields",
    "PlantedSystem",
    "PlantedView",
    "ResidualFields",
    "ResidualSystem",
    "SampledSystem",
    "SquaredLoss",
    "VaeFields",
    "VaeSystem",
    "conjugate_jump",
    "conjugate_law",
    "field_system",
    "forward_law",
    "make_closure",
    "make_field_system",
    "make_loss",
    "make_moment_system",
    "make_orthogonal_system",
    "make_planted_system",
    "make_system",
    "make_vae_system",
]
