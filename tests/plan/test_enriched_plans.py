"""Networks of structured layers from a configuration: every field an axis, mistakes in a line."""

import jax
import numpy as np
import pytest

import gramdyn as gd
from gramdyn import ConfigError, InputError
from gramdyn.models import enriched_network
from gramdyn.plan import make_plan, parse_config
from gramdyn.sweep import run_sweep

BASE = """
task: {{kind: gaussian, n_samples: 6, n_inputs: 3, n_outputs: 2}}
network: {{kind: enriched, width: 8, depth: 2, activation: tanh, readout: trained{network}}}
scheme: {{kind: gradient_descent, step_size: 0.1, n_steps: 3}}
precision: float64
sweep: {{{sweep}}}
"""


def config(network="", sweep=""):
    return parse_config(BASE.format(network=f", {network}" if network else "", sweep=sweep))


AXES = {
    "network.pathway": "[dense, {kind: orthogonal, method: exp}, circulant]",
    "network.pathway.kind": "[orthogonal, dense, lowrank, spectral, butterfly]",
    "network.pathway.gain": "[0.5, 1.0, 1.5]",
    "network.pathway.method": "[cayley, exp, householder]",
    "network.correction": "[none, gated, {kind: bottleneck, rank: 3}]",
    "network.correction.rank": "[1, 2]",
    "network.correction.linear": "[true, false]",
    "network.mode": "[outside, inside]",
    "network.alpha": "[0.0, 0.1, 0.5]",
    "network.alpha_each": "[true, false]",
    "network.train_alpha": "[true, false]",
    "network.train_pathway": "[true, false]",
    "network.embedding": "[trained, fixed]",
    "network.embedding_activation": "[tanh, linear]",
    "network.bias": "[true, false]",
    "network.width": "[8, 16]",
    "network.depth": "[1, 2]",
    "network.weight_scale": "[0.5, 1.0]",
    "network.output_scale": "[0.5, 1.0]",
}


@pytest.mark.parametrize("key", AXES)
def test_every_field_is_an_axis(key):
    made = config(
        "pathway: {kind: orthogonal}, correction: {kind: bottleneck}", f"{key}: {AXES[key]}"
    )
    plan = make_plan(made)
    values = AXES[key].count(",") + 1 - AXES[key].count("{kind: bottleneck, rank")
    values -= AXES[key].count("{kind: orthogonal, method")
    assert plan.n_runs == values
    # Numbers share a program, all else has its own.
    numbers = key.endswith((".gain", ".alpha", "_scale"))
    assert len(plan.groups) == (1 if numbers else values)


def test_axes_reach_into_parts_that_are_left_out():
    plan = make_plan(config("", "network.pathway.gain: [0.5, 1.0]"))
    assert [job.config.network.pathway.kind for job in plan.groups[0].jobs] == ["orthogonal"] * 2
    assert len(make_plan(config("", "network.correction.kind: [none, dense]")).groups) == 2


def test_axes_of_kinds_drop_defaults_and_refuse_what_was_set():
    made = config("pathway: {kind: lowrank}", "network.pathway.kind: [lowrank, spectral]")
    own = make_plan(made).groups[1].config.network.pathway
    assert (own.kind, own.bound, hasattr(own, "rank")) == ("spectral", 1.0, False)
    for base, axes, told in (
        ("pathway: {kind: lowrank, rank: 2}", "network.pathway.kind: [lowrank, dense]", "rank"),
        ("", "network.pathway.kind: [dense, lowrank], network.pathway.rank: [1, 2]", "rank"),
        ("", "network.pathway.kind: [[dense]]", "unknown pathway"),
    ):
        with pytest.raises(ConfigError, match=told):
            make_plan(config(base, axes))
    text = BASE.format(network="", sweep="scheme.kind: [gradient_descent, gradient_flow]")
    text = text.replace("gradient_descent, step_size", "gradient_descent, momentum: 0.9, step_size")
    with pytest.raises(ConfigError, match="momentum"):
        make_plan(parse_config(text))


def test_names_and_numbers_of_gains_are_axes_of_unlike_programs():
    plan = make_plan(config("correction: dense", "network.alpha: [0.1, 0.3, depth, rezero]"))
    assert sorted(len(group.jobs) for group in plan.groups) == [1, 1, 2]


def test_runs_are_those_of_the_networks_themselves(tmp_path):
    made = config(
        "bias: true, readout_bias: true, pathway: orthogonal, "
        "correction: {kind: bottleneck, rank: 2}",
        "network.alpha: [0.1, 0.6], network.pathway.gain: [0.8, 1.2], seed: {count: 2}",
    )
    run_sweep(made, tmp_path / "run")
    (node,) = gd.open(tmp_path / "run").children.values()
    places = zip(*(node[name].values for name in ("alpha", "pathway.gain", "seed")), strict=True)
    with jax.enable_x64(True):
        task = gd.gaussian(n_samples=6, n_inputs=3, n_outputs=2)
        for i, (alpha, gain, seed) in enumerate(places):
            network = enriched_network(
                jax.random.key(int(seed), impl="threefry2x32"),
                *(3, (8, 8), 2),
                pathway={"kind": "orthogonal", "gain": float(gain)},
                correction={"kind": "bottleneck", "rank": 2},
                alpha=float(alpha),
            )
            system = gd.make_system(network, task, coordinates="weights")
            alone = gd.simulate(system, gd.GradientDescent(0.1), 3, gd.Record(["loss"], every=1))
            # one program or another: sums of some dozen terms in another order
            np.testing.assert_allclose(node["loss"].values[i], alone["loss"], rtol=1e-10)


MISTAKES = {
    "pathway: orthogonall": "unknown pathway 'orthogonall'; did you mean `orthogonal`?",
    "pathway: {kind: dense, rank: 2}": "unknown key; allowed: gain, kind",
    "correction: {kind: bottleneck, rnk: 2}": "did you mean `rank`?",
    "pathway: 3": "unknown pathway 3",
    "alpha: fast": "must be a finite number or one of rezero, depth, inverse_depth",
    "mode: beside": "allowed: inside, outside",
    "parametrization: ntk": "must be standard with kind enriched",
    "input_scale: 2.0": "must be 1.0 with kind enriched",
    "bias: [true, false]": "must be one for all layers with kind enriched",
    "pathway: {kind: orthogonal, method: qr}": "method",
}


@pytest.mark.parametrize("network", MISTAKES)
def test_mistakes_are_told_with_what_is_allowed(network):
    with pytest.raises(ConfigError) as error:
        config(network)
    assert MISTAKES[network] in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_sizes_that_a_structure_cannot_have_are_told_before_the_run():
    for network, told in (
        ("pathway: {kind: block, blocks: 3}", "divide"),
        ("pathway: {kind: lowrank, rank: 9}", "at most 8"),
        ("embedding: none, pathway: circulant", "be equal for this pathway"),
        ("pathway: {kind: spectral, bound: -1.0}", "bound"),
    ):
        with pytest.raises(InputError, match=told):
            make_plan(config(network))


def test_keys_of_structured_layers_belong_to_them():
    text = "task: {kind: gaussian, n_samples: 6, n_inputs: 3}\n"
    text += "network: {width: 8, depth: 2, alpha: 0.1}\n"
    with pytest.raises(ConfigError, match="`alpha` belongs to kind enriched"):
        parse_config(text + "scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 3}\n")
    with pytest.raises(ConfigError, match="must be weights"):
        parse_config(BASE.format(network="", sweep="") + "coordinates: gram\n")
