"""Gradient flow of deep linear networks from given weights, by the engine, in float64."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gramdyn.data.moments import Moments, task_moments
from gramdyn.data.task import make_task
from gramdyn.deep_linear import Weights
from gramdyn.diagnostics import Record
from gramdyn.dynamics import simulate_many
from gramdyn.dynamics.registry import make_gradient_flow
from gramdyn.models.activations import linear
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network
from gramdyn.systems.make import make_moment_system
from gramdyn.systems.moments import MomentFields

Look = Callable[[MomentFields], dict[str, Array]]


@dataclass(frozen=True)
class Flow:
    """Gradient flow from several starts of equal widths.

    Attributes:
        times: Saved times, shape (T,).
        records: Named arrays, shape (starts, T, ...).
        weights: Weights at the end, W_l of shape (starts, d_l, d_{l-1}).
    """

    times: Float[np.ndarray, " T"]
    records: dict[str, np.ndarray]
    weights: tuple[np.ndarray, ...]


def map_of(fields: MomentFields) -> dict[str, Float[Array, "C d"]]:
    """Record of the map of a network."""
    return {"map": fields.map}


def white_moments(target: Float[np.ndarray, "C d"]) -> Moments:
    """The moments of white inputs and a linear target: loss = 1/2 |T - Pi|^2."""
    return task_moments(make_task(np.eye(target.shape[1]), target.T))


def flow_from(
    starts: Sequence[Weights],
    moments: Moments,
    *,
    step: float,
    n_steps: int,
    every: int,
    look: Sequence[str | Look] = ("loss",),
    method: Literal["rk4", "midpoint"] = "rk4",
) -> Flow:
    """Gradient flow from given weights.

    Args:
        starts: Weights W_1 to W_L of each start, all of the same widths.
        moments: The data.
        step: Time step.
        n_steps: Number of steps.
        every: Steps between saved times.
        look: Diagnostics.
        method: "rk4", or "midpoint", which keeps what the flow conserves.
    """
    scheme = make_gradient_flow(step_size=step, method=method)

    def build(weights: tuple[Any, ...]) -> Any:
        layers = tuple(Dense(weight, None, None, linear()) for weight in weights)
        return make_moment_system(Network(layers), moments), scheme

    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        stacked = tuple(jnp.asarray(np.stack(layer)) for layer in zip(*starts, strict=True))
        record = Record(look, every=every)
        found = simulate_many(build, stacked, n_steps, record, batching="vmap")
        records = {name: np.asarray(array) for name, array in found.records.items()}
        weights = tuple(np.asarray(layer.weight) for layer in found.state.layers)
    return Flow(found.steps * step, records, weights)
