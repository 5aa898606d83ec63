"""The canary: some releases of jaxlib sum wrongly on CPU, without a word (jax issue 39103).

A vmapped small matrix-vector product followed by a sum, of whole numbers, so that every result is
exact in either precision. Wrong from 16385 rows on in jaxlib 0.10.2, from 32769 in others.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

FORMS = {
    "row is the matrix": (lambda a, x: jnp.sum(a @ x), ("rows", "k", "k"), ("k",)),
    "row is the vector": (lambda a, x: jnp.sum(x @ a), ("rows", "k"), ("k", "k")),
    "squares": (lambda a, x: jnp.sum((x @ a) ** 2), ("rows", "k"), ("k", "k")),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [16385, 32769, 40000])
@pytest.mark.parametrize("form", sorted(FORMS))
def test_sums_of_small_products_are_exact(form: str, rows: int, dtype: str) -> None:
    function, mapped, shared = FORMS[form]
    program = jax.jit(lambda a, x: jax.vmap(lambda one: function(one, x))(a))
    rng = np.random.default_rng(rows)
    for k in (2, 3, 4, 5):
        size = {"rows": rows, "k": k}
        # entries up to 4, so that no sum exceeds 2^24: (5 * 16)^2 * 5 = 32000
        a = rng.integers(-4, 5, size=[size[axis] for axis in mapped])
        x = rng.integers(-4, 5, size=[size[axis] for axis in shared])
        product = a @ x if form == "row is the matrix" else a @ x.T
        wanted = np.sum(product**2 if form == "squares" else product, axis=1)
        found = program(jnp.asarray(a, dtype), jnp.asarray(x, dtype))
        np.testing.assert_array_equal(np.asarray(found), wanted.astype(dtype))


@pytest.mark.parametrize(("dtype", "rows"), [("float64", 16385), ("float32", 32769)])
def test_the_reported_case(dtype: str, rows: int) -> None:
    """The identity times (i, 0, 0), squared and summed: i^2, whose last entry came out wrong."""
    i = jnp.arange(rows, dtype=dtype)
    x = jnp.stack((i, jnp.zeros_like(i), jnp.zeros_like(i)), axis=1)
    matrix = jnp.eye(3, dtype=dtype)
    found = jax.jit(jax.vmap(lambda row: jnp.sum((matrix @ row) ** 2)))(x)
    # i^2 rounded to the dtype, as numpy rounds it
    np.testing.assert_array_equal(np.asarray(found), np.arange(rows, dtype=dtype) ** 2)


def test_the_doctors_canary_is_silent_here_and_can_speak(monkeypatch):
    from gramdyn import _canary

    assert _canary.wrong_sums() == []
    monkeypatch.setattr(_canary, "_is_right", lambda dtype, rows, width: rows != 16385)
    assert "float64 16385 x 3" in _canary.wrong_sums()
