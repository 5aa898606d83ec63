"""A value more on any axis changes no other run."""

from functools import cache

import pytest
from support.chunks import assert_close, assert_same_bits, compute, plan_of

# Chunks of two runs on one device whatever is added: a map of another length is another program,
# which may round the last bit otherwise.
BASE = """\
task: {kind: gaussian, n_samples: 6, n_inputs: 10, target: linear}
network: {width: 4, depth: 2, parametrization: ntk}
scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 30, momentum: 0.5}
record: {every: 10, of: [residual, flips]}
precision: float64
runtime: {devices: 1, chunk_runs: 2}
sweep:
  seed: [0, 1]
  scheme.step_size: [0.1, 0.2]
  network.weight_scale: [1, 0.5]
  task.seed: [0, 1]
"""
# In the middle, so that runs move to other places and chunks, or where a program grows wider.
NUMBERS = {
    "seed": "[0, 7, 1]",
    "scheme.step_size": "[0.1, 0.15, 0.2]",
    "network.weight_scale": "[1, 0.7, 0.5]",
    "task.seed": "[0, 5, 1]",
}
SHAPES = {
    "network.width": ("[4, 6]", "[4, 9, 6]"),
    "network.depth": ("[1, 2]", "[1, 3, 2]"),
}


@cache
def base(*changes):
    return compute(plan_of(BASE, *changes))


@pytest.mark.parametrize("axis", NUMBERS)
def test_numbers_to_the_last_bit(axis):
    wanted, found = base(), base(f"sweep.{axis}={NUMBERS[axis]}")
    assert (len(wanted), len(found)) == (16, 24)
    for place, run in wanted.items():
        assert_same_bits(run, found[place])


@pytest.mark.parametrize("axis", SHAPES)
def test_shapes_to_the_last_bit_in_programs_of_their_own(axis):
    wanted, found = (base("runtime.padding=never", f"sweep.{axis}={v}") for v in SHAPES[axis])
    assert (len(wanted), len(found)) == (32, 48)
    for place, run in wanted.items():
        assert_same_bits(run, found[place])


@pytest.mark.parametrize("axis", ["seed", *SHAPES])
def test_to_the_last_bits_in_any_program(axis):
    """Chunks of any length on all devices, and widths that share a program."""
    before = {"network.width": "[4, 6]", **({axis: SHAPES[axis][0]} if axis in SHAPES else {})}
    after = {**before, axis: SHAPES[axis][1] if axis in SHAPES else NUMBERS[axis]}
    wanted, found = (
        base("runtime={}", *(f"sweep.{key}={values}" for key, values in axes.items()))
        for axes in (before, after)
    )
    assert len(wanted) < len(found)
    for place, run in wanted.items():
        # sums in another order, grown over 30 steps
        assert_close(run, found[place], 1e-12)
