"""Networks of enriched layers: an embedding, layers of one width, a readout."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gramdyn._checks import (
    check,
    check_bool,
    check_known,
    check_number,
    check_positive_int,
    check_widths,
)
from gramdyn._types import Key, Scalar
from gramdyn.models.activations import Activation, linear, tanh
from gramdyn.models.correction import make_correction
from gramdyn.models.enriched import EnrichedLayer
from gramdyn.models.layers import AbstractLayer, Dense
from gramdyn.models.network import Network
from gramdyn.models.pathway import Kind, entries, make_pathway

# Gains of corrections by name, from the number of layers.
ALPHAS = {
    "rezero": lambda depth: 0.0,
    "depth": lambda depth: depth**-0.5,
    "inverse_depth": lambda depth: 1.0 / depth,
}
EMBEDDINGS = ("trained", "fixed", "none")


def enriched_network(
    key: Key,
    n_inputs: int,
    widths: Sequence[int],
    n_outputs: int = 1,
    *,
    pathway: Kind = "orthogonal",
    correction: Kind = "none",
    mode: str = "outside",
    alpha: Scalar | str = 0.1,
    alpha_each: bool = False,
    train_alpha: bool = True,
    train_pathway: bool = True,
    activation: Activation | None = None,
    embedding: str = "trained",
    embedding_activation: Activation | None = None,
    train_readout: bool = True,
    bias: bool = True,
    readout_bias: bool = True,
    weight_scale: Scalar = 1.0,
    output_scale: Scalar = 1.0,
    dtype: type | None = None,
) -> Network:
    """An embedding phi(E x + b), enriched layers, and a dense readout.

    Args:
        key: Random key.
        n_inputs: Inputs d.
        widths: Numbers that each enriched layer hands on, at least one layer; the embedding gives
            as many as the first.
        n_outputs: Outputs C.
        pathway: Kind of `gramdyn.models.PATHWAYS`, or `{"kind": ..., options}`.
        correction: Kind of `gramdyn.models.CORRECTIONS`, or `{"kind": ..., options}`.
        mode: Where the correction is added, "outside" the activation or "inside".
        alpha: Gain of the correction, a number or "rezero" (0), "depth" (L^-1/2), "inverse_depth"
            (1 / L).
        alpha_each: One gain a neuron in place of one a layer.
        train_alpha: Whether gains train.
        train_pathway: Whether pathways train.
        activation: Of the layers; tanh by default.
        embedding: "trained", "fixed", or "none": the inputs enter the first layer themselves.
        embedding_activation: Of the embedding; that of the layers by default.
        train_readout: Whether the readout trains.
        bias: Whether embedding and layers have biases, zero at the start.
        readout_bias: Whether the readout has one.
        weight_scale: Factor on the embedding's entries N(0, 1 / d).
        output_scale: Factor on the readout's entries N(0, 1 / N).
        dtype: Floating type; JAX's default by default.

    Raises:
        InputError: for an unknown kind, option or name, or sizes that a kind cannot have.
    """
    widths = check_widths(widths)
    for name, count in (("n_inputs", n_inputs), ("n_outputs", n_outputs)):
        check_positive_int(name, count)
    check_known("embedding", embedding, EMBEDDINGS)
    named = isinstance(alpha, str)
    check_number("alpha", None if named else alpha)
    check(alpha is not None, "alpha", f"be a number or one of {', '.join(ALPHAS)}", alpha)
    switches = {"bias": bias, "readout_bias": readout_bias, "train_readout": train_readout}
    switches |= {"alpha_each": alpha_each, "train_alpha": train_alpha}
    for name, value in (switches | {"train_pathway": train_pathway}).items():
        check_bool(name, value)
    for name, phi in (("activation", activation), ("embedding_activation", embedding_activation)):
        good = phi is None or isinstance(phi, Activation)
        check(good, name, "be an Activation, as of `make_activation`", phi)
    activation, dtype = activation or tanh(), dtype or jnp.zeros(()).dtype.type
    gain = _gain(alpha, len(widths))
    keys = jax.random.split(key, len(widths) + 2)

    def layer(key: Key, n_in: int, n_out: int) -> EnrichedLayer:
        """One layer of the network, drawn from its own key."""
        first, second = jax.random.split(key)
        beside = make_correction(correction, n_out, n_in, key=second, dtype=dtype)
        gains = jnp.broadcast_to(jnp.asarray(gain, dtype), (n_out,) if alpha_each else ())
        return EnrichedLayer(
            make_pathway(pathway, n_out, n_in, key=first, dtype=dtype),
            beside,
            jnp.zeros(n_out, dtype) if bias else None,
            None if beside is None else gains,
            activation,
            mode=mode,
            train_pathway=train_pathway,
            train_alpha=train_alpha,
        )

    layers: list[AbstractLayer] = []
    if embedding != "none":
        std, trains = weight_scale * n_inputs**-0.5, embedding == "trained"
        phi = embedding_activation or activation
        layers.append(_dense(keys[-2], (widths[0], n_inputs), std, bias, phi, trains, dtype))
    sizes = [n_inputs if embedding == "none" else widths[0], *widths]
    layers += [layer(*own) for own in zip(keys, sizes, widths, strict=False)]
    std, size = output_scale * widths[-1] ** -0.5, (n_outputs, widths[-1])
    readout = _dense(keys[-1], size, std, readout_bias, linear(), train_readout, dtype)
    return Network((*layers, readout))


def _gain(alpha: Scalar | str, depth: int) -> Scalar:
    if not isinstance(alpha, str):
        return alpha
    found: float = ALPHAS[check_known("alpha", alpha, ALPHAS)](depth)
    return found


def _dense(
    key: Key,
    size: tuple[int, int],
    std: Scalar,
    bias: bool,
    activation: Activation,
    trainable: bool,
    dtype: Any,
) -> Dense:
    weight = entries(key, size, std, dtype)
    zeros = jnp.zeros(size[0], dtype) if bias else None
    return Dense(weight, zeros, None, activation, trainable)
