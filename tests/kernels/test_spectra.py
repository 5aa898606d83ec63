"""Eigenvalues against numpy.linalg.eigvalsh in float64, on kernels and on nasty matrices."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gramdyn._errors import InputError
from gramdyn.kernels.spectra import spectrum, top_eigenvalues, top_eigenvalues_of

# Relative to the largest eigenvalue. The residual rule alone promises 1e-4 and 1e-8.
TOLERANCE = {"float32": 1e-4, "float64": 1e-8}
DTYPES = sorted(TOLERANCE)


def relu_kernels(n: int, depth: int, d: int, seed: int = 0) -> list[np.ndarray]:
    """Layer kernels of a random ReLU network, first layer first."""
    rng = np.random.default_rng(seed)
    act = rng.normal(size=(n, d)) / np.sqrt(d)
    acts, masks, weights = [act], [], []
    for _ in range(depth):
        weights.append(rng.normal(size=(2 * n, act.shape[1])) * np.sqrt(2 / act.shape[1]))
        pre = act @ weights[-1].T
        masks.append(1.0 * (pre > 0))
        act = pre * masks[-1]
        acts.append(act)
    sens = masks[-1] * rng.normal(size=(1, 2 * n)) / np.sqrt(2 * n)
    kernels = []
    for layer in reversed(range(depth)):
        kernels.append((acts[layer] @ acts[layer].T) * (sens @ sens.T))
        if layer:
            sens = masks[layer - 1] * (sens @ weights[layer])
    return kernels[::-1]


def with_eigenvalues(values, seed: int = 0) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values),) * 2))
    matrix = (turn * values) @ turn.T
    return (matrix + matrix.T) / 2


def second_differences(m: int) -> np.ndarray:
    return 2 * np.eye(m) - np.eye(m, k=1) - np.eye(m, k=-1)


def mirrored(m: int) -> np.ndarray:
    """Kernel of inputs that come in pairs x, -x: every eigenvector is odd."""
    half = with_eigenvalues(np.arange(1.0, m // 2 + 1))
    return np.block([[half, -half], [-half, half]])


@cache
def nasty_cases(m: int) -> dict[str, np.ndarray]:
    i = np.arange(m)
    falling = 1 - i / m
    cases = {
        f"relu depth {depth} layer {layer + 1}": kernel
        for depth in (1, 2, 3)
        for layer, kernel in enumerate(relu_kernels(m, depth, d=m))
    }
    return cases | {
        "relu few inputs": relu_kernels(m, 1, d=8)[0],
        "relu many inputs": relu_kernels(m, 1, d=8 * m)[0],
        "zero": np.zeros((m, m)),
        "identity": np.eye(m),
        "ones": np.ones((m, m)),
        "one entry": np.diag(1.0 * (i == m // 2)),
        "rank one": with_eigenvalues(i == 0),
        "rank three": with_eigenvalues([3, 2, 1] + [0] * (m - 3)),
        "half of full rank": with_eigenvalues(falling * (i < m // 2)),
        "two values": with_eigenvalues(1.0 + (i < m // 2)),
        "double at the top": with_eigenvalues([2, 2, *falling[2:]]),
        "rank one and dust": with_eigenvalues([1] + [1e-7] * (m - 1)),
        "one far above the rest": with_eigenvalues([1e4, *falling[1:]]),
        "diagonal": np.diag(1.0 + i),
        "even spacing": with_eigenvalues(falling),
        "square-root edge": with_eigenvalues(1 - (i / m) ** (2 / 3)),
        "geometric": with_eigenvalues(0.7**i),
        "close pair": with_eigenvalues([1, 1 - 1e-6, *(0.5 * falling[2:])]),
        "cluster of ten": with_eigenvalues([*(1 - 1e-3 * i[:10]), *(0.9 * falling[10:])]),
        "all in a cluster": with_eigenvalues(1 - 1e-3 * i / m),
        "second differences": second_differences(m),
        "mirrored": mirrored(m),
    }


def exact(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.eigvalsh(np.asarray(matrix, dtype=np.float64))[::-1]


def close(found, true, tolerance: float) -> None:
    found = np.asarray(found, dtype=np.float64)
    assert found.shape == true.shape
    assert np.max(np.abs(found - true)) <= tolerance * abs(true[0])


@cache
def compiled(n_top: int):
    """One compiled function a setting, shared by all cases."""
    return jax.jit(lambda matrix: top_eigenvalues(matrix, n_top))


@cache
def compiled_operator(n_top: int):
    def top(matrix):
        return top_eigenvalues_of(lambda v: matrix @ v, len(matrix), matrix.dtype, n_top)

    return jax.jit(top)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [32, 100])
@pytest.mark.parametrize("n_top", [1, 3])
@pytest.mark.parametrize("case", nasty_cases(32))
def test_equals_the_dense_eigenvalues(case, n_top, m, dtype):
    matrix = nasty_cases(m)[case].astype(dtype)
    found = compiled(n_top)(jnp.asarray(matrix))
    assert found.dtype == dtype
    close(found, exact(matrix)[:n_top], TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_of_networks_reach_rounding(dtype):
    """What the residual rule gives in practice, far below what it promises."""
    for seed in range(4):
        for kernel in relu_kernels(128, 2, d=128, seed=seed):
            matrix = kernel.astype(dtype)
            tolerance = 3e-6 if dtype == "float32" else 1e-13
            close(compiled(1)(jnp.asarray(matrix)), exact(matrix)[:1], tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_top", [12, 40])
def test_many_eigenvalues(n_top, dtype):
    matrix = relu_kernels(128, 1, d=128)[0].astype(dtype)
    close(top_eigenvalues(jnp.asarray(matrix), n_top), exact(matrix)[:n_top], TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_top", [1, 6])
@pytest.mark.parametrize("rank", [7, 25, 100])
def test_multiple_eigenvalues_of_an_unscaled_operator(rank, n_top, dtype):
    """Every step ends in a breakdown here: single passes gave 500 for the identity."""
    matrix = with_eigenvalues(np.arange(100) < rank).astype(dtype)
    found = compiled_operator(n_top)(jnp.asarray(matrix))
    close(found, exact(matrix)[:n_top], TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [1, 2, 7, 23, 24, 25])
def test_small_matrices(m, dtype):
    matrix = with_eigenvalues(1.0 + np.arange(m)).astype(dtype)
    for n_top in {1, min(2, m), m}:
        found = top_eigenvalues(jnp.asarray(matrix), n_top)
        close(found, exact(matrix)[:n_top], TOLERANCE[dtype])
    close(spectrum(jnp.asarray(matrix)), exact(matrix), TOLERANCE[dtype])


@pytest.mark.parametrize("factor", [1e-30, 1e-15, 1e15, 1e30])
@pytest.mark.parametrize("case", ["relu depth 1 layer 1", "identity", "ones", "diagonal"])
def test_badly_scaled_float32(case, factor):
    matrix = (nasty_cases(64)[case] * factor).astype("float32")
    close(compiled(1)(jnp.asarray(matrix)), exact(matrix)[:1], 1e-4)
    found = compiled_operator(2)(jnp.asarray(matrix))
    close(found, exact(matrix)[:2], 1e-4)


@pytest.mark.parametrize("m", [1, 5, 64])
def test_not_finite_gives_nan(m):
    broken = []
    for bad in (np.nan, np.inf, -np.inf):
        corner, pair = np.eye(m), np.eye(m)
        corner[-1, -1] = bad
        pair[m // 2, m // 3] = pair[m // 3, m // 2] = bad
        broken += [corner, pair, np.full((m, m), bad)]
    for matrix in jnp.asarray(np.stack(broken), jnp.float32):
        assert np.all(np.isnan(compiled(1)(matrix)))
        assert np.all(np.isnan(compiled_operator(1)(matrix)))
        assert np.all(np.isnan(spectrum(matrix)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("m", [5, 64])
def test_operator_form(m, dtype):
    factor = jnp.asarray(np.random.default_rng(1).normal(size=(m, 2 * m)), dtype)
    true = exact(np.asarray(factor, np.float64) @ np.asarray(factor, np.float64).T)[:2]
    for scale in (None, jnp.asarray(m, dtype)):
        found = jax.jit(
            lambda f, s: top_eigenvalues_of(lambda v: f @ (v @ f), m, f.dtype, 2, scale=s)
        )(factor, scale)
        assert found.dtype == dtype
        close(found, true, TOLERANCE[dtype])


def test_products_are_limited():
    """A limit below what convergence takes gives a lower bound; a generous one changes nothing."""
    matrix = jnp.asarray(second_differences(64), jnp.float64)
    true = exact(second_differences(64))[0]
    few, more, full = (float(top_eigenvalues(matrix, n_iter=n)[0]) for n in (1, 24, 100000))
    assert 0.9 * true < few < more < full
    assert full == float(top_eigenvalues(matrix)[0])
    np.testing.assert_allclose(full, true, rtol=1e-8)


def test_vmap_map_scan_and_single_agree():
    """Easy, hard, zero and broken matrices in one batch: each result is as for the matrix alone."""
    cases = nasty_cases(64)
    names = ["relu depth 1 layer 1", "zero", "second differences", "identity", "cluster of ten"]
    batch = np.stack([cases[name] for name in names] + [np.full((64, 64), np.nan)])
    batch = jnp.asarray(batch, jnp.float64)

    def top_two(matrix):
        return top_eigenvalues(matrix, 2)

    single = np.stack([compiled(2)(matrix) for matrix in batch])
    by_map = jax.jit(lambda b: jax.lax.map(top_two, b))(batch)
    by_chunks = jax.jit(lambda b: jax.lax.map(top_two, b, batch_size=4))(batch)
    by_vmap = jax.jit(jax.vmap(top_two))(batch)
    _, by_scan = jax.lax.scan(lambda carry, matrix: (carry, top_two(matrix)), None, batch)
    assert np.all(np.isnan(single[-1]))
    for other in (by_map, by_chunks, by_vmap, by_scan):
        np.testing.assert_allclose(other, single, rtol=1e-12, atol=1e-14)


def test_arguments_are_checked():
    matrix = jnp.eye(4)
    for n_top in (0, 5):
        with pytest.raises(InputError, match="n_top"):
            top_eigenvalues(matrix, n_top)
        with pytest.raises(InputError, match="n_top"):
            top_eigenvalues_of(lambda v: v, 4, jnp.float32, n_top)
    with pytest.raises(InputError, match="n_iter"):
        top_eigenvalues(jnp.eye(64), n_iter=0)


shapes = st.sampled_from([(32, 8), (48, 48), (48, 96)])
seeds = st.integers(0, 2**31)


def random_gram(shape: tuple[int, int], seed: int) -> np.ndarray:
    factor = np.random.default_rng(seed).normal(size=shape)
    return factor @ factor.T


@given(shape=shapes, seed=seeds, exponent=st.integers(-200, 200))
def test_scaling(shape, seed, exponent):
    matrix = jnp.asarray(random_gram(shape, seed))
    factor = 2.0**exponent
    scaled = compiled(2)(matrix * factor)
    np.testing.assert_allclose(scaled, compiled(2)(matrix) * factor, rtol=1e-12)


@given(shape=shapes, seed=seeds)
def test_permuting_and_turning_change_nothing(shape, seed):
    matrix = random_gram(shape, seed)
    rng = np.random.default_rng(seed + 1)
    order = rng.permutation(shape[0])
    turn, _ = np.linalg.qr(rng.normal(size=matrix.shape))
    turned = turn @ matrix @ turn.T
    top = compiled(2)(jnp.asarray(matrix))
    for other in (matrix[order][:, order], (turned + turned.T) / 2):
        np.testing.assert_allclose(compiled(2)(jnp.asarray(other)), top, rtol=1e-8)


@given(shape=shapes, seed=seeds)
def test_bounds(shape, seed):
    """Between the largest diagonal entry and the trace; the trace is the sum of the spectrum."""
    matrix = jnp.asarray(random_gram(shape, seed))
    top = compiled(2)(matrix)
    trace = float(jnp.trace(matrix))
    assert float(jnp.max(jnp.diagonal(matrix))) <= float(top[0]) * (1 + 1e-12)
    assert float(top[0] + top[1]) <= trace * (1 + 1e-12)
    assert float(top[0]) >= float(top[1])
    np.testing.assert_allclose(jnp.sum(spectrum(matrix)), trace, rtol=1e-12)
