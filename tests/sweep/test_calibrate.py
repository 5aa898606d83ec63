import time

import numpy as np
import pytest

from gramdyn.plan import make_plan, parse_config
from gramdyn.sweep import calibrate
from gramdyn.sweep.calibrate import forecast, measure_peak, time_group
from gramdyn.sweep.compute import compile_group, fetch_chunk, start_chunk

TEXT = """\
task: {kind: gaussian, n_samples: 8, n_inputs: 4}
network: {width: 8, depth: 1}
scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 40}
record: {every: 8, of: [loss]}
precision: float64
runtime: {devices: 1, padding: never}
sweep: {seed: {count: 6}}
"""


def plan_of(*changes):
    return make_plan(parse_config(TEXT, changes=list(changes)))


def test_seconds_follow_from_what_a_step_and_a_saved_time_cost(monkeypatch):
    """With a clock of our own: 3 s a saved time, 0.5 s a step, found again exactly."""
    plan = plan_of()
    monkeypatch.setattr(calibrate, "compile_group", lambda group, plan: None)
    monkeypatch.setattr(calibrate, "_once", lambda p, group, plan, gap: 6 * 3.0 + 5 * gap * 0.5)
    (group,) = plan.groups
    assert time_group(group, plan).run_seconds == (6 * 3.0 + 40 * 0.5) / 6


def test_long_gaps_are_told_from_noise():
    """Of 40 000 steps and five saved times two steps are lost in the noise of any clock."""
    plan = plan_of("scheme.n_steps=40000", "record.every=8000")
    (group,) = plan.groups
    told = time_group(group, plan).run_seconds * group.chunk
    program = compile_group(group, plan)
    begun = time.perf_counter()
    fetch_chunk(start_chunk(program, group, plan, 0), group, 0)
    # A factor of 5 for a machine that does other things too; without care it was 100 and more.
    assert told / 5 < time.perf_counter() - begun < told * 5


def test_no_more_steps_are_timed_than_there_are(monkeypatch):
    plan = plan_of("scheme.n_steps=50", "record.every=10")
    gaps = []
    monkeypatch.setattr(calibrate, "compile_group", lambda group, plan: None)
    monkeypatch.setattr(calibrate, "_once", lambda p, group, plan, gap: gaps.append(gap) or 0.0)
    assert time_group(plan.groups[0], plan).run_seconds == 0.0
    assert gaps == [1, 2, 4, 8, 16]


def test_pieces_are_the_programs_own_first_steps():
    """Two steps between saved times: the losses are those of a run saved every two steps."""
    plan = plan_of()
    (group,) = plan.groups
    program = compile_group(group, plan)
    gaps = np.asarray([2, 2, 2, 2, 2, 0], np.int32)
    piece = fetch_chunk(start_chunk(program, group, plan, 0, gaps), group, 0)["loss"]
    other = plan_of("scheme.n_steps=10", "record.every=2")
    (own,) = other.groups
    whole = fetch_chunk(start_chunk(compile_group(own, other), own, other, 0), own, 0)["loss"]
    np.testing.assert_allclose(piece, whole, rtol=1e-14)


def test_groups_that_are_not_timed_follow_by_their_operations(monkeypatch):
    """One group of three holds 80 % of the work; all cost a nanosecond a unit of work."""
    plan = plan_of("sweep.network.width=[4, 8, 2048]", "task.n_inputs=20", "network.depth=2")

    def time_group(group, plan):
        return calibrate.GroupSpeed(2.0, 1e-9 * group.run_work)

    monkeypatch.setattr(calibrate, "time_group", time_group)
    monkeypatch.setattr(calibrate, "measure_peak", lambda runtime: 4e9)
    found = forecast(plan)
    assert found.measured == ("width-2048",)
    running = 1e-9 * plan.work
    assert found.seconds == pytest.approx(2.0 + running)  # the first compile is waited for
    assert found.peak_share == pytest.approx(plan.flops / running / 4e9)
    # Of short sweeps the compiles of all others, in two threads, outlast the runs.
    short = plan_of("sweep.network.width=[4, 6, 8]", "scheme.n_steps=8")
    assert forecast(short).seconds == pytest.approx(2.0 + 2.0)


def test_peak_is_of_the_order_of_another_librarys():
    """Numpy's product on the same cores; a factor of 8 for other libraries and a busy machine."""
    matrix = np.ones((1024, 1024))
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - begun)
    other = 2 * 1024**3 / min(seconds)
    assert other / 8 < measure_peak(plan_of().runtime) < other * 8
