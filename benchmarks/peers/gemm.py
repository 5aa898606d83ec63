"""What the core can do at best: the highest rate of a float32 product by XLA, in this process."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from problem import Case

SQUARES = (128, 256, 512, 1024)
# A first guess of the rate sets how many products a measurement starts with.
_GUESS, _SECONDS = 1e11, 0.1


def shapes(case: Case) -> list[tuple[int, int, int]]:
    """Sizes (m, k, l) of products (m, k) @ (k, l): squares, and those of the case."""
    n, width = case.n_samples, case.width
    return [*((size, size, size) for size in SQUARES), (n, width, width), (n, n, width)]


@functools.partial(jax.jit, static_argnames="times")
def _products(left: Any, right: Any, times: int) -> Any:
    """There and back: left @ right, then that @ right^T, so many times."""
    return jax.lax.fori_loop(0, times, lambda _, x: (x @ right) @ right.T, left)


def rate(m: int, k: int, l: int) -> float:  # noqa: E741
    """Operations a CPU second of products of these sizes."""
    rng = np.random.default_rng(0)
    left = jnp.asarray(rng.normal(size=(m, k)), jnp.float32)
    # Orthonormal columns or rows, so that the numbers keep their size.
    tall = np.linalg.qr(rng.normal(size=(max(k, l), min(k, l))))[0]
    right = jnp.asarray(tall if k >= l else tall.T, jnp.float32)
    each = 4.0 * m * k * l
    times = max(1, int(_SECONDS * _GUESS / each / 2))
    _products(left, right, times).block_until_ready()
    calls, begun = 0, time.process_time()
    while time.process_time() - begun < _SECONDS:
        _products(left, right, times).block_until_ready()
        calls += 1
    return each * times * calls / (time.process_time() - begun)


def best_rate(case: Case) -> float:
    """The highest of the rates."""
    return max(rate(*shape) for shape in shapes(case))
