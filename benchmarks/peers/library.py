"""This library, as its user writes it."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from problem import Case, Records, data, initial

import gramdyn as gd
from gramdyn.models import Dense

WANTED = ("loss", "residual", "layer_kernels", "top_eigenvalues")


class Build(eqx.Module):
    """One run, from its initial weights."""

    task: gd.Task
    step_size: float = eqx.field(static=True)

    def __call__(self, params: Any) -> Any:
        weights, signs = params
        hidden = [Dense(weight, None, None, gd.relu()) for weight in weights]
        readout = Dense(signs[None], None, None, gd.linear(), trainable=False)
        system = gd.make_system(
            gd.Network((*hidden, readout)), self.task, loss=gd.SquaredLoss("mean")
        )
        return system, gd.GradientDescent(self.step_size)


def simulation(case: Case, dtype: str, of: tuple[str, ...] = WANTED) -> Callable[[], gd.Result]:
    """The work of the case with these diagnostics, once a call."""
    weights, signs = initial(case, dtype)
    # One row a neuron, as this library has them.
    params = ([jnp.asarray(weight.swapaxes(1, 2)) for weight in weights], jnp.asarray(signs))
    build = Build(gd.make_task(*data(case)).cast(dtype), case.step_size)
    record = gd.Record(of, every=case.every)

    def run() -> gd.Result:
        found = gd.simulate_many(build, params, case.steps, record)
        jax.block_until_ready(found.records)
        return found

    return run


def prepare(case: Case, dtype: str) -> Callable[[], Records]:
    """The whole work, once a call."""
    run = simulation(case, dtype)
    n, shape = case.n_samples, (case.seeds, case.records)

    def records() -> Records:
        found = run()
        return Records(
            np.asarray(found["loss"]),
            np.asarray(found["residual"]).reshape(*shape, n),
            np.asarray(found["layer_kernels"]).reshape(*shape, case.depth, n, n),
            np.asarray(found["layer_top_eigenvalues"])[..., 0],
        )

    return records
