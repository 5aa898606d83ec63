"""A plan costs little, whatever it plans, and a group compiles once, whatever its runs."""

import jax
import pytest
from support.chunks import plan_of

from gramdyn.plan import jobs
from gramdyn.sweep import run_plan

TEXT = """\
task: {kind: gaussian, n_samples: 6, n_inputs: 10}
network: {width: 5, depth: 2}
scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 10}
record: {every: 5, of: [loss, layer_kernels]}
"""
MANY = "sweep={seed: {count: 1000}, scheme.step_size: [0.1, 0.2, 0.3, 0.4, 0.5], " + (
    "network.width: [4, 8], network.depth: [1, 2]}"
)
traces = []


def traced(fields):
    """Its Python runs once for each time that a run is traced."""
    traces.append(fields)
    return fields.outputs.mean()


def test_of_twenty_thousand_runs_each_cell_is_configured_once(monkeypatch):
    """What a run costs to plan must be small: 1.8 s were measured for all of them."""
    made, configure = [], jobs._configure
    monkeypatch.setattr(jobs, "_configure", lambda *given: made.append(1) or configure(*given))
    plan = plan_of(TEXT, MANY)
    assert plan.n_runs == 20_000
    assert len(made) == 5 * 2 * 2


@pytest.mark.parametrize("runs", [2, 500])
def test_planning_traces_each_group_once(runs):
    del traces[:]
    plan = plan_of(
        TEXT,
        f"record.of=['{__name__}:traced']",
        f"sweep={{seed: {{count: {runs}}}, network.width: [4, 8], network.depth: [1, 2]}}",
    )
    assert len(plan.groups) == 4
    assert len(traces) == 4


@pytest.fixture
def compiled():
    """Names of the programs that the backend compiles, or takes from the compile cache."""
    names = []

    def note(event, seconds, **facts):
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(facts.get("fun_name"))

    jax.monitoring.register_event_duration_secs_listener(note)
    yield names
    jax.monitoring.unregister_event_duration_listener(note)


@pytest.mark.parametrize(("padding", "groups"), [("never", 2), ("always", 1)])
def test_a_group_compiles_once_for_all_its_values_and_chunks(tmp_path, compiled, padding, groups):
    plan = plan_of(
        TEXT,
        "sweep={seed: [0, 1, 5], scheme.step_size: [0.1, 0.2, 0.3], task.seed: [3, 4, 5], "
        "network.width: [4, 8]}",
        f"runtime={{padding: {padding}, chunk_runs: 4, devices: 2}}",
    )
    assert compiled.count("jit(run_many)") == 0  # a plan compiles none
    assert len(plan.groups) == groups
    # 27 runs or 54 in chunks of 4: the last ones are filled up
    assert sum(len(group.starts) for group in plan.groups) == 14
    tally = run_plan(plan, tmp_path / "run")
    assert tally.runs == 54
    assert compiled.count("jit(run_many)") == tally.programs == groups
