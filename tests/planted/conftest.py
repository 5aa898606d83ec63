"""Gradient descent of both layers, many networks at once, for what theory says of its runs."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from jax import lax

from gramdyn.kernels.planted import population_gradient

Descend = Callable[..., tuple[np.ndarray, np.ndarray]]


def _step(hidden: Any, readout: Any, target: Any, eta: float) -> tuple[Any, Any]:
    by_hidden, by_readout = population_gradient(hidden, readout, target)
    return hidden - eta * by_hidden, readout - eta * by_readout


@pytest.fixture(scope="session")
def descend() -> Descend:
    """Weights after steps of descent from a stack of starts; with `every`, those on the way too."""

    def run(
        hidden: Any, readout: Any, target: Any, eta: float, n_steps: int, *, every: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        def one(state: Any, _: Any) -> tuple[Any, None]:
            return jax.vmap(_step, (0, 0, None, None))(*state, target, eta), None

        def some(state: Any, _: Any) -> tuple[Any, Any]:
            moved = lax.scan(one, state, None, every or n_steps)[0]
            return moved, moved if every else None

        def whole(state: Any) -> Any:
            end, path = lax.scan(some, state, None, n_steps // (every or n_steps))
            return path if every else end

        found = jax.jit(whole)((hidden, readout))
        return np.asarray(found[0]), np.asarray(found[1])

    return run
