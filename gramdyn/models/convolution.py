"""Convolutions as ordinary layers: one matrix on the patches of every position.

Activations stay flat rows (n, N) between layers, an image of N = positions x channels numbers, its
channels innermost. The rows that the weights act on are the patches of all samples and positions,
so that what is said of W, its Gram and its learning equation holds with those as samples.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gramdyn._checks import check, check_known, check_positive_int, check_widths
from gramdyn._errors import InputError
from gramdyn._types import Key, Scalar
from gramdyn.models.activations import Activation, linear, relu
from gramdyn.models.init import PARAMETRIZATIONS
from gramdyn.models.layers import AbstractLayer, Dense, Pulled, Trace
from gramdyn.models.network import Network

LAWS = ("standard", "tied", "uniform")


class Convolution(AbstractLayer):
    """phi(patches W^T + b) at every position of an image, zeros around its border.

    Attributes:
        weight: One row an output channel, shape (c, side^2 c_in); a patch has its rows, its
            columns, then the channels innermost.
        bias: One number a channel, shape (c,), or None.
        activation: phi.
        image: Height, width and channels of what enters.
        side: Side of a patch, odd; the image is continued by zeros, so that patches are centred.
        stride: Positions from one patch to the next.
        trainable: Whether weight and bias train.

    Cost: a step takes 6 n P c side^2 c_in operations at P positions.
    """

    weight: Float[Array, "c K"]
    bias: Float[Array, " c"] | None
    activation: Activation
    image: tuple[int, int, int] = eqx.field(static=True)
    side: int = eqx.field(static=True)
    stride: int = eqx.field(static=True, default=1)
    trainable: bool = eqx.field(static=True, default=True)
    frozen_leaves: ClassVar[tuple[str, ...]] = ()

    def __check_init__(self) -> None:
        odd = self.side >= 1 and self.side % 2 == 1
        check(odd, "side", "be an odd number of at least 1", self.side)
        fits = self.weight.shape[1] == self.side**2 * self.image[2]
        check(fits, "weight", f"have {self.side**2 * self.image[2]} columns", self.weight.shape)

    @property
    def n_inputs(self) -> int:
        """Numbers of a sample that enter."""
        return math.prod(self.image)

    @property
    def out_image(self) -> tuple[int, int, int]:
        """Height, width and channels of what is handed on."""
        height, width, _ = self.image
        return -(-height // self.stride), -(-width // self.stride), self.weight.shape[0]

    @property
    def places(self) -> Int[np.ndarray, "P K"]:
        """Where in the flat image each entry of each patch is; N_in for one beyond the border."""
        return _places(self.image, self.side, self.stride)

    def patches(self, act: Float[Array, "n N_in"]) -> Float[Array, "n P K"]:
        """The patch at every position."""
        return jnp.pad(act, ((0, 0), (0, 1)))[:, self.places]

    def by_position(self, rows: Float[Array, "n r N"]) -> Float[Array, "n r P c"]:
        """What is flat, position by position."""
        return rows.reshape(*rows.shape[:2], -1, self.weight.shape[0])

    def rows(self, act: Float[Array, "n N_in"]) -> Float[Array, "m K"]:
        """The patches of all samples and positions."""
        return self.patches(act).reshape(-1, self.weight.shape[1])

    def sens_rows(self, sens: Float[Array, "n r N"]) -> Float[Array, "m r c"]:
        """Sensitivities of all samples and positions."""
        found = jnp.swapaxes(self.by_position(sens), 1, 2)
        return found.reshape(-1, *found.shape[2:])

    def forward(self, act: Float[Array, "n N_in"] | None) -> Trace:
        """Fields of this layer for the activations that enter it."""
        assert act is not None
        pre = self.patches(act) @ self.weight.T
        pre = pre if self.bias is None else pre + self.bias[None, None, :]
        pre = pre.reshape(len(act), -1)
        return Trace(act, pre, self.activation.value(pre))

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N_in"]:
        """Each patch's share of the sensitivities put back where the patch was."""
        pulled = self.by_position(sens) @ self.weight
        found = jnp.zeros((*sens.shape[:2], math.prod(self.image) + 1), sens.dtype)
        return found.at[:, :, self.places].add(pulled)[..., :-1]

    def matrix(self) -> Float[Array, "c K"]:
        """W, which multiplies patches."""
        return self.weight

    @property
    def shares_weights(self) -> bool:
        """It does, over positions."""
        return True

    @property
    def factorised(self) -> bool:
        """Its kernel is a sum over pairs of positions."""
        return False

    def gradient(self, trace: Trace, drive: Pulled) -> "Convolution":
        """dLoss/dW = sum over samples and positions of drive patch^T, dLoss/db that of drive."""
        assert trace.inputs is not None
        sens = self.sens_rows(drive.sens[:, None, :])[:, 0]
        bias = None if self.bias is None else jnp.sum(sens, axis=0)
        return eqx.tree_at(
            lambda layer: (layer.weight, layer.bias),
            self,
            (sens.T @ self.rows(trace.inputs), bias),
            is_leaf=lambda leaf: leaf is None,
        )

    def input_gram(self, trace: Trace) -> Float[Array, "n n"]:
        """Not to be had: the kernel is a sum over pairs of positions, no product of two Grams."""
        raise InputError("A convolution has no one Gram of inputs, but one a pair of positions.")

    def lipschitz(self) -> Float[Array, ""]:
        """Not to be had: its matrix multiplies patches, which overlap."""
        raise InputError("A convolution has no bound by the largest singular value of its filters.")

    def by_weights(self, trace: Trace, sens: Float[Array, "n C N"]) -> Float[Array, "n C Q"]:
        """Each output's gradient by the trained numbers: sum over positions of sens patch^T."""
        assert trace.inputs is not None
        at = self.by_position(sens)
        found = jnp.einsum("ncpo,npk->ncok", at, self.patches(trace.inputs))
        flat = found.reshape(*sens.shape[:2], -1)
        return flat if self.bias is None else jnp.concatenate([flat, jnp.sum(at, axis=2)], axis=2)

    def kernel(self, trace: Trace, back: Pulled) -> Float[Array, "n C n C"]:
        """Sum over pairs of positions p, q of (x_p . x'_q (+ 1)) (delta_p . delta'_q).

        Cost: n C Q numbers, Q those trained, and 2 n^2 C^2 Q operations: fewer than the n^2 P^2
            pairs of patches take.
        """
        found = self.by_weights(trace, back.sens)
        return jnp.einsum("mcq,neq->mcne", found, found)

    def kernel_product(
        self, trace: Trace, back: Pulled
    ) -> Callable[[Float[Array, "n C"]], Float[Array, "n C"]]:
        """Function that multiplies a vector by this layer's kernel, the kernel never formed."""
        found = self.by_weights(trace, back.sens)
        return lambda vector: jnp.einsum("mcq,q->mc", found, jnp.einsum("ncq,nc->q", found, vector))

    def step_flops(self, n_samples: int, *, first: bool) -> int:
        """Operations of this layer's share of one gradient step: forward, back, gradient."""
        products = 1 + (not first) + self.trainable
        return products * 2 * n_samples * len(self.places) * self.weight.size


