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
from gramdyn.models.convolving_pathways import Circulant, Toeplitz
from gramdyn.models.correction import (
    CORRECTIONS,
    AbstractCorrection,
    Bottleneck,
    DenseCorrection,
    Gated,
    IdentityCorrection,
    make_correction,
    register_correction,
)
from gramdyn.models.enriched import EnrichedLayer
from gramdyn.models.enriched_network import enriched_network
from gramdyn.models.equilibrium import EquilibriumLayer
from gramdyn.models.equilibrium_network import equilibrium_network
from gramdyn.models.gram_orthogonal import GramOrthogonal
from gramdyn.models.infinite_width import limit_kernels
from gramdyn.models.init import PARAMETRIZATIONS, init_network
from gramdyn.models.layers import AbstractLayer, Dense, GramDense, Trace
from gramdyn.models.multilinear_pathways import (
    BlockDiagonal,
    DensePathway,
    Diagonal,
    Identity,
    LowRank,
    Monotone,
    Shaped,
)
from gramdyn.models.network import Network
from gramdyn.models.orthogonal_pathways import Butterfly, Orthogonal, Reflectors
from gramdyn.models.padding import pad_network
from gramdyn.models.pathway import (
    PATHWAYS,
    AbstractPathway,
    make_pathway,
    register_pathway,
)
from gramdyn.models.spectral_pathways import BoundedSVD, Spectral
from gramdyn.models.thin import READOUT_LAWS, thin_network, widen

__all__ = [
    "ACTIVATIONS",
    "CORRECTIONS",
    "INITS",
    "PARAMETRIZATIONS",
    "PATHWAYS",
    "READOUT_LAWS",
    "AbstractCorrection",
    "AbstractLayer",
    "AbstractPathway",
    "Activation",
    "Autoencoder",
    "BlockDiagonal",
    "Bottleneck",
    "BoundedSVD",
    "Butterfly",
    "Circulant",
    "Convolution",
    "Dense",
    "DenseCorrection",
    "DensePathway",
    "Diagonal",
    "EnrichedLayer",
    "EquilibriumLayer",
    "Gated",
    "GramDense",
    "GramOrthogonal",
    "Identity",
    "IdentityCorrection",
    "LowRank",
    "Monotone",
    "Network",
    "Orthogonal",
    "Reflectors",
    "Shaped",
    "Spectral",
    "Toeplitz",
    "Trace",
    "along_modes",
    "balance",
    "convolutional_network",
    "enriched_network",
    "equilibrium_network",
    "gelu",
    "init_autoencoder",
    "init_network",
    "leaky_relu",
    "limit_kernels",
    "linear",
    "make_activation",
    "make_correction",
    "make_pathway",
    "pad_network",
    "register_correction",
    "register_pathway",
    "relu",
    "tanh",
    "thin_network",
    "widen",
]
