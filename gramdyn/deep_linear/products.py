"""Products of the weights of a deep linear network, and what every page of its theory starts from.

Weights are numbered 1 to L from the inputs, nodes 0 to L; W_l has shape (d_l, d_{l-1}).
"""

from numbers import Integral
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check
from gramdyn.deep_linear import _products
from gramdyn.deep_linear._products import Weights, check_weights

__all__ = ["Weights", "check_weights", "product", "whole_map", "widths_of"]


def widths_of(weights: Any) -> tuple[int, ...]:
    """Widths d_0, ..., d_L of the nodes.

    Args:
        weights: W_1, ..., W_L, float64.

    Returns:
        The widths, L + 1 of them.

    Raises:
        InputError: for weights in float32, that do not chain, that are not finite or whose products
            overflow.

    Cost: a copy of the weights.
    """
    return _products.widths_of(check_weights(weights))


def product(weights: Any, upper: int, lower: int) -> Float[np.ndarray, "_ _"]:
    """W_upper ... W_lower, numbered from 1; the identity of a node where upper = lower - 1.

    Args:
        weights: W_1, ..., W_L, float64.
        upper: Highest layer, from 0 to L.
        lower: Lowest layer, from 1 to upper + 1.

    Returns:
        The product, (d_upper, d_{lower-1}).

    Raises:
        InputError: as `widths_of`, or for layers out of range.

    Cost: upper - lower products of matrices.
    """
    found = check_weights(weights)
    good = isinstance(upper, Integral) and 0 <= upper <= len(found)
    check(good, "upper", f"be a whole number from 0 to {len(found)}", upper)
    good = isinstance(lower, Integral) and 1 <= lower <= upper + 1
    check(good, "lower", f"be a whole number from 1 to {upper + 1}", lower)
    return _products.product(found, int(upper), int(lower))


def whole_map(weights: Any) -> Float[np.ndarray, "dL d0"]:
    """Pi = W_L ... W_1, the map of the network.

    Args:
        weights: W_1, ..., W_L, float64.

    Returns:
        The map, (d_L, d_0).

    Raises:
        InputError: as `widths_of`.

    Cost: L - 1 products of matrices.
    """
    return _products.whole_map(check_weights(weights))