@cache
def _places(image: tuple[int, int, int], side: int, stride: int) -> Int[np.ndarray, "P K"]:
    height, width, channels = image
    reach = np.arange(side) - side // 2
    rows = (np.arange(0, height, stride)[:, None] + reach)[:, None, :, None, None]
    columns = (np.arange(0, width, stride)[:, None] + reach)[None, :, None, :, None]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    found = (rows * width + columns) * channels + np.arange(channels)
    return np.where(inside, found, height * width * channels).reshape(-1, side**2 * channels)


def convolutional_network(
    key: Key,
    image: tuple[int, int, int],
    channels: Sequence[int],
    n_outputs: int = 1,
    *,
    side: int = 3,
    stride: int = 1,
    activation: Activation | None = None,
    parametrization: str = "uniform",
    train_readout: bool = True,
    bias: bool = False,
    readout_bias: bool = False,
    weight_scale: Scalar = 1.0,
    output_scale: Scalar = 1.0,
    dtype: type | None = None,
) -> Network:
    """Convolutions with random weights, and a dense readout of all positions.

    Entries as in `gramdyn.init_network`, with fan_in = side^2 times the channels that enter, and
    for the readout positions times channels: "standard", "tied" or "uniform", what PyTorch's
    layers have.

    Args:
        key: Random key.
        image: Height, width and channels of an input, d = their product.
        channels: Channels of each convolution, at least one convolution.
        n_outputs: Outputs C.
        side: Side of the patches, odd.
        stride: Positions from one patch to the next, in every layer.
        activation: Of the convolutions; ReLU by default.
        parametrization: One of `LAWS`.
        train_readout: Whether the readout trains.
        bias: Whether convolutions have biases.
        readout_bias: Whether the readout has one.
        weight_scale: A multiple of the usual initial weights of the convolutions.
        output_scale: A multiple of the usual readout.
        dtype: Floating type; JAX's default by default.

    Raises:
        InputError: for counts below 1, an even side, or an unknown parametrisation.
    """
    law = PARAMETRIZATIONS[check_known("parametrization", parametrization, LAWS)]
    for name, count in (("side", side), ("stride", stride), ("n_outputs", n_outputs)):
        check_positive_int(name, count)
    check(len(image) == 3, "image", "be height, width and channels", image)
    activation, dtype = activation or relu(), dtype or jnp.zeros(()).dtype.type
    keys = list(jax.random.split(key, 2 * len(channels) + 2))
    gain = 1.0 if law.uniform else activation.gain
    layers: list[AbstractLayer] = []
    for i, count in enumerate(check_widths(channels)):
        fan = side**2 * image[2]
        std = weight_scale * math.sqrt(gain / fan)
        weight, shift = _entries(keys[2 * i :], (count, fan), std, law.uniform, bias, dtype)
        layer = Convolution(weight, shift, activation, image, side, stride)
        image = layer.out_image
        layers.append(layer)
    fan, tied = math.prod(image), weight_scale if law.tied else 1.0
    std = tied * output_scale * fan**-0.5
    weight, shift = _entries(keys[-2:], (n_outputs, fan), std, law.uniform, readout_bias, dtype)
    return Network((*layers, Dense(weight, shift, None, linear(), train_readout)))


def _entries(
    keys: Sequence[Key], shape: tuple[int, int], std: Scalar, uniform: bool, bias: bool, dtype: type
) -> tuple[Float[Array, "c K"], Float[Array, " c"] | None]:
    """Weights, and a bias of the same law where it is uniform, 0 otherwise."""
    std = jnp.asarray(std, dtype)
    if not uniform:
        zeros = jnp.zeros(shape[0], dtype) if bias else None
        return std * jax.random.normal(keys[0], shape, dtype), zeros
    draw = lambda key, shape: std * jax.random.uniform(key, shape, dtype, -1.0, 1.0)  # noqa: E731
    return draw(keys[0], shape), draw(keys[1], shape[:1]) if bias else None
