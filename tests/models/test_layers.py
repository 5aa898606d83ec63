"""Layers answer the same five questions in both coordinates; costs are counted."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.reference import random_network

from gramdyn.data import gaussian
from gramdyn.models import Dense, GramDense, Network, linear
from gramdyn.models.layers import Pulled
from gramdyn.systems import make_system


def test_traces_chain_the_layers(key) -> None:
    network = random_network(key, 5, (6, 4), 2, activation="leaky_relu", bias=True)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)))
    traces = network.traces(x)
    assert traces[0].inputs is x
    for below, here in itertools.pairwise(traces):
        assert here.inputs is below.act
    np.testing.assert_array_equal(network(x), traces[-1].act)
    np.testing.assert_array_equal(traces[-1].act, traces[-1].pre)


def test_backward_is_the_vjp_of_the_outputs_by_each_preactivation(key) -> None:
    network = random_network(
        key, 5, (6, 4), 2, activation="leaky_relu", bias=True, parametrization="ntk"
    )
    rng = np.random.default_rng(0)
    x, rows = jnp.asarray(rng.normal(size=(3, 5))), jnp.asarray(rng.normal(size=(3, 4, 2)))
    traces = network.traces(x)
    found = network.backward(traces, rows)

    def above(pre, layer: int):
        act = network.layers[layer].activation.value(pre)
        for upper in network.layers[layer + 1 :]:
            act = upper.forward(act).act
        return act

    for layer, trace in enumerate(traces):
        _, pull = jax.vjp(lambda pre, layer=layer: above(pre, layer), trace.pre)
        wanted = np.stack([pull(rows[:, k])[0] for k in range(4)], axis=1)
        np.testing.assert_allclose(found[layer].sens, wanted, rtol=1e-13, atol=1e-14)


def test_gradients_of_a_layer_are_those_of_autodiff(key) -> None:
    network = random_network(key, 5, (6,), bias=True, parametrization="ntk")
    rng = np.random.default_rng(0)
    x, above = jnp.asarray(rng.normal(size=(3, 5))), jnp.asarray(rng.normal(size=(3, 6)))
    layer = network.layers[0]

    def value(weight, bias):
        made = Dense(weight, bias, layer.scale, layer.activation)
        return jnp.sum(above * made.forward(x).pre)

    wanted = jax.grad(value, argnums=(0, 1))(layer.weight, layer.bias)
    found = layer.gradient(layer.forward(x), Pulled(above, above))
    np.testing.assert_allclose(found.weight, wanted[0], rtol=1e-13)
    np.testing.assert_allclose(found.bias, wanted[1], rtol=1e-13)
    assert found.scale is None


def test_nothing_lies_below_gram_coordinates(key) -> None:
    network = random_network(key, 5, (6,))
    system = make_system(network, gaussian(n_samples=3, n_inputs=5), coordinates="gram")
    first = system.start.layers[0]
    assert isinstance(first, GramDense)
    with pytest.raises(NotImplementedError):
        first.pull(jnp.zeros((3, 1, 6)))


@pytest.mark.parametrize("trained", [False, True])
def test_operations_of_a_step_are_counted(trained: bool, key) -> None:
    n, d, n_1, n_2, n_outputs = 3, 5, 6, 4, 2
    network = random_network(key, d, (n_1, n_2), n_outputs, train_readout=trained)
    task = gaussian(n_samples=n, n_inputs=d, n_outputs=n_outputs)
    # forward, backward, gradient: one product each, none backwards through the first layer
    upper = 3 * 2 * n * n_1 * n_2 + (3 if trained else 2) * 2 * n * n_2 * n_outputs
    in_weights = make_system(network, task, coordinates="weights")
    assert in_weights.step_flops() == 2 * 2 * n * d * n_1 + upper
    in_gram = make_system(network, task, coordinates="gram")
    assert in_gram.step_flops() == 2 * n * n * n_1 + upper


def test_a_new_layer_needs_no_more_than_its_answers(key) -> None:
    """A linear middle layer among ReLU ones: kernels still sum to the autodiff kernel."""
    outer = random_network(key, 5, (6, 4), 2, train_readout=True)
    middle = Dense(outer.layers[1].weight, None, None, linear())
    network = Network((outer.layers[0], middle, outer.layers[2]))
    system = make_system(network, gaussian(n_samples=3, n_inputs=5, n_outputs=2))
    fields = system.fields(system.initial_state())
    x = system.inputs

    def f(weights):
        w, v, a = weights
        return jnp.maximum(x @ w.T, 0.0) @ v.T @ a.T

    jacobians = jax.jacrev(f)([layer.weight for layer in network.layers])
    wanted = sum(jnp.einsum("mcij,neij->mcne", j, j) for j in jacobians)
    np.testing.assert_allclose(fields.tangent_kernel, wanted, rtol=1e-12, atol=1e-13)
