"""Gram coordinates: the input layer as its preactivations, and its weights rebuilt from them.

`pre = X~ W~^T` with X~ = [scale X, 1] and W~ = [W, b] (the last column only with a bias). Gradients
move W~ inside the span of the rows of X~, weight decay shrinks all of it by one common factor, so

    W~(t) = X~^+ pre(t) + outside(t) (I - X~^+ X~) W~(0)

exactly, for every scheme linear in the gradient. Source: arXiv 2606.09744, input elimination.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check
from gramdyn.kernels.gram import act_gram, layer_gram
from gramdyn.models.layers import AbstractLayer, Dense, GramDense

# Measured: an n x n product replaces two n x d ones, and they break even near n = 1.2 d.
_BREAK_EVEN = 1.2


def choose_coordinates(n_samples: int, n_inputs: int) -> str:
    """The coordinates with the cheaper first layer: "gram" up to n = 1.2 d, else "weights"."""
    return "gram" if n_samples <= _BREAK_EVEN * n_inputs else "weights"


def to_gram(
    layer: Dense, inputs: Float[Array, "n d"], input_gram: Float[Array, "n n"] | None = None
) -> GramDense:
    """The first layer in Gram coordinates; `input_gram` is X X^T where it is at hand."""
    check(not layer.residual, "network", "not begin with a residual layer", "residual")
    bias = layer.bias is not None
    gram = act_gram(inputs) if input_gram is None else input_gram
    gram = layer_gram(gram, scale=layer.scale, bias=bias)
    pre = layer.forward(inputs).pre
    outside, variance = jnp.ones((), pre.dtype), layer.weight_variance
    return GramDense(pre, outside, gram, layer.activation, layer.trainable, variance, bias)


def rebuild_first_layer(layer: AbstractLayer, origin: Dense, inputs: Float[Array, "n d"]) -> Dense:
    """Weights and bias of a first layer in Gram coordinates.

    Args:
        layer: The layer now.
        origin: The layer at t = 0, in weight coordinates.
        inputs: Training inputs, shape (n, d).

    Cost: one singular value decomposition of the inputs, n d min(n, d).
    """
    assert isinstance(layer, GramDense)
    seen = inputs if origin.scale is None else origin.scale * inputs
    start = origin.weight
    if origin.bias is not None:
        seen = jnp.concatenate([seen, jnp.ones((seen.shape[0], 1), seen.dtype)], axis=1)
        start = jnp.concatenate([start, origin.bias[:, None]], axis=1)
    left, values, right = jnp.linalg.svd(seen, full_matrices=False)
    kept = values > max(seen.shape) * jnp.finfo(seen.dtype).eps * values[0]
    inverse = jnp.where(kept, 1.0 / jnp.where(kept, values, 1.0), 0.0)
    right = jnp.where(kept[:, None], right, 0.0)
    inside = ((layer.pre.T @ left) * inverse[None, :]) @ right
    found = inside + layer.outside * (start - (start @ right.T) @ right)
    bias = None if origin.bias is None else found[:, -1]
    weight = found if bias is None else found[:, :-1]
    return eqx.tree_at(
        lambda tree: (tree.weight, tree.bias), origin, (weight, bias), is_leaf=lambda x: x is None
    )
