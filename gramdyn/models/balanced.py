"""Balanced starts of deep linear networks: W_{l+1}^T W_{l+1} = W_l W_l^T at every hidden node."""

import itertools

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gramdyn._checks import check
from gramdyn._types import Scalar
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network

INITS = ("gaussian", "balanced", "aligned")


def balance(network: Network, n_modes: Int[Array, ""] | int | None = None) -> Network:
    """A balanced network with the map of the given one, as far as its narrowest layer lets it.

    The map is cut by its singular value decomposition into L equal factors, W_l = Q_l s^(1/L)
    Q_{l-1}^T. Hidden frames Q_l are what Gaussian weights make of the frame below, orthonormalised,
    so that they prefer no direction.

    Args:
        network: Linear network of dense layers without multipliers, its weights Gaussian.
        n_modes: Width of its narrowest layer, where it is filled up to wider ones.

    Raises:
        InputError: for other layers, or multipliers.
    """
    _plain_layers(network)
    whole = network.layers[0].matrix()
    for layer in network.layers[1:]:
        whole = layer.matrix() @ whole
    left, values, right = jnp.linalg.svd(whole, full_matrices=False)
    return along_modes(network, left, values ** (1.0 / len(network.layers)), right.T, n_modes)


def along_modes(
    network: Network,
    left: Float[Array, "C k"],
    entries: Float[Array, " k"] | Scalar,
    right: Float[Array, "d k"],
    n_modes: Int[Array, ""] | int | None = None,
) -> Network:
    """A balanced network along given modes, each with one entry in every layer.

    The map is sum_i left_i entries_i^L right_i^T over the first modes that the narrowest layer
    holds. Along the singular vectors of a white target each mode obeys
    ds/dt = L |s|^(2 - 2/L) (sigma - s), alone.

    Args:
        network: Linear network of dense layers without multipliers, its weights Gaussian.
        left: Orthonormal columns on the side of the outputs.
        entries: Entry of each mode in every layer.
        right: Orthonormal columns on the side of the inputs.
        n_modes: Width of the narrowest layer, where the network is filled up to wider ones.

    Raises:
        InputError: for a network with multipliers, which would not start where it is told to, or
            other layers than dense ones.
    """
    frames = [*_frames(_plain_layers(network)[:-1], right), left]
    rank = min(frame.shape[1] for frame in frames)
    entries = jnp.broadcast_to(jnp.asarray(entries, left.dtype), left.shape[1:])[:rank]
    if n_modes is not None:
        places = jnp.arange(rank, dtype=jnp.int32)
        entries = jnp.where(places < n_modes, entries, 0.0)
    pairs = itertools.pairwise(frames)
    weights = [(upper[:, :rank] * entries[None, :]) @ lower[:, :rank].T for lower, upper in pairs]
    spots = lambda tree: [layer.weight for layer in tree.layers]  # noqa: E731
    found: Network = eqx.tree_at(spots, network, weights)
    return found


def _plain_layers(network: Network) -> list[Dense]:
    """Its layers, refused unless they are dense without multipliers."""
    layers = [layer for layer in network.layers if isinstance(layer, Dense)]
    plain = len(layers) == len(network.layers) and all(one.scale is None for one in layers)
    told = [(type(layer).__name__, getattr(layer, "scale", None)) for layer in network.layers]
    check(plain, "network", "have dense layers without multipliers", told)
    return layers


def _frames(layers: list[Dense], right: Float[Array, "d k"]) -> list[Float[Array, "_ _"]]:
    """The inputs' frame, then one of each hidden node, as many columns as it holds."""
    frames = [right]
    for layer in layers:
        columns, triangle = jnp.linalg.qr(layer.weight @ frames[-1])
        # Signs that the factorisation leaves open would bias it.
        frames.append(columns * jnp.where(jnp.diagonal(triangle) < 0, -1.0, 1.0)[None, :])
    return frames
