"""Fields, Grams, co-activation and comparisons against loops in numpy and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn.kernels import (
    act_gram,
    coactivation,
    conj_gram,
    conjugate_field,
    count_flips,
    drive,
    forward_field,
    frobenius,
    layer_kernel,
    leaky_mask,
    relative_movement,
    relu_mask,
    sensitivity,
    target_alignment,
)

# Sums of at most ten float64 products of order one.
RTOL = 1e-13


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape)


def _same(found, wanted) -> None:
    assert found.shape == np.shape(wanted)
    np.testing.assert_allclose(found, wanted, rtol=RTOL, atol=RTOL)


@pytest.mark.parametrize("scale", [None, 0.7, jnp.asarray(0.7)], ids=["none", "float", "array"])
@pytest.mark.parametrize("bias", [False, True])
def test_act_gram(scale, bias: bool) -> None:
    act = _random(4, 6)
    wanted = np.zeros((4, 4))
    for m in range(4):
        for k in range(4):
            wanted[m, k] = sum(act[m, i] * act[k, i] for i in range(6))
    wanted = wanted * (1.0 if scale is None else 0.49) + (1.0 if bias else 0.0)
    _same(act_gram(jnp.asarray(act), scale=scale, bias=bias), wanted)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scale", [None, 0.7])
def test_forward_field(scale: float | None, bias: bool) -> None:
    act, weight, b = _random(4, 6), _random(3, 6, seed=1), _random(3)
    wanted = np.zeros((4, 3))
    for m in range(4):
        for i in range(3):
            total = sum(act[m, j] * weight[i, j] for j in range(6))
            wanted[m, i] = (1.0 if scale is None else scale) * total + (b[i] if bias else 0.0)
    found = forward_field(
        jnp.asarray(act), jnp.asarray(weight), jnp.asarray(b) if bias else None, scale
    )
    _same(found, wanted)


@pytest.mark.parametrize("scale", [None, 0.7])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_conjugate_field_is_the_vjp_of_the_forward_field(scale, n_outputs: int) -> None:
    act, weight, sens = _random(4, 6), _random(5, 6, seed=1), _random(4, n_outputs, 5)
    found = conjugate_field(jnp.asarray(sens), jnp.asarray(weight), scale)
    _, pull = jax.vjp(
        lambda h: forward_field(h, jnp.asarray(weight), None, scale), jnp.asarray(act)
    )
    wanted = np.stack([pull(jnp.asarray(sens[:, c]))[0] for c in range(n_outputs)], axis=1)
    _same(found, wanted)


def test_masks_at_and_around_zero() -> None:
    pre = jnp.asarray([[-2.0, -0.0, 0.0, 1e-30, 3.0]])
    np.testing.assert_array_equal(relu_mask(pre), [[0.0, 0.0, 0.0, 1.0, 1.0]])
    np.testing.assert_array_equal(leaky_mask(pre, 0.25), [[0.25, 0.25, 0.25, 1.0, 1.0]])
    for dtype in (jnp.float32, jnp.float64):
        assert relu_mask(pre.astype(dtype)).dtype == dtype
        assert leaky_mask(pre.astype(dtype), 0.25).dtype == dtype


def test_sensitivity_and_drive() -> None:
    mask, conj, residual = _random(4, 5), _random(4, 2, 5), _random(4, 2)
    sens, total = np.zeros((4, 2, 5)), np.zeros((4, 5))
    for m in range(4):
        for c in range(2):
            for i in range(5):
                sens[m, c, i] = mask[m, i] * conj[m, c, i]
                total[m, i] += residual[m, c] * sens[m, c, i]
    found = sensitivity(jnp.asarray(mask), jnp.asarray(conj))
    _same(found, sens)
    _same(drive(jnp.asarray(residual), found), total)


def test_conj_gram_entry_by_entry() -> None:
    sens = _random(3, 2, 5)
    found = conj_gram(jnp.asarray(sens))
    wanted = np.zeros((3, 2, 3, 2))
    for index in np.ndindex(wanted.shape):
        m, c, k, e = index
        wanted[index] = sum(sens[m, c, i] * sens[k, e, i] for i in range(5))
    _same(found, wanted)


def test_at_depth_one_the_conj_gram_is_the_weighted_coactivation() -> None:
    """Q = sum_i a_i^2 m m, and K = (X X^T) * Q."""
    x, w, a = _random(5, 4), _random(8, 4, seed=1), _random(1, 8)
    active = x @ w.T > 0
    wanted = np.zeros((5, 5))
    for m in range(5):
        for k in range(5):
            wanted[m, k] = sum(a[0, i] ** 2 for i in range(8) if active[m, i] and active[k, i])
    pre = forward_field(jnp.asarray(x), jnp.asarray(w))
    sens = sensitivity(relu_mask(pre), jnp.broadcast_to(jnp.asarray(a), (5, 1, 8)))
    _same(conj_gram(sens)[:, 0, :, 0], wanted)
    kernel = layer_kernel(act_gram(jnp.asarray(x)), sens)
    _same(kernel[:, 0, :, 0], (x @ x.T) * wanted)


def test_coactivation_counts_the_shared_neurons() -> None:
    active = _random(6, 9) > 0.3
    wanted = np.zeros((6, 6))
    for m in range(6):
        for k in range(6):
            wanted[m, k] = sum(int(active[m, i] and active[k, i]) for i in range(9)) / 9
    for dtype in (jnp.float32, jnp.float64):
        found = coactivation(jnp.asarray(active), dtype)
        assert found.dtype == dtype
        # one division of exact whole numbers
        np.testing.assert_array_equal(found, wanted.astype(dtype))


def test_count_flips() -> None:
    before, after = _random(6, 9) > 0, _random(6, 9, seed=1) > 0
    wanted = sum(bool(b) != bool(a) for b, a in zip(before.flat, after.flat, strict=True))
    found = count_flips(jnp.asarray(before), jnp.asarray(after))
    assert found.dtype == jnp.int32
    assert int(found) == wanted > 0
    assert int(count_flips(jnp.asarray(before), jnp.asarray(before))) == 0
    assert int(count_flips(jnp.asarray(before), jnp.asarray(~before))) == 54


def test_frobenius_and_relative_movement() -> None:
    kernel, start = _random(3, 2, 3, 2), _random(3, 2, 3, 2, seed=1)
    _same(frobenius(jnp.asarray(kernel)), np.linalg.norm(kernel.ravel()))
    wanted = np.linalg.norm((kernel - start).ravel()) / np.linalg.norm(start.ravel())
    _same(relative_movement(jnp.asarray(kernel), jnp.asarray(start)), wanted)
    # closed form: doubling moves by 1, staying by 0
    np.testing.assert_allclose(relative_movement(2 * jnp.asarray(start), jnp.asarray(start)), 1.0)
    assert float(relative_movement(jnp.asarray(start), jnp.asarray(start))) == 0.0
    zero = jnp.zeros((3, 2, 3, 2))
    assert float(relative_movement(zero, zero)) == 0.0


def test_target_alignment_is_the_cosine_with_the_targets() -> None:
    half, y = _random(6, 4), _random(3, 2)
    kernel = (half @ half.T).reshape(3, 2, 3, 2)
    outer = np.outer(y.ravel(), y.ravel())
    matrix = half @ half.T
    wanted = np.trace(matrix @ outer) / (np.linalg.norm(matrix) * np.linalg.norm(outer))
    found = target_alignment(jnp.asarray(kernel), jnp.asarray(y))
    _same(found, wanted)
    assert 0 < float(found) < 1
    # closed forms: 1 for y y^T itself, n^-1/2 for the identity, 0 where one of the two vanishes
    itself = jnp.asarray(outer.reshape(3, 2, 3, 2))
    _same(target_alignment(itself, jnp.asarray(y)), 1.0)
    identity = jnp.eye(6).reshape(3, 2, 3, 2)
    _same(target_alignment(identity, jnp.asarray(y)), 6**-0.5)
    assert float(target_alignment(jnp.zeros((3, 2, 3, 2)), jnp.asarray(y))) == 0.0
    assert float(target_alignment(identity, jnp.zeros((3, 2)))) == 0.0
