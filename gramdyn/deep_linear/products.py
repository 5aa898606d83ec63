"""Products of the weights of a deep linear network, and what every page of its theory starts from.

Weights are numbered 1 to L from the inputs, nodes 0 to L; W_l has shape (d_l, d_{l-1}).
"""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_matrix

Weights = tuple[Float[np.ndarray, "_ _"], ...]


def check_weights(weights: Sequence[Any]) -> Weights:
    """The weights as float64 arrays, refused unless they chain.

    Raises:
        InputError: for no weights, entries that are not finite, or shapes that do not chain.
    """
    found = tuple(check_matrix("weights", weight) for weight in weights)
    shapes = [weight.shape for weight in found]
    chain = all(low[0] == up[1] for low, up in pairwise(shapes))
    check(len(found) > 0 and chain, "weights", "hold W_1, W_2, ... with shapes that chain", shapes)
    return found


def widths_of(weights: Weights) -> tuple[int, ...]:
    """Widths d_0, ..., d_L of the nodes."""
    return (weights[0].shape[1], *(weight.shape[0] for weight in weights))


def product(weights: Weights, upper: int, lower: int) -> Float[np.ndarray, "_ _"]:
    """W_upper ... W_lower, numbered from 1; the identity of a node where upper = lower - 1."""
    if upper < lower:
        return np.eye(widths_of(weights)[upper])
    return reduce(lambda right, left: left @ right, weights[lower - 1 : upper])


def whole_map(weights: Weights) -> Float[np.ndarray, "dL d0"]:
    """Pi = W_L ... W_1, the map of the network."""
    return product(weights, len(weights), 1)
