"""Descent of both layers on the population of a planted map from given weights, by the engine."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gramdyn.diagnostics import Record
from gramdyn.dynamics import GradientDescent, Result, simulate_many
from gramdyn.models.activations import linear, relu
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network
from gramdyn.systems.planted import PlantedSystem


def descend_from(
    hidden: Any,
    readout: Any,
    target: Any,
    *,
    step_size: Any,
    n_steps: int,
    every: int,
    look: Sequence[Any] = ("loss",),
) -> Result:
    """Gradient descent from many starts at once, in float64.

    Args:
        hidden: Rows w_i in thin coordinates, shape (starts, k, C + k).
        readout: Rows V_i, shape (starts, k, C).
        target: B in its first C columns, shape (C, C).
        step_size: eta, one or one a start.
        n_steps: Number of steps.
        every: Steps between saved times.
        look: Diagnostics.
    """
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        rows, turned, wanted = (
            jnp.asarray(part, jnp.float64) for part in (hidden, readout, target)
        )
        sizes = jnp.broadcast_to(jnp.asarray(step_size, jnp.float64), rows.shape[:1])

        def build(start: Any) -> Any:
            rows, turned, size = start
            layers = Dense(rows, None, None, relu()), Dense(turned.T, None, None, linear())
            return PlantedSystem(Network(layers), wanted), GradientDescent(size)

        return simulate_many(
            build, (rows, turned, sizes), n_steps, Record(look, every=every), batching="vmap"
        )
