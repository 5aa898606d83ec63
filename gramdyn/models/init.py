"""Random networks: initial laws and parametrisations."""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from gramdyn._checks import check, check_known, check_positive_int, check_widths
from gramdyn._types import Key, Scalar
from gramdyn.models.activations import Activation, linear, relu
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network
from gramdyn.models.padding import forget_variances


class Parametrization(NamedTuple):
    """Where the scale of a layer sits: in its weights or in a multiplier that does not train.

    Attributes:
        multiplier: Whether the scale is a forward multiplier on N(0, 1) weights.
        readout_power: The readout is of order N^-power at initialisation.
        scaled: Whether scales follow the width.
        tied: Whether `weight_scale` is that of the readout too, not of the hidden layers alone.
        uniform: Whether weights and biases alike are uniform, with no gain, in place of normal
            weights and biases of 0.
        divided: Whether the readout has its scale a second time as a multiplier.
    """

    multiplier: bool
    readout_power: float
    scaled: bool = True
    tied: bool = False
    uniform: bool = False
    divided: bool = False


class Padded(NamedTuple):
    """A network inside a program for wider ones: its own sizes, as arrays.

    Attributes:
        widths: Width of each hidden layer, shape (L,).
        stds: What `layer_stds` gives for these widths, shape (L + 1,).
    """

    widths: Int[Array | np.ndarray, " L"]
    stds: Float[Array | np.ndarray, " K"]


PARAMETRIZATIONS: dict[str, Parametrization] = {
    "standard": Parametrization(False, 0.5),
    "ntk": Parametrization(True, 0.5),
    "mean_field": Parametrization(True, 1.0),
    "tied": Parametrization(False, 0.5, tied=True),
    "unscaled": Parametrization(False, 0.0, scaled=False, tied=True),
    "uniform": Parametrization(False, 0.5, tied=True, uniform=True),
    "divided": Parametrization(False, 0.5, divided=True),
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
    bias: bool | Sequence[bool] = False,
    weight_scale: Scalar = 1.0,
    output_scale: Scalar = 1.0,
    input_scale: Scalar = 1.0,
    dtype: type | None = None,
    padded: Padded | None = None,
    residual: bool = False,
    readout_bias: bool = False,
) -> Network:
    """A network of dense layers with random weights.

    Entry variances, fan_in = inputs of the layer, g = the activation's gain (2 for ReLU), N = last
    width, sigma = `weight_scale`, alpha = `output_scale`:

        standard     hidden N(0, sigma^2 g/fan_in);              readout alpha N(0, 1/N)
        ntk          hidden sigma N(0, 1) times sqrt(g/fan_in);  readout N(0, 1) times alpha/sqrt(N)
        mean_field   hidden as ntk;                              readout N(0, 1) times alpha/N
        tied         hidden as standard;                         readout alpha N(0, sigma^2/N)
        unscaled     hidden N(0, sigma^2);                       readout alpha N(0, sigma^2)
        uniform      all weights and biases uniform up to +-sigma/sqrt(fan_in), the readout's times
                     alpha: what PyTorch's linear layers have for sigma = 1
        divided      hidden as standard;                         readout as standard times 1/sqrt(N)

    where "times" is a forward multiplier that does not train; each layer's `weight_variance` is
    that of its entries, the multiplier left out. In `mean_field` kernels are of order 1/N, so a
    step of order N is what moves features by order one at every width (the maximal-update
    parametrisation, up to a symmetry); a relative step does this by itself. Biases start at 0, but
    for `uniform`, and have multiplier 1.

    Args:
        key: Random key; all layers are cut from one draw.
        n_inputs: Inputs d.
        widths: Width of each hidden layer; none at all is a linear map, whose readout trains.
        n_outputs: Outputs C.
        activation: Of the hidden layers; ReLU by default.
        parametrization: One of `PARAMETRIZATIONS`.
        train_readout: Whether the readout trains.
        bias: Whether hidden layers have biases; for all of them, or one by one.
        weight_scale: sigma, a multiple of the usual standard deviation of hidden weights.
        output_scale: alpha, a multiple of the usual output.
        input_scale: A multiple of the usual initial weights of the first layer alone, and of its
            biases where they are drawn, beside sigma.
        dtype: Floating type; JAX's default by default.
        padded: Sizes of the network itself where `widths` are those it is filled up to with neurons
            that never move (see `gramdyn.models.padding`), so that one program serves many widths.
        residual: Whether hidden layers after the first add what enters them, h + phi(W h + b).
        readout_bias: Whether the readout has a bias.

    Raises:
        InputError: for widths or counts below 1, an unknown parametrisation, or residual layers of
            unlike widths.
    """
    check_known("parametrization", parametrization, PARAMETRIZATIONS)
    widths = check_widths(widths) if widths or not train_readout else ()
    fans = (check_positive_int("n_inputs", n_inputs), *widths)
    check_positive_int("n_outputs", n_outputs)
    law, activation = PARAMETRIZATIONS[parametrization], activation or relu()
    dtype = dtype or jnp.zeros(()).dtype.type
    check(not residual or len(set(widths)) == 1, "widths", "be equal in a residual network", widths)
    given: list[Any] = [*bias] if isinstance(bias, Sequence) else [bias] * len(widths)
    told = f"be true or false, or one of these for each of {len(widths)} hidden layers"
    good = all(isinstance(one, bool) for one in given) and len(given) == len(widths)
    check(good, "bias", told, bias)
    biases = [*given, readout_bias] if law.uniform else [False] * len(fans)
    shapes = _shapes((*fans, n_outputs), biases)
    size = sum(map(math.prod, shapes))
    draw = jax.random.uniform if law.uniform else jax.random.normal
    flat = draw(key, (size,), dtype)
    flat = 2.0 * flat - 1.0 if law.uniform else flat
    if padded is None:
        drawn, stds = _cut(flat, shapes), layer_stds(fans, activation, parametrization)
    else:
        own = [jnp.int32(n_inputs), *jnp.asarray(padded.widths), jnp.int32(n_outputs)]
        drawn, stds = _cut_padded(flat, shapes, _shapes(own, biases)), tuple(padded.stds)
    if law.tied:
        output_scale = output_scale * weight_scale
    entries = _by_layer(drawn, biases)
    sigmas = [weight_scale * (input_scale if i == 0 else 1.0) for i in range(len(widths))]
    hidden = [
        _hidden(*entry, std, sigmas[i], law, activation, given[i], residual and i > 0)
        for i, (entry, std) in enumerate(zip(entries[:-1], stds[:-1], strict=True))
    ]
    last = _readout(*entries[-1], stds[-1], output_scale, law, train_readout, readout_bias)
    network = Network((*hidden, last))
    return network if padded is None else forget_variances(network)


