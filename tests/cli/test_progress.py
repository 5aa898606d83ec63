import io

import pytest
from rich.console import Console

from gramdyn.cli import progress
from gramdyn.cli.console import told_seconds
from gramdyn.cli.progress import Progress
from gramdyn.plan import make_plan, parse_config

TEXT = """\
task: {kind: gaussian, n_samples: 8, n_inputs: 4}
network: {width: 8, depth: 1}
scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 40}
sweep: {seed: {count: 10}}
"""


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def begun(clock, peak=0.0):
    plan = make_plan(parse_config(TEXT))
    told = io.StringIO()
    shown = Progress(Console(file=told, width=200))
    shown.begin(plan)
    shown.peak = peak
    return plan.groups[0], shown, told


def test_a_line_tells_runs_failures_speed_share_of_peak_and_time_left(clock):
    group, shown, told = begun(clock)
    shown.peak = group.run_flops  # one run a second
    clock.now += 20.0
    shown.advance(group, 4, 1)
    # 4 runs of 40 steps in 20 s; 6 runs left at 0.2 runs a second.
    line = "runs  4/10 runs, 1 failed, 8 steps/s (20% of peak), 30 s left"
    assert told.getvalue().strip() == line


def test_runs_found_from_before_are_done_but_not_fast(clock):
    group, shown, _ = begun(clock)
    shown.reuse(group, 5, 2)
    assert shown.line("x") == "x  5/10 runs, 2 failed, 0 steps/s, ..."
    clock.now += 10.0
    shown.advance(group, 1, 0)
    assert shown.line("x") == "x  6/10 runs, 2 failed, 4 steps/s, 40 s left"


def test_without_a_terminal_a_plain_line_now_and_then(clock):
    group, shown, told = begun(clock)
    for _ in range(4):
        clock.now += 4.0
        shown.advance(group, 1, 0)
    assert len(told.getvalue().splitlines()) == 1
    shown.end()


def test_the_peak_is_measured_for_long_sweeps_alone(clock, monkeypatch):
    monkeypatch.setattr(progress, "measure_peak", lambda runtime: 7.0)
    assert begun(clock)[1].peak == 0.0
    monkeypatch.setattr(progress, "_WORTH_A_PEAK", 1.0)
    plan = make_plan(parse_config(TEXT))
    for local in (True, False):  # of workers elsewhere it would say nothing
        shown = Progress(Console(file=io.StringIO()), local=local)
        shown.begin(plan)
        assert shown.peak == (7.0 if local else 0.0)


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.4, "0 s"), (119.0, "119 s"), (150.0, "2 min"), (7300.0, "2.0 h")]
)
def test_times_as_one_reads_them(seconds, told):
    assert told_seconds(seconds) == told
