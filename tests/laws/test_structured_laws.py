"""Laws that hold for any layer hold for structured ones; those of free matrices say nothing."""

from pathlib import Path

import jax
import pytest
from support.marks import with_long

import gramdyn as gd
from gramdyn.data import gaussian
from gramdyn.dynamics import GradientDescent
from gramdyn.laws import verify_config
from gramdyn.laws.moment import Moment
from gramdyn.laws.registry import LAWS, NEEDS, Sizes
from gramdyn.models import enriched, enriched_network, multilinear_pathways, orthogonal_pathways
from gramdyn.plan import load_config, parse_config

SMOKE = Path(__file__).parents[2] / "configs" / "smoke" / "structured.yaml"
CONFIG = """
task: {kind: gaussian, n_samples: 7, n_inputs: 5, n_outputs: 2}
network: {kind: enriched, width: 6, depth: 2, bias: true, readout: trained, OWN}
loss: {reduction: mean}
scheme: {kind: gradient_descent, step_size: {relative: 0.3}, n_steps: 6}
"""
OWN = {
    "orthogonal and bottleneck, outside": (
        "activation: tanh, pathway: {kind: orthogonal}, correction: {kind: bottleneck, rank: 2}"
    ),
    "low rank and gated, inside": (
        "activation: relu, mode: inside, alpha: 0.7,"
        " pathway: {kind: lowrank_diag, rank: 2}, correction: {kind: gated, rank: 2}"
    ),
}
KERNELS = {"layer kernels = J J^T", "residual law", "loss decay"}
# Of any layer; the last of a dense embedding.
GENERAL = KERNELS | {
    *("forward fields", "conjugate fields", "Grams and kernels >= 0", "weight velocity"),
    "Gram coordinates = weights",
}


@pytest.mark.parametrize("name", with_long(OWN, ["low rank and gated, inside"]))
def test_laws_of_any_layer_hold_along_a_run(name):
    verdicts = verify_config(parse_config(CONFIG.replace("OWN", OWN[name])))
    assert {one.law for one in verdicts} == GENERAL
    assert all(one.holds and one.step >= 0 for one in verdicts)
    # Rounding, far below what a law is allowed; measured 9e-16.
    assert max(one.error for one in verdicts) < 1e-14


def moment(**options):
    """At its start, where A = 0, but every other number is drawn."""
    chosen = {"pathway": "orthogonal", "correction": {"kind": "bottleneck", "rank": 2}, **options}
    network = enriched_network(jax.random.key(1), 5, (6, 6), 2, alpha=0.7, **chosen)
    task = gaussian(n_samples=7, n_inputs=network.layers[0].n_inputs, n_outputs=2, seed=2)
    system = gd.make_system(network, task, loss=gd.SquaredLoss("mean"), coordinates="weights")
    return Moment(system, GradientDescent(0.1))


def applying(state):
    return {n for n, one in LAWS.items() if one.applies(state.system.start, state.scheme)}


def failing(state):
    found = {name: LAWS[name].check(state) for name in applying(state)}
    return {name for name, one in found.items() if not one.error <= LAWS[name].tolerance}


CASES = {
    "none": {"correction": "none"},
    "inside": {"mode": "inside"},
    "low rank": {"pathway": {"kind": "lowrank", "rank": 2}, "correction": "gated"},
    "no embedding": {"embedding": "none"},
    "fixed ends": {"embedding": "fixed", "train_readout": False},
    "nothing to train": {"pathway": "identity", "correction": "none", "bias": False},
}


@pytest.mark.parametrize("name", CASES)
def test_every_law_that_applies_holds(name):
    options = CASES[name]
    if name == "no embedding":
        options = {**options, "pathway": "toeplitz", "correction": "dense"}
    state = moment(**options)
    wanted = GENERAL - ({"Gram coordinates = weights"} if name == "no embedding" else set())
    assert applying(state) == wanted
    assert failing(state) == set()


def scaled(function, factor):
    return lambda *args, **options: factor * function(*args, **options)


# What is broken, where, and the laws that see it: those and no others.
BREAKS = {
    "the kernel of a pathway": (orthogonal_pathways, "rotation_kernel", {}, KERNELS),
    "the kernel of alpha": (enriched, "gain_kernel", {}, KERNELS),
    "the kernel of a bias": (enriched, "conj_gram", {}, KERNELS),
    "a pathway's law of the forward field": (
        *(multilinear_pathways, "low_rank_forward", {"pathway": "lowrank"}),
        # by which the bent masks move the other
        {"forward fields", "conjugate fields"},
    ),
    "a pathway's law of the conjugate field": (
        *(multilinear_pathways, "low_rank_conjugate", {"pathway": "lowrank"}),
        {"conjugate fields"},
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_seen_by_the_laws_it_touches(name, monkeypatch):
    module, attribute, options, seen_by = BREAKS[name]
    monkeypatch.setattr(module, attribute, scaled(getattr(module, attribute), 1 + 1e-9))
    assert failing(moment(**options)) == seen_by


def test_a_correction_that_forgets_its_conjugate_field_is_seen(monkeypatch):
    own = enriched.EnrichedLayer._back_of_added
    monkeypatch.setattr(
        *(enriched.EnrichedLayer, "_back_of_added"),
        lambda layer, back: back.sens if layer.mode == "outside" else own(layer, back),
    )
    assert {"layer kernels = J J^T", "conjugate fields"} <= failing(moment())
    assert failing(moment(mode="inside")) == set()


def test_sizes_are_those_of_the_layers_and_their_copies():
    state = moment(correction="none")
    size = Sizes.of(state.system)
    weights = [5 * 6 + 6, 15 + 6, 15 + 6, 6 * 2 + 2]
    assert (size.samples, size.outputs, size.layers) == (7, 2, 4)
    assert (size.width, size.fan_in) == (6, 6)
    assert (size.weights, size.copied) == (sum(weights), sum(weights[1:3]))


def test_copies_of_what_trains_count_against_what_a_kernel_may_hold():
    plain, copied = (Sizes(40, 10, 4, 64, 10**6, 64, copied) for copied in (0, 10**6))
    for need in ("kernels", "spectra"):
        assert NEEDS[need](plain, 40)
        assert not NEEDS[need](copied, 40)


@pytest.mark.slow
def test_the_smoke_configuration_holds():
    verdicts = verify_config(load_config(SMOKE), ["layer kernels = J J^T", "conjugate fields"])
    assert len({one.group for one in verdicts}) == 4
    assert all(one.holds for one in verdicts)
