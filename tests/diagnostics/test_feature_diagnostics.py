"""Diagnostics of feature learning against the kernels on a network's own arrays and autodiff."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gramdyn as gd
from gramdyn.kernels.collapse import neural_collapse
from gramdyn.kernels.target_linearity import target_linearity
from gramdyn.models import init_network, make_activation
from gramdyn.systems import CrossEntropyLoss, make_system

N, C, WIDTHS, ETA = 30, 3, (12, 9), 0.3
NAMES = ["target_linearity", "surrogate", "learning_equation", "gram_virtual", "feature_ansatz"]
NAMES += ["collapse", "accuracy"]


@pytest.fixture(scope="module")
def task():
    return gd.digits(classes=(0, 1, 2), n_samples=N, one_hot=True).cast("float64")


def system_of(task, parametrization="uniform", coordinates="weights"):
    network = init_network(
        jax.random.key(0),
        64,
        WIDTHS,
        C,
        activation=make_activation("gelu"),
        parametrization=parametrization,
        train_readout=True,
        bias=parametrization == "uniform",
        readout_bias=True,
    )
    return make_system(network, task, loss=CrossEntropyLoss(), coordinates=coordinates)


@pytest.fixture(scope="module")
def run(task):
    system = system_of(task)
    record = gd.Record([*NAMES, "loss"], every=20)
    return system, gd.simulate(system, gd.GradientDescent(ETA), 40, record)


def test_targets_of_one_hot_digits(task):
    np.testing.assert_array_equal(np.argmax(task.targets, axis=1), task.labels)
    np.testing.assert_array_equal(np.sum(task.targets, axis=1), 1.0)
    assert set(np.unique(task.targets)) == {0.0, 1.0}


def test_values_at_the_end_are_those_of_the_network(run, task):
    system, found = run
    network = eqx.combine(found.state, system.start.partition()[1])
    traces = network.traces(jnp.asarray(task.inputs))
    for i, trace in enumerate(traces[:-1]):
        wanted = target_linearity(trace.act, jnp.asarray(task.targets))
        np.testing.assert_allclose(found["linearity"][-1, i], wanted.value, atol=1e-12)
        np.testing.assert_allclose(found["linearity_adjusted"][-1, i], wanted.adjusted, atol=1e-11)
        assert int(found["linearity_rank"][-1, i]) == WIDTHS[i]
    right = np.argmax(np.asarray(traces[-1].act), axis=1) == np.asarray(task.labels)
    assert found["accuracy"][-1] == right.mean()
    assert float(jnp.max(found["learning_equation"])) < 1e-13
    last = network.layers[-1]
    wanted = neural_collapse(traces[-2].act, task.labels, last.weight, last.bias)
    np.testing.assert_allclose(found["collapse_within"][-1], wanted.within, rtol=1e-9)
    np.testing.assert_allclose(found["collapse_duality"][-1], wanted.duality, rtol=1e-9)
    assert np.all((found["surrogate_normalised"] > 0) & (found["surrogate_normalised"] <= 1))


@pytest.mark.parametrize("parametrization", ["uniform", "ntk"])
def test_gram_and_virtual_covariance_of_the_next_step(task, parametrization):
    """The change of W^T W in the step that is made, and that of the virtual inputs by autodiff."""
    system = system_of(task, parametrization)
    record = gd.Record(["gram_virtual"], every=1)
    found = gd.simulate(system, gd.GradientDescent(ETA), 1, record)
    state, rest = system.start.partition()
    after = system.velocity(state)
    network = eqx.combine(state, rest)
    for i, layer in enumerate(network.layers):
        scale = 1.0 if layer.scale is None else layer.scale
        now, then = scale * layer.weight, scale * (layer.weight + ETA * after.layers[i].weight)
        moved = then.T @ then - now.T @ now

        def loss(shift, i=i):
            act = jnp.asarray(task.inputs)
            for j, one in enumerate(network.layers):
                act = one.forward(act + shift if j == i else act).act
            logs = jax.nn.log_softmax(act, axis=1)
            return -jnp.mean(jnp.sum(jnp.asarray(task.targets) * logs, axis=1))

        inputs = network.traces(jnp.asarray(task.inputs))[i].inputs
        pulled = jax.grad(loss)(jnp.zeros_like(inputs))
        virtual = inputs - ETA * scale**2 * pulled
        other = virtual.T @ virtual - inputs.T @ inputs
        cosine = jnp.sum(moved * other) / jnp.linalg.norm(moved) / jnp.linalg.norm(other)
        gap = jnp.linalg.norm(moved - other) / jnp.linalg.norm(moved)
        np.testing.assert_allclose(found["gram_cosine"][0, i], cosine, rtol=1e-8)
        np.testing.assert_allclose(found["gram_gap"][0, i], gap, rtol=1e-6)


def test_the_readouts_ansatz_is_exact_and_others_are_those_of_the_jacobian(task):
    system = system_of(task)
    record = gd.Record([gd.diagnostics.make_diagnostic("feature_ansatz", power=1.0)], every=1)
    found = gd.simulate(system, gd.GradientDescent(ETA), 1, record)["feature_ansatz"][0]
    np.testing.assert_allclose(found[-1], 1.0, atol=1e-12)
    network = eqx.combine(*system.start.partition())
    jacobians = jax.vmap(jax.jacrev(lambda x: network(x[None])[0]))(jnp.asarray(task.inputs))
    product = np.mean([np.asarray(j).T @ np.asarray(j) for j in jacobians], axis=0)
    weight = np.asarray(network.layers[0].weight)
    gram = weight.T @ weight
    cosine = np.sum(gram * product) / np.linalg.norm(gram) / np.linalg.norm(product)
    np.testing.assert_allclose(found[0], cosine, rtol=1e-10)


@pytest.mark.parametrize("name", ["learning_equation", "gram_virtual", "feature_ansatz"])
def test_those_of_weights_are_refused_in_gram_coordinates(task, name):
    with pytest.raises(gd.InputError, match="be weights for diagnostic"):
        gd.simulate(
            system_of(task, coordinates="gram"), gd.GradientDescent(ETA), 1, gd.Record([name])
        )


def test_other_refusals(task):
    with pytest.raises(gd.InputError, match="be gradient descent for gram_virtual"):
        gd.simulate(
            system_of(task), gd.GradientDescent(ETA, momentum=0.9), 1, gd.Record(["gram_virtual"])
        )
    one = gd.gaussian(n_samples=5, n_inputs=3)
    system = make_system(init_network(jax.random.key(0), 3, (4,)), one)
    with pytest.raises(gd.InputError, match="be at least 2 for diagnostic `collapse`"):
        gd.simulate(system, gd.GradientDescent(0.1), 1, gd.Record(["collapse"]))
