"""Checked weights and their products, for inner loops: products check nothing themselves."""

from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check
from gramdyn.deep_linear._checks import check_double, check_list, check_products

Weights = tuple[Float[np.ndarray, "_ _"], ...]


def check_weights(weights: Any) -> Weights:
    """The weights as float64 arrays, refused unless they chain and their products are finite.

    Raises:
        InputError: for no weights, weights in float32, in which ranks mean nothing, entries that
            are not finite, shapes that do not chain, or norms whose product is above 1e150.
    """
    found = tuple(check_double("weights", weight) for weight in check_list("weights", weights))
    shapes = [weight.shape for weight in found]
    chain = all(low[0] == up[1] for low, up in pairwise(shapes))
    check(len(found) > 0 and chain, "weights", "hold W_1, W_2, ... with shapes that chain", shapes)
    check_products("weights", *found)
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
