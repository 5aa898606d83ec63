"""A sweep whose widths share a program gives what a program a width gives, run by run."""

from functools import cache

import numpy as np
import pytest
from support.chunks import assert_close, compute, plan_of

from gramdyn.diagnostics.registry import DIAGNOSTICS, make_diagnostic
from gramdyn.systems import MomentFields, NetworkFields


def claims(name):
    """Whether a diagnostic says that it ignores padding."""
    try:
        return make_diagnostic(name).ignores_padding
    except TypeError:  # needs options
        return False


def reads(name, fields):
    """Whether a diagnostic reads such fields."""
    return issubclass(fields, make_diagnostic(name).needs)


CLAIMING = sorted(name for name in DIAGNOSTICS if claims(name))
# Those that read the first layer's weights, or samples that are held out.
OF_WEIGHTS = ["gram_cumulative", "gram_step", "gram_virtual", "heldout_loss", "noisy_accuracy"]
OF_NETWORKS = [n for n in CLAIMING if reads(n, NetworkFields) and n not in OF_WEIGHTS]
OF_MOMENTS = [name for name in CLAIMING if reads(name, MomentFields)]
BASE = """\
task: {kind: gaussian, n_samples: 6, n_inputs: 10, n_outputs: 2, target: linear}
network: {width: 5, depth: 2}
scheme: {kind: gradient_descent, step_size: {relative: 0.5}, n_steps: 45}
record: {every: 15, of: [loss, residual, layer_kernels, conj_grams, flips]}
precision: float64
"""
EVERYTHING = f"record={{every: 15, of: [{', '.join(OF_NETWORKS)}], average: 4}}"
ALL_OF_MOMENTS = f"record={{every: 15, of: [{', '.join(OF_MOMENTS)}]}}"
MOMENTS, BY_WEIGHTS = "linear, by moments", "weights, steps of one size"
CASES = {
    BY_WEIGHTS: (
        "sweep={network.width: [3, 8], seed: [0, 1]}",
        "coordinates=weights",
        "task={kind: monomials, n_samples: 6, n_inputs: 10, terms: [[1], [2, 3]], n_heldout: 4}",
        "scheme={kind: gradient_descent, step_size: 0.05, n_steps: 45}",
        f"record={{every: 15, of: [loss, {', '.join(OF_WEIGHTS)}]}}",
    ),
    MOMENTS: (
        "sweep={network.widths: [[3, 8], [7, 4]], seed: [0, 1]}",
        "network={widths: [4, 4], activation: linear, readout: trained}",
        "coordinates=moments",
        ALL_OF_MOMENTS,
    ),
    "gram, relative steps": (
        "sweep={network.width: [3, 8], seed: [0, 1]}",
        "coordinates=gram",
    ),
    "weights, leaky, momentum, decay, bias, trained readout, unlike layers, tasks": (
        "sweep={network.widths: [[3, 8], [7, 4]], task.seed: [0, 1]}",
        "network={widths: [4, 4], bias: true, readout: trained, parametrization: ntk, "
        "activation: leaky_relu, slope: 0.2}",
        "scheme={kind: gradient_descent, step_size: 0.05, n_steps: 45, momentum: 0.9, "
        "weight_decay: 0.01}",
        "coordinates=weights",
    ),
    "gram, all of it, steps on an axis": (
        "sweep={network.widths: [[3, 8], [7, 4]], scheme.step_size: [0.02, 0.05], "
        "network.weight_scale: [0.5, 1.5]}",
        "network={widths: [4, 4], bias: true, readout: trained}",
        "scheme={kind: gradient_descent, step_size: 0.1, n_steps: 45, momentum: 0.5, "
        "weight_decay: 0.1}",
        "coordinates=gram",
    ),
    "RK4, mean field, one layer, vmap": (
        "sweep={network.width: [3, 8], scheme.step_size.relative: [0.2, 1.0]}",
        "network={width: 4, depth: 1, parametrization: mean_field, readout: trained}",
        "scheme={kind: gradient_flow, method: rk4, step_size: {relative: 1}, n_steps: 45}",
        "runtime.batching=vmap",
    ),
    "linear, three layers, centred, mean loss": (
        "sweep={network.widths: [[3, 8, 2], [6, 1, 6]], seed: [4, 5]}",
        "network={widths: [4], activation: linear, centred: true, output_scale: 2}",
        "loss.reduction=mean",
    ),
}


_, _, GRAM, WEIGHTS, _, RK4, _ = CASES  # the others take longer


@cache
def both(case, everything=False):
    """Runs with a program a width, and with one for all."""
    changes = [*CASES[case], *([EVERYTHING] if everything else [])]
    plans = [plan_of(BASE, *changes, f"runtime.padding={how}") for how in ("never", "always")]
    assert len(plans[0].groups) > len(plans[1].groups) == 1
    assert plans[0].groups[0].coordinates == plans[1].groups[0].coordinates
    return [compute(plan) for plan in plans]


def assert_same_runs(alone, shared):
    assert alone.keys() == shared.keys()
    for place, wanted in alone.items():
        # The same sums with zeros among them, perhaps in another order: 1e-16 a step, grown over 45
        # steps, and in the largest eigenvalues by the iteration, which stops at 1e-13 or so.
        assert_close(wanted, shared[place], 1e-12)
        assert wanted["status"] == 0
        assert wanted["loss"][-1] < 0.99 * wanted["loss"][0]
    assert len({float(run["loss"][-1]) for run in alone.values()}) == len(alone)


@pytest.mark.parametrize("case", [WEIGHTS, RK4, MOMENTS])
def test_runs_in_a_shared_program_are_the_runs_alone(case):
    assert_same_runs(*both(case))


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case not in (MOMENTS, BY_WEIGHTS)])
def test_so_they_are_in_everything_that_ignores_padding(case):
    assert_same_runs(*both(case, everything=True))


@pytest.mark.parametrize(
    ("name", "case"),
    [(name, GRAM) for name in OF_NETWORKS]
    + [(name, MOMENTS) for name in OF_MOMENTS]
    + [(name, BY_WEIGHTS) for name in OF_WEIGHTS],
)
def test_every_diagnostic_that_claims_to_ignore_padding(name, case):
    """Whoever enters one with that claim has it tested here."""
    alone, shared = both(case, everything=case == GRAM)
    own = make_diagnostic(name)
    arrays = [*own.dims(), *(f"{array}_average" for array in own.dims() if own.chatters)]
    for place, wanted in alone.items():
        for array in arrays:
            assert_close({array: wanted[array]}, {array: shared[place][array]}, 1e-12)
    for array in arrays:
        seen = [run[array] for run in alone.values()]
        assert any(np.any(one != seen[0]) for one in seen)


def test_what_claims_it():
    assert {*OF_NETWORKS, *OF_MOMENTS, *OF_WEIGHTS} == set(CLAIMING)
    known = {"loss", "residual", "outputs", "layer_kernels", "tangent_kernel", "conj_grams"}
    known |= {"alignment", "top_eigenvalues", "spectra", "kernel_movement", "flips"}
    assert known <= set(CLAIMING)
    assert not {"coactivation", "chatter"} & set(CLAIMING)
