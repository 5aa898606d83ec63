"""Random networks: initial laws and parametrisations."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check_known, check_positive_int, check_widths
from gramdyn._types import Key, Scalar
from gramdyn.models.activations import Activation, linear, relu
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network


class Parametrization(NamedTuple):
    """Where the scale of a layer sits: in its weights or in a multiplier that does not train.

    Attributes:
        multiplier: Whether the scale is a forward multiplier on N(0, 1) weights.
        readout_power: The readout is of order N^-power at initialisation.
    """

    multiplier: bool
    readout_power: float


PARAMETRIZATIONS: dict[str, Parametrization] = {
    "standard": Parametrization(False, 0.5),
    "ntk": Parametrization(True, 0.5),
    "mean_field": Parametrization(True, 1.0),
}


def init_network(
    key: Key,
    n_inputs: int,
    widths: Sequence[int],
    n_outputs: int = 1,
    *,
    activation: Activation | None = None,
    parametrization: str = "standard",
    train_readout: bool = False,
    bias: bool = False,
    weight_scale: Scalar = 1.0,
    output_scale: Scalar = 1.0,
    dtype: type | None = None,
) -> Network:
    """A dense network with random weights.

    Entry variances, fan_in = inputs of the layer, g = the activation's gain (2 for ReLU), N = last
    width, sigma = `weight_scale`, alpha = `output_scale`:

        standard     hidden W ~ N(0, sigma^2 g / fan_in)                     readout ~ alpha N(0, 1/N)
        ntk          hidden W ~ sigma N(0, 1), times sqrt(g / fan_in)         readout N(0, 1), times alpha / sqrt(N)
        mean_field   as ntk                                                  readout N(0, 1), times alpha / N

    where "times" is a forward multiplier that does not train. In `mean_field` kernels are of order
    1/N, so a step of order N is what moves features by order one at every width (the maximal-update
    parametrisation, up to a symmetry); a relative step does this by itself. Biases start at 0 and
    have multiplier 1.

    Args:
        key: Random key; layer l draws from `fold_in(key, l)`.
        n_inputs: Inputs d.
        widths: Width of each hidden layer.
        n_outputs: Outputs C.
        activation: Of the hidden layers; ReLU by default.
        parametrization: One of `PARAMETRIZATIONS`.
        train_readout: Whether the readout trains.
        bias: Whether hidden layers have biases.
        weight_scale: sigma, a multiple of the usual standard deviation of hidden weights.
        output_scale: alpha, a multiple of the usual output.
        dtype: Floating type; JAX's default by default.

    Raises:
        InputError: for widths or counts below 1, or an unknown parametrisation.
    """
    check_known("parametrization", parametrization, PARAMETRIZATIONS)
    widths = check_widths(widths)
    fans = (check_positive_int("n_inputs", n_inputs), *widths)
    check_positive_int("n_outputs", n_outputs)
    law, activation = PARAMETRIZATIONS[parametrization], activation or relu()
    dtype = dtype or jnp.zeros(()).dtype.type
    hidden = [
        _dense(
            jax.random.fold_in(key, layer),
            (fans[layer + 1], fans[layer]),
            math.sqrt(activation.gain / fans[layer]),
            weight_scale,
            law.multiplier,
            activation,
            dtype,
            bias=bias,
        )
        for layer in range(len(widths))
    ]
    readout = _readout(
        jax.random.fold_in(key, len(widths)),
        (n_outputs, fans[-1]),
        output_scale,
        law,
        train_readout,
        dtype,
    )
    return Network((*hidden, readout))


def _dense(
    key: Key,
    shape: tuple[int, int],
    std: float,
    weight_scale: Scalar,
    multiplier: bool,
    activation: Activation,
    dtype: type,
    *,
    bias: bool,
) -> Dense:
    weight = jnp.asarray(weight_scale, dtype) * jax.random.normal(key, shape, dtype)
    zeros = jnp.zeros(shape[0], dtype) if bias else None
    if multiplier:
        return Dense(weight, zeros, jnp.asarray(std, dtype), activation)
    return Dense(jnp.asarray(std, dtype) * weight, zeros, None, activation)


def _readout(
    key: Key,
    shape: tuple[int, int],
    output_scale: Scalar,
    law: Parametrization,
    trainable: bool,
    dtype: type,
) -> Dense:
    normal: Float[Array, "C N"] = jax.random.normal(key, shape, dtype)
    scale = jnp.asarray(output_scale, dtype) * jnp.asarray(shape[1] ** -law.readout_power, dtype)
    if law.multiplier:
        return Dense(normal, None, scale, linear(), trainable)
    return Dense(scale * normal, None, None, linear(), trainable)
