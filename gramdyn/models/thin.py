"""Starts of ReLU networks on a planted map, drawn in the frame of the map and of their own rows.

All rows of W stay in the span of the rows of B and of the initial rows of W. In a frame whose first
C axes span the former and whose next k the rest of the latter, W has C + k columns, whatever the
number of inputs d; only its law knows d.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gramdyn._checks import check, check_known, check_positive_int
from gramdyn._types import Key, Scalar
from gramdyn.models.activations import linear, relu
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network

READOUT_LAWS = ("chi", "balanced", "xavier", "same")


def thin_network(
    key: Key,
    n_inputs: Scalar | np.ndarray | int,
    width: int,
    n_outputs: int = 1,
    *,
    law: str = "chi",
    sigma: Scalar = 1.0,
    signs: Sequence[int] | None = None,
    dtype: type | None = None,
) -> Network:
    """A ReLU network with entries W ~ N(0, sigma^2 / d) on d inputs, in thin coordinates.

    The first C columns are independent normal numbers. The rest of W is Gaussian with d - C
    columns, and in the frame of its own rows a lower triangle: normal below the diagonal, and on
    it the roots of chi-squared numbers with d - C, d - C - 1, ... degrees of freedom. So norms and
    angles have the law of the full start for every d. The readout V by one of four laws:

        chi       uniform directions, lengths sigma chi_d / sqrt(d): the law of the norms of W
        balanced  uniform directions, lengths |w_i|, so that no neuron has an imbalance
        xavier    entries N(0, sigma^2 / k)
        same      entries N(0, sigma^2 / d), the law of W

    Uniform directions of one output are signs. A key gives the same signs, and the same normal
    numbers, for every d, sigma and law.

    Args:
        key: Random key.
        n_inputs: Number of inputs d, at least 1; it may be traced.
        width: Number of neurons k.
        n_outputs: Number of outputs C.
        law: One of `READOUT_LAWS`.
        sigma: Root mean square of the norm of a row, above 0.
        signs: For one output, signs of v_i, 1 or -1, one a neuron; drawn by default.
        dtype: Floating type; JAX's default by default.

    Returns:
        Layers of shapes (k, C + k) and (C, k), both trained; columns that d inputs do not fill
        are 0.

    Raises:
        InputError: for counts below 1, an unknown law, or signs that do not fit.

    Cost: k (C + k) random numbers, whatever d.
    Source: M. S. Bartlett (1933), the decomposition of a Wishart matrix; laws of arXiv 2606.04476.
    """
    k, outputs = check_positive_int("width", width), check_positive_int("n_outputs", n_outputs)
    check_known("law", law, READOUT_LAWS)
    wanted = None if signs is None else _check_signs(signs, k, outputs)
    dtype = dtype or jnp.zeros(()).dtype.type
    d, scale = jnp.asarray(n_inputs, dtype), jnp.asarray(sigma, dtype)
    of_hidden, of_readout = jax.random.split(key)
    hidden = _thin_rows(of_hidden, d, k, outputs, dtype) / jnp.sqrt(d)
    readout = _readout(of_readout, hidden, d, outputs, law)
    if wanted is not None:
        readout = jnp.abs(readout) * jnp.asarray(wanted, dtype)[:, None]
    first = Dense(scale * hidden, None, None, relu(), True, scale**2 / d)
    return Network((first, Dense(scale * readout.T, None, None, linear())))


def widen(network: Network, n_inputs: int) -> Network:
    """A network in thin coordinates on all the inputs of a task planted in its first ones.

    Gaussian inputs prefer no direction, so that this is a start in any other frame too.

    Args:
        network: What `thin_network` gives for as many inputs.
        n_inputs: Number of inputs d.
    """
    first = network.layers[0]
    assert isinstance(first, Dense)
    weight = first.weight[:, :n_inputs]
    weight = jnp.pad(weight, ((0, 0), (0, n_inputs - weight.shape[1])))
    found: Network = eqx.tree_at(lambda tree: tree.layers[0].weight, network, weight)
    return found


def _thin_rows(
    key: Key, n_inputs: Float[Array, ""], width: int, n_outputs: int, dtype: type
) -> Float[Array, "k m"]:
    """Standard normal rows with `n_inputs` entries, in thin coordinates."""
    of_normals, of_lengths = jax.random.split(key)
    normals = jax.random.normal(of_normals, (width, n_outputs + width), dtype)
    head, rest = normals[:, :n_outputs], jnp.tril(normals[:, n_outputs:], -1)
    kept = jnp.arange(n_outputs, dtype=dtype) < n_inputs
    head = jnp.where(kept[None, :], head, 0.0)
    left = n_inputs - n_outputs - jnp.arange(width, dtype=dtype)
    square = jax.random.chisquare(of_lengths, jnp.maximum(left, 1.0), dtype=dtype)
    rest = jnp.where((left > 0)[None, :], rest + jnp.diag(jnp.sqrt(square)), 0.0)
    return jnp.concatenate([head, rest], axis=1)


def _readout(
    key: Key, hidden: Float[Array, "k m"], n_inputs: Float[Array, ""], n_outputs: int, law: str
) -> Float[Array, "k C"]:
    """Readout of unit scale."""
    width, dtype = hidden.shape[0], hidden.dtype
    of_normals, of_lengths = jax.random.split(key)
    normals = jax.random.normal(of_normals, (width, n_outputs), dtype)
    if law == "xavier":
        return normals / jnp.sqrt(jnp.asarray(width, dtype))
    if law == "same":
        return normals / jnp.sqrt(n_inputs)
    lengths = jnp.linalg.norm(hidden, axis=1)
    if law == "chi":
        square = jax.random.chisquare(of_lengths, n_inputs, (width,), dtype)
        lengths = jnp.sqrt(square / n_inputs)
    return normals * (lengths / jnp.linalg.norm(normals, axis=1))[:, None]


def _check_signs(signs: Sequence[int], width: int, n_outputs: int) -> tuple[int, ...]:
    found = tuple(signs)
    good = len(found) == width and all(sign in (1, -1) for sign in found)
    check(good, "signs", f"be {width} numbers of 1 or -1", signs)
    check(n_outputs == 1, "signs", "be left out for several outputs", signs)
    return found