def _shapes(sizes: Sequence[Any], biases: Sequence[bool]) -> list[tuple[Any, Any]]:
    """Rows and columns of what is drawn, layer by layer: weights, then a bias where it is drawn."""
    found = []
    for (into, out), bias in zip(itertools.pairwise(sizes), biases, strict=True):
        found += [(out, into), *([(out, 1)] if bias else [])]
    return found


def _by_layer(
    drawn: Sequence[Array], biases: Sequence[bool]
) -> list[tuple[Float[Array, "N M"], Float[Array, " N"] | None]]:
    """Entries of each layer's weights and bias, None for a bias that is not drawn."""
    left = iter(drawn)
    return [(next(left), next(left)[:, 0] if bias else None) for bias in biases]


def layer_stds(
    fans: Sequence[int], activation: Activation, parametrization: str
) -> tuple[float, ...]:
    """Scale of each layer by law, weight and output scale left out.

    Args:
        fans: Inputs, then the width of each hidden layer.
        activation: Of the hidden layers.
        parametrization: One of `PARAMETRIZATIONS`.
    """
    law = PARAMETRIZATIONS[parametrization]
    if not law.scaled:
        return (1.0,) * len(fans)
    gain = 1.0 if law.uniform else activation.gain
    return (
        *(math.sqrt(gain / fan) for fan in fans[:-1]),
        fans[-1] ** -law.readout_power,
    )


def _cut(flat: Float[Array, " m"], shapes: Sequence[tuple[int, int]]) -> list[Float[Array, "N M"]]:
    """Arrays of these shapes, cut from one draw.

    One draw and not one a layer: each costs a quarter of a second to compile.
    """
    sizes = [math.prod(shape) for shape in shapes]
    ends = itertools.accumulate(sizes)
    cut = [flat[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    return [piece.reshape(shape) for piece, shape in zip(cut, shapes, strict=True)]


def _cut_padded(
    flat: Float[Array, " m"], shapes: Sequence[tuple[int, int]], own: Sequence[tuple[Any, Any]]
) -> list[Float[Array, "N M"]]:
    """The arrays that `_cut` gives a network of its own shapes, zeros around them.

    Entry k of a draw does not depend on the length of the draw, so that a network has the same
    weights in a wider program as in its own.
    """
    found, begin = [], jnp.int32(0)
    for shape, (n_rows, n_columns) in zip(shapes, own, strict=True):
        i, j = lax.broadcasted_iota(jnp.int32, shape, 0), lax.broadcasted_iota(jnp.int32, shape, 1)
        inside = (i < n_rows) & (j < n_columns)
        place = jnp.where(inside, begin + i * n_columns + j, 0)
        found.append(jnp.where(inside, flat[place], jnp.zeros((), flat.dtype)))
        begin = begin + n_rows * n_columns
    return found


def _hidden(
    entries: Float[Array, "N M"],
    shifts: Float[Array, " N"] | None,
    std: Scalar,
    weight_scale: Scalar,
    law: Parametrization,
    activation: Activation,
    bias: bool,
    residual: bool,
) -> Dense:
    dtype = entries.dtype
    sigma, scale = jnp.asarray(weight_scale, dtype), jnp.asarray(std, dtype)
    if law.multiplier:
        zeros = jnp.zeros(entries.shape[0], dtype) if bias else None
        return Dense(sigma * entries, zeros, scale, activation, True, sigma**2, residual)
    start = _bias(entries, shifts, scale * sigma) if bias else None
    variance = None if law.uniform else (scale * sigma) ** 2
    return Dense(scale * (sigma * entries), start, None, activation, True, variance, residual)


def _readout(
    entries: Float[Array, "C N"],
    shifts: Float[Array, " C"] | None,
    std: Scalar,
    output_scale: Scalar,
    law: Parametrization,
    trainable: bool,
    bias: bool,
) -> Dense:
    dtype = entries.dtype
    scale = jnp.asarray(output_scale, dtype) * jnp.asarray(std, dtype)
    start = _bias(entries, shifts, scale) if bias else None
    if law.multiplier:
        return Dense(entries, start, scale, linear(), trainable, jnp.ones((), dtype))
    variance = None if law.uniform else scale**2
    multiplier = jnp.asarray(std, dtype) if law.divided else None
    return Dense(scale * entries, start, multiplier, linear(), trainable, variance)


def _bias(
    entries: Float[Array, "N M"], shifts: Float[Array, " N"] | None, scale: Float[Array, ""]
) -> Float[Array, " N"]:
    """A bias of 0, or its drawn entries times the scale of the weights."""
    if shifts is None:
        return jnp.zeros(entries.shape[0], entries.dtype)
    return scale * shifts
