"""Layer kernels of a network's initial law as its widths grow."""

from itertools import pairwise

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check
from gramdyn._errors import InputError
from gramdyn.kernels.infinite_width import limit_conj_grams, repeat_outputs
from gramdyn.models.activations import ACTIVATIONS, Activation
from gramdyn.models.layers import AbstractLayer, Dense, GramDense
from gramdyn.models.network import Network


def limit_kernels(network: Network, input_gram: Float[Array, "n n"]) -> Float[Array, "L n C n C"]:
    """Kernel of each trained layer at t = 0 as the widths grow, in the order of the layers.

    With S^1 = variance (G^0 - bias), (A^l, M^l) the second moments of activations and masks under
    S^l, and scale, fan_in, variance those of the layer above:

        G^l = scale^2 fan_in A^l + bias            S^{l+1} = scale^2 fan_in variance A^l
        Q^l = scale^2 fan_in variance M^l Q^{l+1}  K^l = G^{l-1} Q^l

    entry by entry, times the identity over outputs. Only the initial law is read, never a weight,
    so any state of the network gives the same. Biases are those of `init_network`, 0 at t = 0.

    Infinite width proper is the parametrisation "ntk"; in "standard" and "mean_field" kernels
    scale with the width, and this is their leading order at the network's own widths.

    Args:
        network: Network of dense layers, the first in either coordinates.
        input_gram: Gram of the inputs as the first layer's `input_gram` gives it, shape (n, n).

    Returns:
        One kernel a trained layer, shape (L, n, C, n, C); each is positive semidefinite.

    Raises:
        InputError: for residual or structured layers, a layer whose `weight_variance` is None, or
            an activation whose `dual` is.

    Cost: O(L n^2) and the result's L n^2 C^2 numbers; no array has a width in it.
    """
    check_limit(network)
    covariance = _variance(network, 0) * (input_gram - _bias(network.layers[0]))
    grams, masks, gains = [input_gram], [], []
    for i, (layer, above) in enumerate(pairwise(network.layers), start=1):
        act, mask = _moments(layer.activation, covariance)
        squared = _squared_size(above)
        gain = squared * _variance(network, i)
        grams.append(squared * act + _bias(above))
        masks.append(mask)
        gains.append(gain)
        covariance = gain * act
    found = zip(network.layers, grams, limit_conj_grams(masks, gains), strict=True)
    kernels = [gram * conj for layer, gram, conj in found if layer.trainable]
    return jnp.stack([repeat_outputs(kernel, _n_outputs(network)) for kernel in kernels])


def check_limit(network: Network) -> None:
    """Refuse layers of which no limit is known.

    Raises:
        InputError: for structured or residual layers.
    """
    told = "have free matrices for the infinite-width limit"
    check(network.free, "network", told, "one of structured layers")
    check(not network.skips, "network", "have no residual layers for the limit", "residual")


def _variance(network: Network, i: int) -> Float[Array, ""]:
    """Variance of the initial weights of layer i, which must be known."""
    layer = network.layers[i]
    found = layer.weight_variance if isinstance(layer, Dense | GramDense) else None
    if found is None:
        raise InputError(
            f"The initial law of layer {i + 1} is not known (`weight_variance` is None); the "
            "infinite-width limit takes networks of `init_network` that are not padded."
        )
    return found


_WITH_DUAL = tuple(name for name, make in ACTIVATIONS.items() if make().dual is not None)


def _moments(
    activation: Activation, covariance: Float[Array, "n n"]
) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """Second moments of the activations and of the masks."""
    demand = f"be one with a `dual` for the infinite-width limit ({', '.join(_WITH_DUAL)})"
    check(activation.dual is not None, "activation", demand, activation.name)
    assert activation.dual is not None
    return activation.dual(covariance)


def _bias(layer: AbstractLayer) -> float:
    """What the bias adds to the Gram of a layer's inputs."""
    assert isinstance(layer, Dense | GramDense)
    return float(layer.bias if isinstance(layer, GramDense) else layer.bias is not None)


def _squared_size(layer: AbstractLayer) -> Float[Array, ""]:
    """Squared multiplier times fan-in."""
    assert isinstance(layer, Dense)
    fan_in = jnp.asarray(layer.weight.shape[1], layer.weight.dtype)
    return fan_in if layer.scale is None else layer.scale**2 * fan_in


def _n_outputs(network: Network) -> int:
    assert isinstance(network.readout, Dense)
    return network.readout.weight.shape[0]
