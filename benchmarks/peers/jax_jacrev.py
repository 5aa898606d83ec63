"""JAX as one writes it first: `vmap` over seeds, a Python loop over a jitted step, `jacrev`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from problem import Case, Records, data, initial

Kernels = Callable[[list[Any], Any], Any]


def output(weights: list[Any], readout: Any, inputs: Any) -> Any:
    """Outputs of one network, shape (n,)."""
    act = inputs
    for weight in weights:
        act = jax.nn.relu(act @ weight)
    return act @ readout


def jacobian_kernels(inputs: Any) -> Kernels:
    """Tangent kernel of each layer from the Jacobian, a function of weights and readout."""

    def kernels(weights: list[Any], readout: Any) -> Any:
        rows = jax.jacrev(output)(weights, readout, inputs)
        flat = [row.reshape(row.shape[0], -1) for row in rows]
        return jnp.stack([one @ one.T for one in flat])

    return kernels


def in_steps(case: Case, dtype: str, make: Callable[[Any], Kernels]) -> Callable[[], Records]:
    """The whole work, once a call, with the kernels that `make` gives for the inputs."""
    inputs, targets = (jnp.asarray(part) for part in data(case, dtype))
    weights, signs = initial(case, dtype)
    start, readouts = [jnp.asarray(weight) for weight in weights], jnp.asarray(signs)
    kernels = make(inputs)

    def loss(weights: list[Any], readout: Any) -> Any:
        return 0.5 * jnp.mean((output(weights, readout, inputs) - targets) ** 2)

    def move(weights: list[Any], readout: Any) -> list[Any]:
        moves = jax.grad(loss)(weights, readout)
        return [w - case.step_size * m for w, m in zip(weights, moves, strict=True)]

    def look(weights: list[Any], readout: Any) -> tuple[Any, ...]:
        residual = output(weights, readout, inputs) - targets
        found = kernels(weights, readout)
        top = jnp.linalg.eigvalsh(found)[..., -1]
        return 0.5 * jnp.mean(residual**2), residual, found, top

    step, observe = jax.jit(jax.vmap(move)), jax.jit(jax.vmap(look))

    def run() -> Records:
        weights = start
        seen = [observe(weights, readouts)]
        for count in range(1, case.steps + 1):
            weights = step(weights, readouts)
            if count % case.every == 0:
                seen.append(observe(weights, readouts))
        return Records(*(np.stack(part, axis=1) for part in zip(*seen, strict=True)))

    return run


def prepare(case: Case, dtype: str) -> Callable[[], Records]:
    """The whole work, once a call."""
    return in_steps(case, dtype, jacobian_kernels)
