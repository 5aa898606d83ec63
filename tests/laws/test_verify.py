"""Laws hold on healthy runs; each break of the library is found by the laws it touches alone."""

import sys

import jax
import jax.numpy as jnp
import pytest

import gramdyn as gd
from gramdyn import cli
from gramdyn.data import make_task
from gramdyn.dynamics import GradientDescent
from gramdyn.kernels import gram, operators
from gramdyn.laws import field_checks, registry, verify, weight_checks
from gramdyn.laws.moment import Moment
from gramdyn.laws.registry import LAWS, Sizes, samples_for
from gramdyn.models import activations, layers
from gramdyn.plan import make_plan, parse_config
from gramdyn.systems import field_space

CONFIG = """
task: {kind: gaussian, n_samples: 7, n_inputs: 5, target: random}
network: {widths: [6, 5], activation: leaky_relu, bias: true, readout: trained}
scheme: {kind: gradient_descent, step_size: {relative: 0.5}, n_steps: 6}
loss: {reduction: mean}
"""


def system(seed=0):
    """Two hidden layers, two outputs, a step that flips masks: every law applies."""
    keys = jax.random.split(jax.random.key(seed), 3)
    task = make_task(jax.random.normal(keys[0], (7, 6)), jax.random.normal(keys[1], (7, 2)))
    network = gd.init_network(
        *(keys[2], 6, (6, 6), 2),
        activation=gd.leaky_relu(0.2),
        parametrization="ntk",
        train_readout=True,
    )
    return gd.make_system(network, task, loss=gd.SquaredLoss("mean"), coordinates="weights")


# Of linear networks alone.
LINEAR = {"linear kernels = Gram form"}
GENERAL = LAWS.keys() - LINEAR
# Of descent alone; tells why it says nothing of other schemes.
EXCUSED = {"weight Gram after one step"}


def failing(seed=0, moment=None, among=GENERAL):
    """Laws that fail, unjitted, so that what is monkeypatched is what runs."""
    moment = moment or Moment(system(seed), GradientDescent(0.5))
    found = {name: LAWS[name].check(moment) for name in among}
    return {name for name, one in found.items() if not one.error <= LAWS[name].tolerance}


def test_every_law_holds():
    moment = Moment(system(), GradientDescent(0.5))
    applying = {n for n, one in LAWS.items() if one.applies(moment.system.start, moment.scheme)}
    assert applying == GENERAL
    assert failing() == set()
    assert int(field_checks.exact_step(moment).seen) > 0


def scaled(function, factor):
    return lambda *args, **options: factor * function(*args, **options)


def flip_blind(fields, rate, pre, original=field_space._descend_conj):
    return original(fields, rate, tuple(trace.pre for trace in fields.traces[:-1]))


def lopsided(sens, original=gram.conj_gram):
    return original(sens) + 1e-9 * jnp.triu(jnp.ones((14, 14)), 1).reshape(7, 2, 7, 2)


def unbalanced(layer, trace, drive, original=layers.Dense.gradient):
    """The readout learns a billionth too fast."""
    found = original(layer, trace, drive)
    share = 1 + 1e-9 * (layer.weight.shape[0] == 2)
    return jax.tree.map(lambda leaf: share * leaf, found)


