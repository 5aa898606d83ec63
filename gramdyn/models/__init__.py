"""Networks as equinox modules: activations, layers, initial laws, padding."""

from gramdyn.models.activations import (
    ACTIVATIONS,
    Activation,
    gelu,
    leaky_relu,
    linear,
    make_activation,
    relu,
    tanh,
)
from gramdyn.models.autoencoder import Autoencoder, init_autoencoder
from gramdyn.models.balanced import INITS, along_modes, balance
from gramdyn.models.convolution import Convolution, convolutional_network
from gramdyn.models.infinite_width import limit_kernels
from gramdyn.models.init import PARAMETRIZATIONS, init_network
from gramdyn.models.layers import AbstractLayer, Dense, GramDense, Trace
from gramdyn.models.network import Network
from gramdyn.models.padding import pad_network
from gramdyn.models.thin import READOUT_LAWS, thin_network, widen

__all__ = [
    "ACTIVATIONS",
    "INITS",
    "PARAMETRIZATIONS",
    "READOUT_LAWS",
    "AbstractLayer",
    "Activation",
    "Autoencoder",
    "Convolution",
    "Dense",
    "GramDense",
    "Network",
    "Trace",
    "along_modes",
    "balance",
    "convolutional_network",
    "gelu",
    "init_autoencoder",
    "init_network",
    "leaky_relu",
    "limit_kernels",
    "linear",
    "make_activation",
    "pad_network",
    "relu",
    "tanh",
    "thin_network",
    "widen",
]
