"""Convolutions against JAX's own, automatic differentiation, and the diagnostics of any layer."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from support.marks import with_long

import gramdyn as gd
from gramdyn import InputError
from gramdyn.diagnostics import make_diagnostic
from gramdyn.models import convolutional_network, make_activation
from gramdyn.plan import make_plan, parse_config
from gramdyn.systems import CrossEntropyLoss, make_system

N, C, IMAGE = 5, 3, (5, 6, 2)
CASES = [("relu", 1, True), ("gelu", 2, True), ("tanh", 1, False), ("gelu", 3, False)]


def make(activation="gelu", stride=1, bias=True):
    network = convolutional_network(
        jax.random.key(1),
        IMAGE,
        (4, 3),
        C,
        stride=stride,
        activation=make_activation(activation),
        bias=bias,
        readout_bias=bias,
    )
    inputs = jax.random.normal(jax.random.key(2), (N, 60))
    targets = jax.nn.one_hot(jnp.arange(N) % C, C, dtype=inputs.dtype)
    task = gd.make_task(inputs, targets)
    return make_system(network, task, loss=CrossEntropyLoss()), inputs, targets


def by_jax(network, inputs, shifts=None):
    """The same network with JAX's convolution; shifts are added to what enters each patch map."""
    act = inputs.reshape(N, *IMAGE)
    for layer in network.layers[:-1]:
        side, entering = layer.side, layer.image[2]
        kernel = layer.weight.reshape(-1, side, side, entering)
        act = lax.conv_general_dilated(
            act,
            jnp.moveaxis(kernel, 0, -1),
            (layer.stride,) * 2,
            [(side // 2, side // 2)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        act = act if layer.bias is None else act + layer.bias[None, None, None, :]
        act = layer.activation.value(act.reshape(N, -1)).reshape(act.shape)
    last = network.layers[-1]
    found = act.reshape(N, -1) @ last.weight.T
    return found if last.bias is None else found + last.bias[None, :]


@pytest.mark.parametrize(("activation", "stride", "bias"), with_long(CASES, CASES[2:]))
def test_outputs_gradient_and_kernels_are_those_of_jax(activation, stride, bias):
    system, inputs, targets = make(activation, stride, bias)
    state, rest = system.start.partition()
    fields = system.fields(state)
    outputs = lambda state: by_jax(eqx.combine(state, rest), inputs)  # noqa: E731
    np.testing.assert_allclose(fields.outputs, outputs(state), atol=1e-14)

    def loss(state):
        logs = jax.nn.log_softmax(outputs(state), axis=1)
        return -jnp.mean(jnp.sum(targets * logs, axis=1))

    wanted, found = jax.grad(loss)(state), system.velocity(state)
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(one, -two, atol=1e-14)
    jacobian = jax.jacrev(outputs)(state)
    vector = jax.random.normal(jax.random.key(3), (N, C))
    for i, layer in enumerate(jacobian.layers):
        rows = jnp.concatenate([leaf.reshape(N, C, -1) for leaf in jax.tree.leaves(layer)], axis=2)
        kernel = jnp.einsum("mcq,neq->mcne", rows, rows)
        np.testing.assert_allclose(fields.layer_kernels[i], kernel, rtol=1e-12, atol=1e-14)
        own = system.start.layers[i]
        product = own.kernel_product(fields.traces[i], fields.pulled[i])(vector)
        np.testing.assert_allclose(
            product, jnp.einsum("mcne,ne->mc", kernel, vector), rtol=1e-11, atol=1e-13
        )
    whole = jnp.einsum("lmcne,ne->mc", fields.layer_kernels, vector)
    np.testing.assert_allclose(fields.kernel_product()(vector), whole, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("activation", "stride", "bias"), with_long(CASES, CASES[2:]))
def test_what_is_said_of_weight_grams_holds_on_patches(activation, stride, bias):
    system, _, _ = make(activation, stride, bias)
    of = ["learning_equation", "gram_virtual", "gram_step", "gram_cumulative", "feature_ansatz"]
    of += ["target_linearity", make_diagnostic("virtual_cloud", gamma=2.0)]
    eta, scheme = 0.03, gd.GradientDescent(0.03)
    found = gd.simulate(system, scheme, 2, gd.Record(of, every=1))
    for name in ("learning_equation", "learning_centred"):
        assert float(jnp.max(found[name])) < 1e-13
    state = system.initial_state()
    fields = system.fields(state)
    after = jax.tree.map(lambda x, v: x + eta * v, state, system.velocity(state))
    for i, layer in enumerate(system.start.layers):
        now, then = layer.weight, after.layers[i].weight
        moved = then.T @ then - now.T @ now
        # What an optimiser of any kind did is, for descent, -(A + A^T) to first order.
        assert found["gram_step_cosine"][1, i] > 0.99
        np.testing.assert_allclose(found["gram_step_size"][1, i], jnp.linalg.norm(moved), rtol=1e-9)
        np.testing.assert_allclose(found["sum_gap"][1, i], found["gram_gap"][0, i], rtol=1e-6)
        assert fields.traces[i].inputs is not None


def test_shares_in_the_decay_are_those_of_the_kernels():
    system, _, _ = make()
    fields = system.fields(system.initial_state())
    found = gd.simulate(system, gd.GradientDescent(0.1), 1, gd.Record(["decay_share"]))
    r = fields.residual
    rates = jnp.einsum("mc,lmcne,ne->l", r, fields.layer_kernels, r)
    np.testing.assert_allclose(found["decay_share"][0], rates / jnp.sum(rates), rtol=1e-11)


def test_laws_of_dense_layers_are_not_asked_of_them():
    from gramdyn.laws.verify import verify_config

    plain = ["sweep={}", "scheme={kind: gradient_descent, step_size: 0.1, n_steps: 3}"]
    with pytest.raises(InputError, match="those of dense layers"):
        verify_config(parse_config(CONFIG, changes=plain))


def test_input_gradients_move_the_virtual_cloud():
    system, inputs, targets = make()
    record = gd.Record([make_diagnostic("virtual_cloud", gamma=2.0)])
    found = gd.simulate(system, gd.GradientDescent(0.1), 1, record)

    def loss(inputs):
        logs = jax.nn.log_softmax(by_jax(system.start, inputs), axis=1)
        return -jnp.mean(jnp.sum(targets * logs, axis=1))

    wanted = inputs - 2.0 * jax.grad(loss)(inputs)
    np.testing.assert_allclose(found["virtual_cloud"][1], wanted, atol=1e-14)


CONFIG = """\
task: {kind: digits, classes: [0, 1, 2], n_samples: 24, n_heldout: 12, one_hot: true}
network: {kind: convolutional, widths: [4, 6], stride: 2, activation: gelu, readout: trained,
  parametrization: uniform, bias: true, readout_bias: true}
loss: {kind: cross_entropy, reduction: mean}
scheme: {kind: optax, optimizer: sgd, step_size: 0.3, options: {momentum: 0.9}, n_steps: 60,
  batch_size: 8}
record: {every: 20, of: [loss, heldout_accuracy, target_linearity, learning_equation]}
sweep: {seed: {count: 2}, network.widths: [[4, 6], [8, 8]], scheme.whitening: [none, svd]}
"""


@pytest.mark.slow
def test_from_a_configuration_they_train(tmp_path):
    from gramdyn.sweep import run_sweep

    run_sweep(parse_config(CONFIG), tmp_path / "run")
    nodes = gd.open(tmp_path / "run").children.values()
    assert len(nodes) == 4  # widths and whitening change the program
    for node in nodes:
        loss = np.asarray(node["loss"])
        assert np.all(loss[:, -1] < 0.5 * loss[:, 0])
        assert float(node["learning_equation"].max()) < 1e-4  # float32


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("network.side=2", "network.side: must be odd"),
        ("network.parametrization=ntk", "network.parametrization: must be one of standard"),
        ("coordinates=gram", "coordinates: must be weights"),
        ("network.input_scale=0.5", "network.input_scale: must be 1.0"),
        ("network={kind: dense, widths: [4], side: 3}", "`side` belongs to kind convolutional"),
        ("task={kind: gaussian, n_samples: 4, n_inputs: 5}", "be a square for convolutions"),
    ],
)
def test_refusals(change, told):
    plain = ["sweep={}", "loss.kind=squared", "record.of=[loss]", "scheme.batch_size=null"]
    with pytest.raises(InputError, match=told):
        make_plan(parse_config(CONFIG, changes=[*plain, change]))


def test_refused_by_what_reads_one_matrix_a_sample():
    system, _, _ = make()
    for name, told in (
        ("surrogate", "be dense above"),
        ("operator_traces", "have no convolutions"),
        ("closure_error", "have no convolutions"),
        ("infinite_width", "has no one Gram of inputs"),
        ("transport", "has no law of its preactivations"),
        ("kernel_velocity", "each a product of two Grams"),
    ):
        with pytest.raises(InputError, match=told):
            gd.simulate(system, gd.GradientDescent(0.1), 1, gd.Record([name]))
    with pytest.raises(InputError, match="must be weights for a network that begins"):
        make_system(
            system.start,
            gd.make_task(np.ones((4, 60)), np.eye(4)[:, :3]),
            coordinates="gram",
        )
