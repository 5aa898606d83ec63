"""Sweeps computed without a folder."""

import json
from typing import Any

import numpy as np

from gramdyn.plan import Plan, make_plan, parse_config
from gramdyn.sweep.compute import compile_group, fetch_chunk, start_chunk

Run = dict[str, np.ndarray]


def plan_of(text: str, *changes: str) -> Plan:
    """The plan of a configuration with changes."""
    return make_plan(parse_config(text, changes=list(changes)))


def compute(plan: Plan) -> dict[str, Run]:
    """Arrays of every run, by its place on the sweep's axes."""
    found = {}
    for group in plan.groups:
        program = compile_group(group, plan)
        for start in group.starts:
            arrays = fetch_chunk(start_chunk(program, group, plan, start), group, start)
            for i, job in enumerate(group.jobs[start : start + group.chunk]):
                found[place_of(job)] = {name: array[i] for name, array in arrays.items()}
    return found


def place_of(job: Any) -> str:
    """Where a run stands, as text."""
    return json.dumps(job.place, sort_keys=True)


def assert_close(one: Run, other: Run, tolerance: float) -> None:
    """Equal arrays of a run: numbers to a share of each array's largest, counts exactly."""
    assert one.keys() == other.keys()
    for name, wanted in one.items():
        if wanted.dtype.kind != "f":
            np.testing.assert_array_equal(other[name], wanted, err_msg=name)
            continue
        size = float(np.max(np.abs(wanted), initial=0.0, where=np.isfinite(wanted)))
        np.testing.assert_allclose(other[name], wanted, rtol=0, atol=tolerance * size, err_msg=name)


def assert_same_bits(one: Run, other: Run) -> None:
    """Equal arrays of a run, to the last bit."""
    assert one.keys() == other.keys()
    for name, wanted in one.items():
        np.testing.assert_array_equal(other[name], wanted, err_msg=name)
