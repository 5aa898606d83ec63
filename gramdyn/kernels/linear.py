"""Deep linear networks: products of the weights, gradient flow, what it conserves.

Weights are numbered 1 to L from the inputs, W_l of shape (d_l, d_{l-1}); the map is
Pi = W_L ... W_1. The data enter by two moments alone, Sxx = s X^T X and Syx = s Y^T X, so that the
loss is 1/2 |(T - Pi) Sxx^(1/2)|_F^2 + floor with T = Syx Sxx^+.

The gradient is made of row fields with as many rows as outputs: what a layer's output does to the
network's, and the error pulled through the layers below. So a step costs what one of a network
with d_L samples costs, whatever the number of samples.

Source: arXiv 2511.10362; Saxe, McClelland and Ganguli, arXiv 1312.6120.
"""

import functools
import itertools
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._types import Scalar

Weights = Sequence[Float[Array, "_ _"]]

# Measured on CPU, under a batch and not: below so many multiplications a sum of products, which the
# compiler fuses with what is around it, beats a call into the matrix library, by 30 times at 4 x 4.
_SMALL = 4096


def multiply(left: Float[Array, "N K"], right: Float[Array, "K M"]) -> Float[Array, "N M"]:
    """Matrix product, that of small matrices without a call into a library."""
    if left.size * right.shape[1] > _SMALL:
        return left @ right
    return jnp.sum(left[:, :, None] * right[None, :, :], axis=1)


def maps_above(weights: Weights) -> tuple[Float[Array, "dL _"], ...]:
    """W_L ... W_{l+1} for l = 0 to L - 1: the whole map first, the last layer's weights last.

    Cost: d_L sum_l d_l d_{l-1} multiplications.
    """
    found = itertools.accumulate(reversed(weights), multiply)
    return tuple(reversed(list(found)))


def pulled_errors(
    weights: Weights, error: Float[Array, "dL d0"]
) -> tuple[Float[Array, "dL _"], ...]:
    """Error (W_l ... W_1)^T for l = 0 to L - 1: what the error is to the input of each layer.

    Args:
        weights: W_1 to W_L.
        error: (T - Pi) Sxx, minus the gradient of the loss by the map, shape (d_L, d_0).
    """
    return tuple(
        itertools.accumulate(weights[:-1], lambda rows, w: multiply(rows, w.T), initial=error)
    )


def descent_direction(
    weights: Weights,
    error: Float[Array, "dL d0"],
    above: tuple[Float[Array, "dL _"], ...] | None = None,
) -> tuple[Float[Array, "_ _"], ...]:
    """Minus the gradient: (W_L ... W_{l+1})^T error (W_{l-1} ... W_1)^T for each layer.

    Args:
        weights: W_1 to W_L.
        error: (T - Pi) Sxx, shape (d_L, d_0).
        above: What `maps_above` gives, where it is at hand.
    """
    above = maps_above(weights) if above is None else above
    pulled = pulled_errors(weights, error)
    below_top = [multiply(upper.T, rows) for upper, rows in zip(above[1:], pulled, strict=False)]
    return (*below_top, pulled[-1])


def conserved_quantities(weights: Weights) -> tuple[Float[Array, "_ _"], ...]:
    """C_l = W_{l+1}^T W_{l+1} - W_l W_l^T for l = 1 to L - 1, constant under gradient flow.

    For every loss of the map, any data, any target that moves: W_{l+1}^T dW_{l+1}/dt and
    (dW_l/dt) W_l^T are one matrix. Under weight decay lambda |W|^2 / 2 they shrink as
    exp(-2 lambda t). Momentum, Adam and noise do not conserve them.
    """
    return tuple(
        multiply(up.T, up) - multiply(low, low.T) for low, up in itertools.pairwise(weights)
    )


def conserved_increment(gradients: Weights, step_size: Scalar) -> tuple[Float[Array, "_ _"], ...]:
    """Change of each C_l in one step of gradient descent, exactly.

    It is eta^2 (g_{l+1}^T g_{l+1} - g_l g_l^T), the C_l of the gradients: the terms of first
    order cancel, so that over a fixed time the drift is of order eta.
    """
    return tuple(step_size**2 * found for found in conserved_quantities(gradients))


def layer_map_velocities(
    weights: Weights,
    error: Float[Array, "dL d0"],
    above: tuple[Float[Array, "dL _"], ...] | None = None,
) -> Float[Array, "L dL d0"]:
    """Share of each layer in dPi/dt = sum_l B_l error F_{l-1}, shape (L, d_L, d_0).

    B_l = (W_L ... W_{l+1})(W_L ... W_{l+1})^T and F_{l-1} = (W_{l-1} ... W_1)^T (W_{l-1} ... W_1):
    on training inputs it is the residual law with the layer kernels of a network whose masks are 1.
    """
    above = maps_above(weights) if above is None else above
    moves = descent_direction(weights, error, above)
    found = []
    for i, move in enumerate(moves):
        rows = move if i + 1 == len(weights) else multiply(above[i + 1], move)
        found.append(functools.reduce(multiply, reversed(weights[:i]), rows))
    return jnp.stack(found)
