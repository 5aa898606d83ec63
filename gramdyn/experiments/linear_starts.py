"""Deep linear networks that claims start by themselves, beside the sweeps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from gramdyn._types import Key
from gramdyn.data.linear_map import linear_map
from gramdyn.data.moments import task_moments
from gramdyn.kernels.adjacency import adjacency
from gramdyn.models.activations import linear
from gramdyn.models.init import init_network
from gramdyn.systems.make import make_moment_system
from gramdyn.systems.moments import MomentFields, MomentSystem


def linear_system(
    key: Key, widths: Sequence[int], singular_values: Sequence[float], scale: float
) -> MomentSystem:
    """A deep linear network with entries N(0, scale^2), on white inputs and a diagonal target.

    Args:
        key: Random key of the weights.
        widths: d_0, ..., d_L.
        singular_values: Of the target, at most min(d_0, d_L) of them.
        scale: Standard deviation of every entry of every layer.
    """
    inputs, *hidden, outputs = widths
    values = tuple(float(value) for value in singular_values)
    task = linear_map(n_inputs=inputs, n_outputs=outputs, singular_values=values)
    network = init_network(
        key,
        inputs,
        hidden,
        outputs,
        activation=linear(),
        parametrization="unscaled",
        train_readout=True,
        weight_scale=scale,
    )
    return make_moment_system(network, task_moments(task))


def target_of(widths: Sequence[int], singular_values: Sequence[float]) -> Float[np.ndarray, "C d"]:
    """The target of `linear_system`, singular values on the diagonal."""
    target, count = np.zeros((widths[-1], widths[0])), len(singular_values)
    np.fill_diagonal(target[:count, :count], singular_values)
    return target


def whole_matrix(fields: MomentFields) -> dict[str, Float[Array, "n n"]]:
    """Record of the adjacency matrix of a network: all its weights, shape (n_v, n_v)."""
    return {"matrix": adjacency(fields.weights)}


def largest(gap: Any, n_axes: int) -> np.ndarray:
    """Largest size over all axes but the first few."""
    gap = np.abs(np.asarray(gap))
    return gap.max(axis=tuple(range(n_axes, gap.ndim)))
