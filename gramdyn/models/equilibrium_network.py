"""Networks of one equilibrium layer and a readout."""

from typing import Any

import jax
import jax.numpy as jnp

from gramdyn._checks import check_bool, check_known, check_positive_int
from gramdyn._types import Key, Scalar
from gramdyn.models.activations import linear
from gramdyn.models.enriched import EnrichedLayer
from gramdyn.models.enriched_network import enriched_network
from gramdyn.models.equilibrium import EquilibriumLayer
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network
from gramdyn.models.pathway import Kind, entries

EMBEDDINGS = ("trained", "fixed")


def equilibrium_network(
    key: Key,
    n_inputs: int,
    width: int,
    n_outputs: int = 1,
    *,
    pathway: Kind | None = None,
    embedding: str = "trained",
    bias: bool = True,
    weight_scale: Scalar = 1.0,
    dtype: type | None = None,
    tol: float | None = None,
    max_steps: int = 1000,
    **options: Any,
) -> Network:
    """An equilibrium layer and a dense readout.

    Args:
        key: Random key.
        n_inputs: Inputs d.
        width: Numbers N of the loop.
        n_outputs: Outputs C.
        pathway: As of `enriched_network`; by default orthogonal with gain 0.8.
        embedding: Whether W_x and b train: "trained" or "fixed".
        bias: Whether there is a b, zero at the start.
        weight_scale: Factor on the entries N(0, 1 / d) of W_x.
        dtype: Floating type; JAX's default by default.
        tol: As of `EquilibriumLayer`.
        max_steps: As of `EquilibriumLayer`.
        options: Others of `enriched_network`: correction, mode, alpha, activation, those of the
            readout, ...

    Raises:
        InputError: as `enriched_network`.
    """
    check_known("embedding", embedding, EMBEDDINGS)
    check_positive_int("n_inputs", n_inputs)
    check_bool("bias", bias)
    own, other = jax.random.split(key)
    pathway = {"kind": "orthogonal", "gain": 0.8} if pathway is None else pathway
    options |= {"pathway": pathway, "embedding": "none", "bias": False, "dtype": dtype}
    cell, readout = enriched_network(own, width, (width,), n_outputs, **options).layers
    weight = entries(other, (width, n_inputs), weight_scale * n_inputs**-0.5, dtype)
    zeros = jnp.zeros(width, weight.dtype) if bias else None
    inject = Dense(weight, zeros, None, linear(), embedding == "trained")
    assert isinstance(cell, EnrichedLayer)
    return Network((EquilibriumLayer(cell, inject, tol, max_steps), readout))
