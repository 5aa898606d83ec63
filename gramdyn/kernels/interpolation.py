"""Lines between two codes of a generative model, beside the lines between what they stand for.

A decoder takes the line between two codes to a path between two decoded ends. How far it lies from
the line between the inputs themselves says whether codes are linear in the inputs; how far from the
line between its own ends, how curved the decoder is.
Source: arXiv 2605.06258.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class LineError(NamedTuple):
    """Error of a decoded path to the straight line between the inputs.

    Attributes:
        curve: Mean squared error at each point, over pairs and pixels, shape (K,).
        mean: Its mean over the points.
        middle: At the middle point, or the mean of the two in the middle.
        ends: The mean of both ends, which is that of reconstruction alone.
    """

    curve: Float[Array, " K"]
    mean: Float[Array, ""]
    middle: Float[Array, ""]
    ends: Float[Array, ""]


def straight_lines(
    first: Float[Array, "P d"], second: Float[Array, "P d"], count: int
) -> Float[Array, "P K d"]:
    """Points lam first + (1 - lam) second of each line, lam from 0 to 1 in equal steps.

    Args:
        first: Where lam = 1, one line a row, shape (P, d).
        second: Where lam = 0, shape (P, d).
        count: Points K of each line, ends included, at least 2.
    """
    share = jnp.linspace(0.0, 1.0, count, dtype=first.dtype)[None, :, None]
    return share * first[:, None, :] + (1.0 - share) * second[:, None, :]


def line_error(path: Float[Array, "P K d"], line: Float[Array, "P K d"]) -> LineError:
    """Mean squared error of decoded paths to lines of pixels.

    Args:
        path: Decoded points, one path a row, shape (P, K, d).
        line: Points of the straight lines between the inputs, shape (P, K, d).
    """
    curve = jnp.mean((path - line) ** 2, axis=(0, 2))
    count = curve.shape[0]
    middle = jnp.mean(curve[(count - 1) // 2 : count // 2 + 1])
    return LineError(curve, jnp.mean(curve), middle, (curve[0] + curve[-1]) / 2)


def path_bend(path: Float[Array, "P K d"]) -> Float[Array, ""]:
    """How curved decoded paths are: 0 for straight ones run through evenly.

    The mean squared distance of their points to those of the lines between their own ends, over
    the mean squared distance of the ends; both means are over all paths, so that one whose ends
    meet spoils no other.

    Args:
        path: Decoded points, one path a row, shape (P, K, d).

    Returns:
        The bend; NaN where both ends of every path are the same point.
    """
    begin, end = path[:, 0], path[:, -1]
    off = jnp.sum((path - straight_lines(end, begin, path.shape[1])) ** 2, axis=2)
    size = jnp.mean(jnp.sum((end - begin) ** 2, axis=1))
    return jnp.mean(off) / jnp.where(size > 0, size, jnp.nan)
