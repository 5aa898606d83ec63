"""The toolchain's canary: sums that some versions of jaxlib get wrong on CPU without a word.

jax issue 39103: a vmapped small matrix-vector product with a sum in each row, from 16385 rows on in
jaxlib 0.10.2, and in float32 from 32769 rows on in 0.9.1 to 0.10.1. Integers make it exact.
"""

import jax
import jax.numpy as jnp
import numpy as np

ROWS = (16385, 32769, 40000)
WIDTHS = (2, 3, 4, 5, 8)


def wrong_sums() -> list[str]:
    """The cases whose sums are wrong here, such as "float32 16385 x 3"; none on a sound jaxlib."""
    cases = [(d, n, k) for d in ("float32", "float64") for n in ROWS for k in WIDTHS]
    return [f"{d} {n} x {k}" for d, n, k in cases if not _is_right(d, n, k)]


def _is_right(dtype: str, rows: int, width: int) -> bool:
    draw = np.random.default_rng(rows + width)
    matrix = draw.integers(-2, 3, (width, width))
    vectors = draw.integers(-2, 3, (rows, width))
    with jax.enable_x64(dtype == "float64"):
        operands = jnp.asarray(matrix, dtype), jnp.asarray(vectors, dtype)
        sums = jax.jit(lambda a, x: jax.vmap(lambda row: jnp.sum((a @ row) ** 2))(x))(*operands)
        return np.array_equal(np.asarray(sums), ((vectors @ matrix.T) ** 2).sum(axis=1))
