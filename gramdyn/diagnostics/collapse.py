"""Diagnostics of Neural Collapse."""

import jax.numpy as jnp
from jaxtyping import Array

from gramdyn._checks import check
from gramdyn.diagnostics.registry import diagnostic
from gramdyn.kernels.collapse import linearity_bound, neural_collapse
from gramdyn.models.layers import Dense
from gramdyn.systems.network_fields import NetworkFields

_NAMES = (
    *("collapse_within", "collapse_within_ratio", "collapse_mean_norms", "collapse_weight_norms"),
    *("collapse_mean_angles", "collapse_weight_angles", "collapse_simplex", "collapse_duality"),
    "collapse_disagreement",
)


@diagnostic(dict.fromkeys((*_NAMES, "collapse_bound"), ()))
def collapse(fields: NetworkFields) -> dict[str, Array]:
    """Measures of Neural Collapse of the last hidden layer (see `gramdyn.kernels.collapse`).

    Classes are those of the largest target. All are 0 for a simplex of points with the classifier
    that is its dual. `collapse_bound` is the most that 1 - Target Linearity of that layer can be,
    for one-hot targets and classes of equal size.

    Raises:
        InputError: for a single output, or a centred network.
    """
    n_outputs = fields.targets.shape[1]
    check(n_outputs > 1, "n_outputs", "be at least 2 for diagnostic `collapse`", n_outputs)
    # The classifier's decisions are those of its own outputs.
    check(fields.offset is None, "centred", "be false for diagnostic `collapse`", True)
    labels, readout = jnp.argmax(fields.targets, axis=1), fields.network.readout
    bias = readout.bias if isinstance(readout, Dense) else None
    found = neural_collapse(fields.traces[-2].act, labels, readout.matrix(), bias)
    bound = linearity_bound(found.within, n_outputs)
    return dict(zip(_NAMES, found, strict=True)) | {"collapse_bound": bound}
