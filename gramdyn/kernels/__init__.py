"""The mathematics as plain functions on arrays: fields, Grams, layer kernels, spectra."""

from gramdyn.kernels.coactivation import coactivation, count_flips
from gramdyn.kernels.compare import frobenius, relative_movement, target_alignment
from gramdyn.kernels.field_laws import flip_jump, learnt_conjugate
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
    cross_gram,
    layer_gram,
    layer_kernel,
    tangent_kernel,
)
from gramdyn.kernels.infinite_width import (
    arc_cosine,
    limit_conj_grams,
    linear_residual,
    repeat_outputs,
)
from gramdyn.kernels.operators import (
    Path,
    against,
    along,
    apply_operator,
    estimate_traces,
    gram_operator_velocity,
    operator_matrix,
    operator_spectra,
    operator_traces,
    operator_velocity,
    reversed_path,
    top_operator_eigenvalues,
    triple_field,
)
from gramdyn.kernels.spectra import spectrum, top_eigenvalues, top_eigenvalues_of

__all__ = [
    "Path",
    "act_gram",
    "against",
    "along",
    "apply_layer_kernel",
    "apply_operator",
    "arc_cosine",
    "as_matrix",
    "coactivation",
    "conj_gram",
    "conjugate_field",
    "count_flips",
    "cross_gram",
    "drive",
    "estimate_traces",
    "flip_jump",
    "forward_field",
    "frobenius",
    "gram_operator_velocity",
    "layer_gram",
    "layer_kernel",
    "leaky_mask",
    "learnt_conjugate",
    "limit_conj_grams",
    "linear_residual",
    "operator_matrix",
    "operator_spectra",
    "operator_traces",
    "operator_velocity",
    "relative_movement",
    "relu_mask",
    "repeat_outputs",
    "reversed_path",
    "sensitivity",
    "spectrum",
    "tangent_kernel",
    "target_alignment",
    "top_eigenvalues",
    "top_eigenvalues_of",
    "top_operator_eigenvalues",
    "triple_field",
]
