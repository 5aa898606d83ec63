"""GELU, tanh and residual layers: every law of the fields by autodiff of the network itself.

Smooth masks phi' move, so that the law of q has the term phi'' dz/dt q too; a residual layer hands
on what enters it, so that both sweeps do.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gramdyn as gd
from gramdyn.diagnostics import Record
from gramdyn.models import ACTIVATIONS, init_network, make_activation
from gramdyn.systems import (
    CrossEntropyLoss,
    conjugate_law,
    forward_law,
    make_field_system,
    make_system,
)

SMOOTH = ["gelu", "tanh"]
N, D, WIDTHS, C = 6, 5, (7, 7, 7), 2
KINDS = [("gelu", False), ("tanh", False), ("gelu", True), ("relu", True)]
EACH = pytest.mark.parametrize(("name", "residual"), KINDS)
RTOL = 1e-12  # sums of some dozen float64 terms through four layers; seen 1e-15


def network_of(name, residual=False):
    return init_network(
        jax.random.key(1),
        D,
        WIDTHS,
        C,
        activation=make_activation(name),
        train_readout=True,
        bias=True,
        readout_bias=residual,
        residual=residual,
    )


def task_of():
    return gd.gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=3).cast("float64")


def close(found, wanted):
    scale = float(np.max(np.abs(wanted)))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=RTOL * scale)


def conjugate_of(network, inputs):
    """df/dh^l by autodiff of what is above each hidden layer."""
    traces = network.traces(inputs)
    found = []
    for i in range(len(WIDTHS)):

        def above(act, i=i):
            for layer in network.layers[i + 1 :]:
                act = layer.forward(act).act
            return act.sum(0)  # the output of one sample does not see the others

        found.append(jnp.moveaxis(jax.jacrev(above)(traces[i].act), 0, 1))
    return found


@EACH
def test_velocities_of_all_fields(name, residual):
    network, task = network_of(name, residual), task_of()
    system = make_system(network, task, coordinates="weights")
    state, rest = network.partition()
    loss = lambda state: 0.5 * jnp.sum((eqx.combine(state, rest)(task.inputs) - task.targets) ** 2)  # noqa: E731
    move = jax.tree.map(lambda leaf: -leaf, jax.grad(loss)(state))

    def look(state):
        whole = eqx.combine(state, rest)
        pres = [trace.pre for trace in whole.traces(task.inputs)]
        return pres, conjugate_of(whole, task.inputs)

    (_, conj), (pre_rates, conj_rates) = jax.jvp(look, (state,), (move,))
    fields = system.fields(system.initial_state())
    for found, wanted in zip(forward_law(fields), pre_rates, strict=True):
        close(found.total, wanted)
    for found, wanted in zip(fields.conj, conj, strict=True):
        close(found, wanted)
    for found, wanted in zip(conjugate_law(fields), conj_rates, strict=True):
        close(found.total, wanted)


@EACH
def test_kernels_are_those_of_the_jacobian(name, residual):
    network, task = network_of(name, residual), task_of()
    state, rest = network.partition()
    of = lambda state: eqx.combine(state, rest)(jnp.asarray(task.inputs))  # noqa: E731
    jacobian = jax.jacrev(of)(state)
    system = make_system(network, task, coordinates="weights")
    fields = system.fields(system.initial_state())
    for layer, kernel in zip(jacobian.layers, fields.layer_kernels, strict=True):
        rows = [leaf.reshape(N * C, -1) for leaf in jax.tree.leaves(layer)]
        close(kernel.reshape(N * C, N * C), sum(row @ row.T for row in rows))


@pytest.mark.parametrize("name", SMOOTH)
def test_gram_coordinates_and_fields_give_the_run_of_the_weights(name):
    """To 1e-12 over 300 steps: nothing jumps, so that rounding is not amplified."""
    network, task = network_of(name), task_of()
    scheme, record = gd.GradientDescent(0.004), Record(["residual"], every=30)
    runs = [
        gd.simulate(system, scheme, 300, record)["residual"]
        for system in (
            make_system(network, task, coordinates="weights"),
            make_system(network, task, coordinates="gram"),
            make_field_system(network, task),
        )
    ]
    assert float(jnp.linalg.norm(runs[0][-1])) < 0.9 * float(jnp.linalg.norm(runs[0][0]))
    close(runs[1], runs[0])
    close(runs[2], runs[0])


def test_residual_networks_in_both_coordinates_and_what_they_have_no_law_for():
    network, task = network_of("gelu", residual=True), task_of()
    runs = [
        gd.simulate(
            make_system(network, task, coordinates=coordinates),
            gd.GradientDescent(0.002),
            100,
            Record(["outputs"], every=100),
        )["outputs"][-1]
        for coordinates in ("weights", "gram")
    ]
    close(runs[1], runs[0])
    with pytest.raises(gd.InputError, match="no residual layers"):
        make_field_system(network, task)
    system = make_system(network, task)
    with pytest.raises(gd.InputError, match="no residual layers"):
        gd.simulate(system, gd.GradientDescent(0.1), 2, Record(["operator_traces"]))
    with pytest.raises(gd.InputError, match="no residual layers"):
        gd.simulate(system, gd.GradientDescent(0.1), 2, Record(["infinite_width"]))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_only_kinks_flip(name):
    network, task = network_of(name), task_of()
    system = make_system(network, task)
    active = system.fields(system.initial_state()).active
    assert all(bool(jnp.all(one)) for one in active) == (name not in ("relu", "leaky_relu"))


def hot_task():
    return gd.digits(classes=(0, 1, 2), n_samples=9, one_hot=True).cast("float64")


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_cross_entropy_is_that_of_plain_numpy_and_its_gradient_that_of_autodiff(reduction):
    outputs = jax.random.normal(jax.random.key(0), (9, 3)) * 4.0
    targets, loss = jnp.asarray(hot_task().targets), CrossEntropyLoss(reduction)
    raw = np.asarray(outputs)
    shares = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
    scale = 1.0 if reduction == "sum" else 1 / 9
    wanted = -scale * np.sum(np.asarray(targets) * np.log(shares))
    np.testing.assert_allclose(loss.value(outputs, targets), wanted, rtol=1e-13)
    slope = jax.grad(lambda f: loss.value(f, targets))(outputs)
    np.testing.assert_allclose(loss.scale(9) * loss.residual(outputs, targets), slope, atol=1e-15)
    assert np.isfinite(loss.value(outputs * 1e4, targets))


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
def test_training_under_cross_entropy_is_descent_on_the_network(coordinates):
    task, phi = hot_task(), make_activation("gelu")
    network = init_network(jax.random.key(0), 64, (8, 7), 3, activation=phi, train_readout=True)
    system = make_system(network, task, loss=CrossEntropyLoss(), coordinates=coordinates)
    run = gd.simulate(system, gd.GradientDescent(0.5), 50, Record(["loss", "outputs"], every=50))
    state, rest = network.partition()

    def loss(state):
        logs = jax.nn.log_softmax(eqx.combine(state, rest)(jnp.asarray(task.inputs)), axis=1)
        return -jnp.mean(jnp.sum(jnp.asarray(task.targets) * logs, axis=1))

    step = jax.jit(lambda s: jax.tree.map(lambda leaf, g: leaf - 0.5 * g, s, jax.grad(loss)(s)))
    for _ in range(50):
        state = step(state)
    np.testing.assert_allclose(run["loss"][-1], loss(state), rtol=1e-11)
    close(run["outputs"][-1], eqx.combine(state, rest)(jnp.asarray(task.inputs)))
    # The law of the residual has its own output gradient in it: dL/dt = -s^2 r^T K r.
    fields = system.fields(system.initial_state())
    product = fields.kernel_product()(fields.residual)
    rate = -(fields.loss_scale**2) * jnp.sum(fields.residual * product)
    slopes = jax.tree.leaves(jax.grad(loss)(network.partition()[0]))
    np.testing.assert_allclose(rate, -sum(jnp.sum(g**2) for g in slopes), rtol=1e-12)


def test_what_is_refused():
    with pytest.raises(gd.InputError, match="distributions over two classes"):
        make_system(network_of("gelu"), task_of(), loss=CrossEntropyLoss())
    network = init_network(jax.random.key(0), 64, (8,), 3)
    system = make_system(network, hot_task(), loss=CrossEntropyLoss())
    with pytest.raises(gd.InputError, match="squared"):
        gd.simulate(system, gd.GradientDescent(0.1), 2, Record(["linearised"]))
