"""Gram whitening: an optimiser's steps without their part that leaves the weight Grams alone."""

from typing import TYPE_CHECKING, Any

import jax
from jaxtyping import Array

from gramdyn._checks import check, check_known, check_positive_int
from gramdyn.kernels.polar import METHODS, nearest_with_gram

if TYPE_CHECKING:
    import optax

PARTS = ("gram", "rotation")


def gram_whitening(
    inner: "optax.GradientTransformation",
    *,
    method: str = "svd",
    steps: int = 10,
    reshape_nd: bool = False,
    keep: str = "gram",
) -> "optax.GradientTransformation":
    """An optax optimiser whose step of each matrix is polar(W (W + U)^T) (W + U) - W.

    U is the step of the inner optimiser, so W + U is where it wants to go. With the exact polar
    factor the weights get the Gram (W + U)^T (W + U) it wants, by the shortest way: to first order
    the step is U less its rotations B W, B skew. Rows are outputs of a layer. The memory of the
    inner optimiser, such as momentum, stays in its own frame; weight decay of it is inside U.

    Args:
        inner: Any gradient transformation that gives the steps themselves, such as `optax.sgd`.
        method: "svd", the exact factor, with which no gradient means no step; or "newton_schulz",
            whose iteration deletes weak directions of the weights in the long run.
        steps: Steps of Newton-Schulz.
        reshape_nd: Whether arrays with more axes, such as kernels of convolutions, are taken as
            matrices (first axis, rest); they are left to the inner optimiser otherwise, as biases
            are.
        keep: "gram", the part that moves the weight Grams; or "rotation", the rest, a control
            under which no Gram moves: polar((W + U) W^T) W - W.

    Returns:
        A gradient transformation whose `update` needs the parameters.

    Raises:
        InputError: for an unknown method or part, fewer than one step, or an update without
            parameters.

    Cost: a singular value decomposition of an N x N matrix a layer of N outputs and step, or
        6 N^3 operations a step of Newton-Schulz.
    Source: arXiv 2605.06258.
    """
    import optax

    good = hasattr(inner, "init") and hasattr(inner, "update")
    check(good, "inner", "be a gradient transformation such as optax.sgd(0.1)", inner)
    check_known("method", method, METHODS)
    check_positive_int("steps", steps)
    check_known("part", keep, PARTS)

    def whiten(step: Array, weight: Array) -> Array:
        if weight.ndim < 2 or (weight.ndim > 2 and not reshape_nd):
            return step
        rows = weight.reshape(weight.shape[0], -1)
        wanted = rows + step.reshape(rows.shape)
        near, gram = (rows, wanted) if keep == "gram" else (wanted, rows)
        found = nearest_with_gram(near, gram, method=method, steps=steps)
        return (found - rows).reshape(weight.shape)

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        check(params is not None, "params", "be given to gram_whitening", params)
        found, state = inner.update(grads, state, params)
        return jax.tree.map(whiten, found, params), state

    return optax.GradientTransformation(inner.init, update)