KERNELS = {"layer kernels = J J^T", "residual law", "loss decay"}
GRADIENT = {
    *("weight velocity", "loss decay", "exact step of the fields"),
    *("balance of neighbours", "balance after one step"),
    *("feature learning equation", "weight Gram after one step"),
}
# What is broken, where, by what, and the laws that see it: those and no others.
BREAKS = {
    "kernel": (layers, "layer_kernel", scaled(layers.layer_kernel, 1.001), KERNELS),
    "act_gram": (
        *(layers, "act_gram", scaled(gram.act_gram, 1 + 1e-9)),
        KERNELS | {"forward fields by Gamma"},
    ),
    "learnt_conjugate": (
        *(layers, "learnt_conjugate", scaled(layers.learnt_conjugate, -1.0)),
        {"conjugate fields", "exact step of the fields"},
    ),
    "cross_gram": (
        *(layers, "cross_gram", scaled(layers.cross_gram, 1 + 1e-9)),
        {"forward fields", "exact step of the fields"},
    ),
    "flip-blind": (field_space, "_descend_conj", flip_blind, {"exact step of the fields"}),
    "slope": (
        *(activations, "leaky_mask"),
        lambda pre, slope, original=activations.leaky_mask: original(pre, slope + 1e-6),
        # Both coordinates step by the same wrong mask, and so agree.
        GENERAL - {"Grams and kernels >= 0", "Gram coordinates = weights"},
    ),
    "operator": (
        *(field_checks, "apply_operator", scaled(operators.apply_operator, 1 + 1e-9)),
        {"forward fields by Gamma", "conjugate fields by P"},
    ),
    "operator velocity": (
        *(
            field_checks,
            "gram_operator_velocity",
            scaled(operators.gram_operator_velocity, 1 + 1e-9),
        ),
        {"operator law"},
    ),
    "conj_gram": (
        *(field_checks, "conj_gram", lopsided),
        {"Grams and kernels >= 0", "conjugate fields by P"},
    ),
    "negative kernel": (
        *(layers, "layer_kernel"),
        lambda *args, original=gram.layer_kernel: original(*args) - 1e-3,
        KERNELS | {"Grams and kernels >= 0"},
    ),
    "gradient": (layers.Dense, "gradient", unbalanced, GRADIENT),
    "loss": (
        *(gd.SquaredLoss, "value", scaled(gd.SquaredLoss.value, 2.0)),
        {
            "weight velocity",
            "loss decay",
            "feature learning equation",
            "weight Gram after one step",
        },
    ),
    "Gram coordinates": (
        *(layers.GramDense, "forward"),
        lambda layer, act: layers.Trace(None, layer.pre, layer.activation.value(1.001 * layer.pre)),
        {"Gram coordinates = weights"},
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_seen_by_the_laws_it_touches(name, monkeypatch):
    module, attribute, broken, seen_by = BREAKS[name]
    monkeypatch.setattr(module, attribute, broken)
    assert failing() == seen_by


def verified(text, **options):
    told = []
    found = verify.verify_config(parse_config(text), tell=told.append, **options)
    return {verdict.law: verdict for verdict in found}, told


def test_a_config_in_its_own_precision_and_coordinates():
    plan = make_plan(parse_config(CONFIG))
    assert (plan.runtime.dtype, plan.groups[0].coordinates) == ("float32", "weights")
    verdicts, told = verified(CONFIG)
    # Learning reaches no q through a layer without a bias.
    assert verdicts.keys() == GENERAL - {"conjugate fields by P"}
    assert all(verdict.holds for verdict in verdicts.values())
    assert {verdict.group for verdict in verdicts.values()} == {"runs"}
    assert told == ["group 1 of 1: runs, 6 steps"]


def test_what_is_too_large_is_checked_on_some_samples_or_skipped(monkeypatch):
    names = ("residual law", "layer kernels = J J^T")
    size = Sizes.of(system())
    assert samples_for(LAWS[names[0]], size) == size.samples == 7
    monkeypatch.setattr(registry, "BUDGET", 9 * 3**2)
    (few, none) = (samples_for(LAWS[name], Sizes(7, 1, 4, 6, 120)) for name in names)
    assert (few, none) == (3, 0)
    monkeypatch.setattr(registry, "BUDGET", 7 * 3**2)
    verdicts, _ = verified(CONFIG.replace("6, 5", "12"), laws=names)
    residual, kernels = (verdicts[name] for name in names)
    assert (residual.holds, residual.note) == (True, "3 of 7 samples")
    assert (kernels.holds, kernels.error, kernels.note) == (None, None, "skipped: size")


def test_a_run_that_diverges_is_checked_up_to_there():
    text = CONFIG.replace("relative: 0.5", "relative: 3000.0").replace("[6, 5]", "[6]")
    verdicts, _ = verified(text, laws=("residual law",))
    assert verdicts["residual law"].holds
    assert "run diverged at step" in verdicts["residual law"].note


def test_unknown_law_is_an_input_error():
    with pytest.raises(gd.InputError, match="did you mean `residual law`"):
        verified(CONFIG, laws=("residal law",))


def test_a_broken_law_is_status_one_and_its_row(monkeypatch, capsys, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    monkeypatch.setattr(layers, "layer_kernel", scaled(layers.layer_kernel, 1.001))
    monkeypatch.setattr(sys, "argv", ["gramdyn", "verify", str(file), "--set", "seed=3"])
    monkeypatch.setattr("gramdyn.cli.verify.use_all_cores", lambda: None)  # JAX has started
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert "3 of 15 laws fail" in lines
    told = {
        name: next(line for line in lines if name in line)
        for name in LAWS
        if any(name in line for line in lines)
    }
    assert {name for name, line in told.items() if "FAILS" in line} == KERNELS
    assert {name for name, line in told.items() if "holds" in line} == told.keys() - KERNELS


MOMENTS = """
task: {kind: gaussian, n_samples: 7, n_inputs: 5, n_outputs: 3, target: random}
network: {widths: [6, 4], activation: linear, readout: trained, parametrization: ntk}
coordinates: moments
scheme: {kind: gradient_flow, method: midpoint, step_size: 0.02, n_steps: 6}
"""


def test_a_run_in_moment_coordinates_is_checked_on_its_samples():
    verdicts, _ = verified(MOMENTS)
    assert verdicts.keys() >= LINEAR
    assert {name for name, one in verdicts.items() if not one.applies} == EXCUSED
    assert all(verdict.holds for verdict in verdicts.values() if verdict.applies)


@pytest.mark.parametrize(
    ("module", "name"), [(layers, "layer_kernel"), (weight_checks, "layer_map_velocities")]
)
def test_kernels_and_gram_form_of_linear_layers_check_each_other(module, name, monkeypatch):
    task = make_plan(parse_config(MOMENTS)).groups[0].tasks[0]
    linear = gd.init_network(
        *(jax.random.key(0), 5, (6, 4), 3), activation=gd.linear(), train_readout=True
    )
    start = gd.make_system(linear, task, coordinates="weights")
    assert failing(moment=Moment(start, GradientDescent(0.5)), among=LINEAR) == set()
    monkeypatch.setattr(module, name, scaled(getattr(module, name), 1 + 1e-9))
    assert failing(moment=Moment(start, GradientDescent(0.5)), among=LINEAR) == LINEAR


def test_a_map_without_hidden_layers_has_no_laws():
    text = MOMENTS.replace("widths: [6, 4]", "width: 4, depth: 0")
    with pytest.raises(gd.InputError, match="networks with hidden layers"):
        verified(text)


def test_an_autoencoder_is_not_one_network_on_its_targets():
    digits = "{kind: digits, n_samples: 8, centre: false, norm: 3.0}"
    text = CONFIG.replace("{kind: gaussian, n_samples: 7, n_inputs: 5, target: random}", digits)
    text = text.replace("widths: [6, 5]", "kind: vae, latent: 2, widths: [6, 5]")
    text = text.replace("{relative: 0.5}", "0.1").replace("loss: {reduction: mean}\n", "")
    with pytest.raises(gd.InputError, match=r"this run trains a VaeSystem\.$"):
        verified(text)
