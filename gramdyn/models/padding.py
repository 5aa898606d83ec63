"""Zero padding: networks of unlike widths in one compiled program, exactly.

A padded neuron has zero weights in and out, so its preactivation is 0, its mask [z > 0] is 0, its
sensitivity is 0 through the readout and its gradient vanishes: it never moves, and the rest of the
network evolves as if it were not there. Source: arXiv 2606.09744.
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_widths
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network


def pad_network(network: Network, widths: Sequence[int]) -> Network:
    """The same network with hidden layers filled up to `widths` by neurons that never move.

    Forward multipliers stay those of the true widths; the `weight_variance` of a padded layer
    becomes None, since its fan-in is no longer its number of columns. Optimisers that move an array
    whose gradient is zero (decay of noise, sign steps of Adam stay at 0) do not break it: zero
    weights decay to zero, and elementwise steps of a zero gradient are zero.

    Args:
        network: Network of dense layers in weight coordinates.
        widths: Width of each hidden layer afterwards, none below its width now.

    Returns:
        The padded network; outputs, kernels and trajectories are those of the given one.

    Raises:
        InputError: for other layers, a width below the layer's own, or depths that differ.
    """
    widths = check_widths(widths)
    told = tuple(type(layer).__name__ for layer in network.layers)
    dense = all(isinstance(layer, Dense) for layer in network.layers)
    check(dense, "network", "have dense layers to be padded", told)
    layers = [layer for layer in network.layers if isinstance(layer, Dense)]
    own = tuple(layer.weight.shape[0] for layer in layers[:-1])
    fits = len(widths) == len(own) and all(w >= v for w, v in zip(widths, own, strict=False))
    check(fits, "widths", f"be at least {own}, layer by layer", widths)
    outs = (*widths, layers[-1].weight.shape[0])
    ins = (layers[0].weight.shape[1], *widths)
    return Network(
        tuple(_pad(layer, *shape) for layer, *shape in zip(layers, outs, ins, strict=True))
    )


def forget_variances(network: Network) -> Network:
    """The network without the `weight_variance` of its layers, which padding makes meaningless."""
    spots = lambda net: [layer.weight_variance for layer in net.layers]  # noqa: E731
    nothing = [None] * len(network.layers)
    found: Network = eqx.tree_at(spots, network, nothing, is_leaf=lambda leaf: leaf is None)
    return found


def _pad(layer: Dense, n_out: int, n_in: int) -> Dense:
    bias = None if layer.bias is None else _fill(layer.bias, (n_out,))
    variance = layer.weight_variance if layer.weight.shape == (n_out, n_in) else None
    return eqx.tree_at(
        lambda tree: (tree.weight, tree.bias, tree.weight_variance),
        layer,
        (_fill(layer.weight, (n_out, n_in)), bias, variance),
        is_leaf=lambda leaf: leaf is None,
    )


def _fill(array: Float[Array, "..."], shape: tuple[int, ...]) -> Float[Array, "..."]:
    return jnp.pad(array, [(0, new - old) for new, old in zip(shape, array.shape, strict=True)])
