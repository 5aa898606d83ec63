"""Gram whitening as an optax transformation: Grams kept, fixed points, what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gramdyn as gd
from gramdyn import InputError
from gramdyn.dynamics.whitening import gram_whitening
from gramdyn.kernels.polar import horizontal_part

SHAPES = {"first": (16, 8), "last": (5, 16), "bias": (16,), "filters": (4, 3, 2, 2)}


def some(seed):
    keys = jax.random.split(jax.random.key(seed), len(SHAPES))
    return {
        name: jax.random.normal(key, shape)
        for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)
    }


def test_each_matrix_gets_the_gram_that_the_inner_optimiser_wants():
    params, inner = some(0), optax.sgd(0.1, momentum=0.9)
    whitened, plain = gram_whitening(inner), inner
    state, other = whitened.init(params), plain.init(params)
    for seed in (1, 2, 3):  # momentum stays in its own frame
        grads = some(seed)
        steps, state = whitened.update(grads, state, params)
        wanted, other = plain.update(grads, other, params)
        for name in ("first", "last"):
            found, raw = params[name] + steps[name], params[name] + wanted[name]
            np.testing.assert_allclose(found.T @ found, raw.T @ raw, atol=1e-12)
            assert not np.allclose(steps[name], wanted[name], atol=1e-3)
        for name in ("bias", "filters"):
            np.testing.assert_array_equal(steps[name], wanted[name])
        params = optax.apply_updates(params, steps)
        jax.tree.map(np.testing.assert_array_equal, state, other)


def test_no_gradient_is_no_step_and_a_small_one_is_horizontal():
    params, whitened = some(0), gram_whitening(optax.sgd(1.0))
    still, _ = whitened.update(jax.tree.map(jnp.zeros_like, params), whitened.init(params), params)
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in still.values()) < 1e-13
    grads = jax.tree.map(lambda leaf: 1e-5 * leaf, some(1))
    steps, _ = whitened.update(grads, whitened.init(params), params)
    for name in ("first", "last"):
        wanted = horizontal_part(params[name], -grads[name])
        np.testing.assert_allclose(steps[name], wanted, atol=3e-9)  # second order


def test_the_rotation_alone_moves_no_gram_and_is_what_whitening_leaves():
    params, inner = some(0), optax.sgd(1e-5)
    rotated, whitened = gram_whitening(inner, keep="rotation"), gram_whitening(inner)
    grads = some(1)
    steps, _ = rotated.update(grads, rotated.init(params), params)
    others, _ = whitened.update(grads, whitened.init(params), params)
    for name in ("first", "last"):
        found = params[name] + steps[name]
        np.testing.assert_allclose(found.T @ found, params[name].T @ params[name], atol=1e-12)
        # to first order the two parts make up the step
        whole = steps[name] + others[name]
        np.testing.assert_allclose(whole, -1e-5 * grads[name], atol=3e-9)
        assert jnp.linalg.norm(steps[name]) > 1e-6
    np.testing.assert_array_equal(steps["bias"], -1e-5 * grads["bias"])
    with pytest.raises(InputError, match="part"):
        gram_whitening(inner, keep="half")


def test_filters_as_matrices():
    params, whitened = some(0), gram_whitening(optax.sgd(0.1), reshape_nd=True)
    grads = some(1)
    steps, _ = whitened.update(grads, whitened.init(params), params)
    found = (params["filters"] + steps["filters"]).reshape(4, -1)
    raw = (params["filters"] - 0.1 * grads["filters"]).reshape(4, -1)
    np.testing.assert_allclose(found.T @ found, raw.T @ raw, atol=1e-12)


def test_trains_a_network_as_a_scheme():
    """Loss falls, in the loop, for a batch of keys, with None for what does not train."""
    task = gd.gaussian(n_samples=12, n_inputs=5, target="linear")
    make = lambda rate: gram_whitening(optax.sgd(rate, momentum=0.5))  # noqa: E731

    def build(key):
        network = gd.init_network(key, 5, (8,))
        return gd.make_system(network, task, coordinates="weights"), gd.Optax(make, 0.02)

    keys = jax.random.split(jax.random.key(0), 3)
    run = gd.simulate_many(build, keys, 200, gd.Record(["loss"], every=200))
    assert np.all(run["loss"][:, -1] < 0.7 * run["loss"][:, 0])


def test_newton_schulz_is_near_and_refusals():
    params, grads = some(0), some(1)
    exact, near = (
        gram_whitening(optax.sgd(0.1), method=method, steps=40)
        for method in ("svd", "newton_schulz")
    )
    one, _ = exact.update(grads, exact.init(params), params)
    two, _ = near.update(grads, near.init(params), params)
    np.testing.assert_allclose(one["last"], two["last"], atol=1e-8)
    with pytest.raises(InputError, match="method"):
        gram_whitening(optax.sgd(0.1), method="qr")
    with pytest.raises(InputError, match="params"):
        exact.update(grads, exact.init(params))
