"""Laws of feature learning hold for any network and loss, and fail for a wrong gradient."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import gramdyn as gd
from gramdyn.cli import verify as cli_verify
from gramdyn.data import make_task
from gramdyn.dynamics import Adaptive, GradientDescent, Optax, RungeKutta4
from gramdyn.laws import feature_checks, verify
from gramdyn.laws.moment import Moment
from gramdyn.laws.registry import LAWS, Sizes, samples_for
from gramdyn.models import layers
from gramdyn.models.activations import make_activation
from gramdyn.plan import parse_config
from gramdyn.systems import CrossEntropyLoss

EQUATION, STEP = "feature learning equation", "weight Gram after one step"
ACTIVATIONS = {name: make_activation(name) for name in ("relu", "gelu", "tanh")}
# What else a network or its loss may be: every layer trains, two outputs or more.
SHAPES = {
    "plain": {},
    "ntk, biases": {"parametrization": "ntk", "bias": True},
    "residual": {"parametrization": "ntk", "residual": True, "bias": True, "readout_bias": True},
    "cross-entropy": {"bias": (True, False, True), "loss": CrossEntropyLoss()},
}


def system(activation="gelu", *, loss=None, **options):
    """Three hidden layers with random biases, where there are any."""
    keys = jax.random.split(jax.random.key(4), 4)
    targets = jax.nn.softmax(jax.random.normal(keys[0], (7, 3)))
    task = make_task(jax.random.normal(keys[1], (7, 5)), targets)
    chosen = {"activation": ACTIVATIONS[activation], "train_readout": True, **options}
    network = gd.init_network(keys[2], 5, (6, 6, 6), 3, **chosen)
    where = lambda tree: [layer.bias for layer in tree.layers if layer.bias is not None]  # noqa: E731
    biases = where(network)
    drawn = [jax.random.normal(keys[3], bias.shape) for bias in biases]
    network = eqx.tree_at(where, network, drawn) if biases else network
    return gd.make_system(network, task, loss=loss, coordinates="weights")


def error(name, moment):
    return float(LAWS[name].check(moment).error)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_both_laws_hold(shape, activation):
    moment = Moment(system(activation, **SHAPES[shape]), GradientDescent(0.3))
    assert max(error(EQUATION, moment), error(STEP, moment)) < 1e-14


@pytest.mark.parametrize("shape", SHAPES)
def test_responses_are_the_drives_and_what_the_weights_pull_back(shape):
    start = system(**SHAPES[shape])
    fields = start.fields(start.initial_state())
    found = zip(*feature_checks._responses(start, start.start), strict=True)
    for layer, drive, (pulled, sens) in zip(start.start.layers, fields.drives, found, strict=True):
        assert jnp.allclose(sens, fields.loss_scale * drive, rtol=1e-12, atol=1e-14)
        assert jnp.allclose(pulled, sens @ layer.matrix(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scheme", [GradientDescent(0.3, 0.9), Optax("sgd", 0.3)])
def test_the_step_of_momentum_and_of_optax_too(scheme):
    moment = Moment(system(bias=True, parametrization="ntk"), scheme)
    assert LAWS[STEP].applies(moment.system.start, scheme)
    assert error(STEP, moment) < 1e-14


def test_momentum_without_memory_breaks_the_step(monkeypatch):
    moment = Moment(system(), GradientDescent(0.3, 0.9))
    step = GradientDescent.step

    def forgetful(scheme, system, state, memory, fields):
        return step(scheme, system, state, scheme.init(state), fields)

    monkeypatch.setattr(GradientDescent, "step", forgetful)
    assert error(STEP, moment) > 1e-3


def broken_gradient(leaf, factor):
    """The gradient of one array of each layer, a little off."""
    original = layers.Dense.gradient

    def gradient(layer, trace, drive):
        found = original(layer, trace, drive)
        return eqx.tree_at(lambda tree: getattr(tree, leaf), found, replace_fn=lambda x: factor * x)

    return gradient


@pytest.mark.parametrize("name", [EQUATION, STEP])
def test_a_wrong_gradient_of_the_weights_breaks_both(name, monkeypatch):
    moment = Moment(system(bias=True, readout_bias=True), GradientDescent(0.3))
    monkeypatch.setattr(layers.Dense, "gradient", broken_gradient("weight", 1 + 1e-9))
    assert error(name, moment) > LAWS[name].tolerance


def test_a_wrong_gradient_of_the_biases_breaks_the_equation(monkeypatch):
    moment = Moment(system(bias=True, readout_bias=True), GradientDescent(0.3))
    monkeypatch.setattr(layers.Dense, "gradient", broken_gradient("bias", 1 + 1e-9))
    assert error(EQUATION, moment) > LAWS[EQUATION].tolerance


def test_a_forgotten_multiplier_breaks_both(monkeypatch):
    moment = Moment(system(parametrization="ntk"), GradientDescent(0.3))
    original = layers.Dense.gradient

    def without(layer, trace, drive):
        plain = eqx.tree_at(lambda tree: tree.scale, layer, None)
        return original(plain, trace, drive)

    monkeypatch.setattr(layers.Dense, "gradient", without)
    assert min(error(EQUATION, moment), error(STEP, moment)) > 1e-3


CONFIG = """
task: {kind: gaussian, n_samples: 9, n_inputs: 4, target: random}
network: {width: 3, depth: 2, activation: gelu, bias: true, readout: trained}
coordinates: weights
scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 6}
"""
PLAIN = "kind: gradient_descent, step_size: 0.1"
DECAY, ADAM = f"{PLAIN}, weight_decay: 0.1", "kind: optax, optimizer: adam, step_size: 0.1"
EXCUSES = {
    "weight decay moves W^T W beside D^T H": GradientDescent(0.1, weight_decay=0.1),
    "steps of adam are not of the form D^T H": Optax("adam", 0.1),
    "steps of sgd with momentum hold more": Optax("sgd", 0.1, (("momentum", 0.9),)),
    "whitened steps of sgd are not of the form": Optax("sgd", 0.1, whitening="svd"),
    "a step of RungeKutta4 is not one of gradient descent": RungeKutta4(0.1),
    "a step of Adaptive is not one of gradient descent": Adaptive(0.1),
}


@pytest.mark.parametrize("told", EXCUSES)
def test_a_step_that_has_no_law_has_an_excuse(told):
    start = system().start
    assert not LAWS[STEP].applies(start, EXCUSES[told])
    assert LAWS[STEP].excuse(start, EXCUSES[told]).startswith(told)


def test_momentum_has_an_excuse_where_the_first_layer_is_fixed():
    first, *rest = system().start.layers
    fixed = gd.Network((replace(first, trainable=False), *rest))
    assert "which is fixed" in LAWS[STEP].excuse(fixed, GradientDescent(0.3, 0.9))
    assert LAWS[STEP].applies(fixed, GradientDescent(0.3))


def verified(text, laws=(EQUATION, STEP)):
    return {one.law: one for one in verify.verify_config(parse_config(text), laws)}


@pytest.mark.parametrize("scheme", [DECAY, ADAM])
def test_verdicts_and_tables_tell_the_excuse(scheme):
    found = verified(CONFIG.replace(PLAIN, scheme))
    assert found[EQUATION].holds
    assert (found[STEP].holds, found[STEP].error, found[STEP].applies) == (None, None, False)
    assert found[STEP].note.removeprefix("does not apply: ") in EXCUSES
    assert cli_verify._told(list(found.values())) == "1 laws hold; not applicable: 1"


@pytest.mark.parametrize(
    "change",
    [
        (PLAIN, f"{PLAIN}, momentum: 0.9"),
        (PLAIN, f"{PLAIN}, batch_size: 4"),
        ("gelu", "relu"),
        ("activation: gelu", "kind: residual, activation: tanh"),
    ],
)
def test_along_the_runs_of_configurations(change):
    assert all(
        one.holds and one.error < 1e-14 for one in verified(CONFIG.replace(*change)).values()
    )


def test_near_a_stationary_point_rounding_is_not_compared_with_rounding():
    linear = CONFIG.replace("gelu", "linear").replace("n_steps: 6", "n_steps: 3000")
    found = verified(linear + "loss: {reduction: mean}\n")
    assert all(one.error < 1e-14 for one in found.values())


def test_what_enters_a_layer_decides_on_the_size():
    size = Sizes.of(system())
    assert size.fan_in == 6
    wide = Sizes(7, 1, 4, 6, 120, fan_in=4000)
    assert samples_for(LAWS[EQUATION], wide) == 0
