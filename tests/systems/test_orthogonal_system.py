"""The closed orthogonal system against gradient flow of the matrix on the orthogonal group."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gramdyn as gd
from gramdyn._errors import InputError
from gramdyn.data import gaussian
from gramdyn.models import enriched_network
from gramdyn.systems import make_orthogonal_system

SIZE, N, C, GAIN = 6, 9, 2, 1.3


def make(**options):
    options = {"embedding": "none", "bias": False, **options}
    network = enriched_network(
        jax.random.key(0), SIZE, (SIZE,), C, pathway={"kind": "orthogonal", "gain": GAIN}, **options
    )
    task = gaussian(n_samples=N, n_inputs=SIZE, n_outputs=C, seed=1, norm=SIZE**0.5)
    return network, task


def flow_on_the_group(network, task, dt, n_steps):
    """RK4 of dO/dt = -(D - O D^T O), D = dL/dO by autodiff, and of the readout, in plain loops."""
    x, y = jnp.asarray(task.inputs), jnp.asarray(task.targets)
    matrix, readout = network.layers[0].matrix() / GAIN, network.readout

    def loss(o, w, b):
        out = jnp.tanh(GAIN * x @ o.T) @ w.T + b[None]
        return 0.5 * jnp.sum((out - y) ** 2)

    def velocity(state):
        d, w, b = jax.grad(loss, argnums=(0, 1, 2))(*state)
        o = state[0]
        return -(d - o @ d.T @ o), -w, -b

    add = lambda s, h, k: tuple(a + h * b for a, b in zip(s, k, strict=True))  # noqa: E731

    def step(state, _):
        k1 = velocity(state)
        k2 = velocity(add(state, dt / 2, k1))
        k3 = velocity(add(state, dt / 2, k2))
        k4 = velocity(add(state, dt, k3))
        for h, k in ((dt / 6, k1), (dt / 3, k2), (dt / 3, k3), (dt / 6, k4)):
            state = add(state, h, k)
        return state, None

    start = matrix, readout.weight, readout.bias
    (o, w, b), _ = jax.jit(lambda s: jax.lax.scan(step, s, None, n_steps))(start)
    return GAIN * x @ o.T, w, b, loss(o, w, b), o


def test_the_flow_is_that_of_the_matrix_on_the_group():
    network, task = make()
    dt, n_steps = 0.001, 3000
    pre, weight, bias, loss, matrix = flow_on_the_group(network, task, dt, n_steps)
    system = make_orthogonal_system(network, task)
    record = gd.Record(["loss", "structure_drift"], at=[0, n_steps])
    found = gd.simulate(system, gd.RungeKutta4(dt), n_steps, record)
    state = found.state
    # Two paths of 3000 steps that differ by rounding, each step contracting or neutral.
    np.testing.assert_allclose(state.layers[0].pre, pre, atol=1e-11)
    np.testing.assert_allclose(state.layers[1].weight, weight, atol=1e-11)
    np.testing.assert_allclose(state.layers[1].bias, bias, atol=1e-11)
    np.testing.assert_allclose(found.records["loss"][-1], loss, rtol=1e-10)
    assert found.records["loss"][-1] < 0.5 * found.records["loss"][0]
    # Both integrators leave what they conserve at their order, dt^4.
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(SIZE), atol=1e-9)
    x = jnp.asarray(task.inputs)
    np.testing.assert_allclose(
        state.layers[0].pre @ state.layers[0].pre.T, GAIN**2 * x @ x.T, atol=1e-8
    )
    assert float(found.records["structure_drift"][-1, 0]) < 1e-9


def test_its_kernels_are_those_of_the_layer_at_the_start():
    network, task = make()
    closed = make_orthogonal_system(network, task)
    plain = gd.make_system(network, task, coordinates="weights")
    one, two = (eqx.filter_jit(_seen)(system) for system in (closed, plain))
    for found, wanted in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def _seen(system):
    fields = system.fields(system.initial_state())
    vector = jnp.sin(jnp.arange(N * C, dtype=float)).reshape(N, C)
    rates = [
        layer.decay_rate(trace, drive)
        for layer, trace, drive in zip(
            fields.network.layers, fields.traces, fields.driven, strict=True
        )
    ]
    return fields.layer_kernels, fields.kernel_product()(vector), rates


def test_steps_of_descent_and_other_layers_are_refused():
    network, task = make()
    system = make_orthogonal_system(network, task)
    for options in ({}, {"momentum": 0.9}, {"weight_decay": 0.1}):
        with pytest.raises(InputError, match="must integrate the flow"):
            gd.simulate(system, gd.GradientDescent(0.1, **options), 1, gd.Record(["loss"]))
    with pytest.raises(InputError, match="have a square hidden layer"):
        gd.simulate(system, gd.RungeKutta4(0.1), 1, gd.Record(["conditioning"]))
    assert not system.start.free
    with pytest.raises(InputError, match="square orthogonal layer without bias"):
        make_orthogonal_system(make(bias=True)[0], task)
    with pytest.raises(InputError, match="square orthogonal layer without bias"):
        make_orthogonal_system(make(correction="identity")[0], task)
    with pytest.raises(InputError, match="square orthogonal layer without bias"):
        make_orthogonal_system(gd.init_network(jax.random.key(0), SIZE, (SIZE,), C), task)
