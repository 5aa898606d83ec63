"""The same method in bare JAX, without a system, a scheme, a record or a status in sight.

The least that does this work: the difference to `library` is what the library's parts cost.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from problem import Case, Records, data, initial

from gramdyn.kernels.spectra import top_eigenvalues


def prepare(case: Case, dtype: str) -> Callable[[], Records]:
    """The whole work, once a call."""
    given = jax.tree.map(jnp.asarray, (*data(case, dtype), initial(case, dtype)))
    # Data are arguments: as constants XLA would compute their Gram while it compiles, and slowly.
    with jax.default_matmul_precision("highest"):
        program = jax.jit(functools.partial(work, case)).lower(*given).compile()
    return lambda: Records(*(np.asarray(part) for part in program(*given)))


def work(case: Case, inputs: Any, targets: Any, states: Any) -> tuple[Any, ...]:
    """Everything that is recorded of all networks, traceable."""
    rate = case.step_size / case.n_samples

    def forward(layers: list[Any], readout: Any) -> tuple[list[Any], Any]:
        """Activations of each layer, residual; the first of `layers` may be preactivations."""
        first = layers[0] if case.gram else inputs @ layers[0]
        acts = [jnp.maximum(first, 0)]
        for weight in layers[1:]:
            acts.append(jnp.maximum(acts[-1] @ weight, 0))
        return acts, acts[-1] @ readout - targets

    def backward(layers: list[Any], acts: list[Any], conj: Any) -> list[Any]:
        """What comes back to the preactivations of each layer."""
        found = [jnp.where(acts[-1] > 0, conj, 0)]
        for weight, act in zip(layers[:0:-1], acts[-2::-1], strict=True):
            found.append(jnp.where(act > 0, found[-1] @ weight.T, 0))
        return found[::-1]

    def descend(gram: Any, layers: list[Any], acts: list[Any], drives: list[Any]) -> list[Any]:
        """The layers a step later."""
        first = (gram if case.gram else inputs.T) @ drives[0]
        moves = [first, *(act.T @ one for act, one in zip(acts[:-1], drives[1:], strict=True))]
        return [layer - rate * move for layer, move in zip(layers, moves, strict=True)]

    def observe(gram: Any, acts: list[Any], residual: Any, sens: list[Any]) -> tuple[Any, ...]:
        grams = [gram, *(act @ act.T for act in acts[:-1])]
        kernels = jnp.stack([g * (one @ one.T) for g, one in zip(grams, sens, strict=True)])
        top = lax.map(lambda kernel: top_eigenvalues(kernel)[0], kernels)
        return 0.5 * jnp.mean(residual**2), residual, kernels, top

    def trajectory(state: tuple[list[Any], Any]) -> tuple[Any, ...]:
        layers, readout = state
        gram = inputs @ inputs.T
        if case.gram:
            layers = [inputs @ layers[0], *layers[1:]]

        def step(_: Any, layers: list[Any]) -> list[Any]:
            acts, residual = forward(layers, readout)
            drives = backward(layers, acts, residual[:, None] * readout)
            return descend(gram, layers, acts, drives)

        def look(layers: list[Any]) -> tuple[Any, ...]:
            acts, residual = forward(layers, readout)
            return acts, residual, backward(layers, acts, readout)

        def save(layers: list[Any], _: Any) -> tuple[list[Any], Any]:
            acts, residual, sens = look(layers)
            seen = observe(gram, acts, residual, sens)
            layers = descend(gram, layers, acts, [residual[:, None] * one for one in sens])
            return lax.fori_loop(1, case.every, step, layers), seen

        layers, seen = lax.scan(save, layers, length=case.records - 1)
        end = observe(gram, *look(layers))
        return tuple(jnp.concatenate([a, b[None]]) for a, b in zip(seen, end, strict=True))

    return lax.map(trajectory, states)
