"""The mathematics as plain functions on arrays: fields, Grams, layer kernels, spectra."""

from gramdyn.kernels.coactivation import coactivation, count_flips
from gramdyn.kernels.compare import frobenius, relative_movement, target_alignment
from gramdyn.kernels.fields import (
    conjugate_field,
    drive,
    forward_field,
    leaky_mask,
    relu_mask,
    sensitivity,
)
from gramdyn.kernels.gram import (
    act_gram,
    apply_layer_kernel,
    as_matrix,
    conj_gram,
    layer_kernel,
    tangent_kernel,
)
from gramdyn.kernels.infinite_width import (
    arc_cosine,
    limit_conj_grams,
    linear_residual,
    repeat_outputs,
)
from gramdyn.kernels.spectra import spectrum, top_eigenvalues, top_eigenvalues_of

__all__ = [
    "act_gram",
    "apply_layer_kernel",
    "arc_cosine",
    "as_matrix",
    "coactivation",
    "conj_gram",
    "conjugate_field",
    "count_flips",
    "drive",
    "forward_field",
    "frobenius",
    "layer_kernel",
    "leaky_mask",
    "limit_conj_grams",
    "linear_residual",
    "relative_movement",
    "relu_mask",
    "repeat_outputs",
    "sensitivity",
    "spectrum",
    "tangent_kernel",
    "target_alignment",
    "top_eigenvalues",
    "top_eigenvalues_of",
]
