"""What evolves: states, their velocity, and the fields seen from them."""

from gramdyn.systems.base import AbstractFields, AbstractSystem
from gramdyn.systems.linear import ResidualFields, ResidualSystem
from gramdyn.systems.losses import REDUCTIONS, AbstractLoss, SquaredLoss
from gramdyn.systems.network import COORDINATES, NetworkSystem, make_system
from gramdyn.systems.network_fields import NetworkFields

__all__ = [
    "COORDINATES",
    "REDUCTIONS",
    "AbstractFields",
    "AbstractLoss",
    "AbstractSystem",
    "NetworkFields",
    "NetworkSystem",
    "ResidualFields",
    "ResidualSystem",
    "SquaredLoss",
    "make_system",
]
