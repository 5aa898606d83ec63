"""Progress of a sweep on the terminal: a live bar, or a plain line now and then without one."""

import time

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from gramdyn.cli.console import told_seconds
from gramdyn.plan.plan import Group, Plan
from gramdyn.sweep.calibrate import measure_peak

_PLAIN_EVERY = 10.0
# Below this many operations a sweep is over before its share of peak could be read.
_WORTH_A_PEAK = 1e12


class Progress:
    """A listener that shows runs, failures, steps a second, share of peak and time left.

    Work counts by its operations and steps. Speeds are of the runs computed now; those found from
    before count as done, not as done by us.

    Args:
        console: Where to write.
        local: Whether the runs are computed on this machine, whose peak they can be held against.
    """

    def __init__(self, console: Console, *, local: bool = True):
        self.console = console
        self.local = local
        self.peak = 0.0
        self.bar: Bar | None = None
        self.task = TaskID(0)
        self.runs = self.failed = 0
        self.reused = self.work = self.flops = self.steps = 0.0
        self.said = self.started = time.perf_counter()

    def begin(self, plan: Plan) -> None:
        """Start the clock and, on a terminal, the bar."""
        self.plan = plan
        if self.local and plan.flops > _WORTH_A_PEAK:
            self.peak = measure_peak(plan.runtime)
        self.started = self.said = time.perf_counter()
        if self.console.is_terminal:
            line = TextColumn("{task.description}", markup=False)
            self.bar = Bar(
                line, BarColumn(), TimeElapsedColumn(), console=self.console, transient=True
            )
            self.task = self.bar.add_task("starting", total=plan.work)
            self.bar.start()

    def reuse(self, group: Group, runs: int, failed: int) -> None:
        """Count runs found from before."""
        self.runs += runs
        self.failed += failed
        self.reused += runs * group.run_work

    def compiling(self, group: Group) -> None:
        """Say which group is next."""
        if self.bar:
            self.bar.update(self.task, description=self.line(f"{group.name}: compiling"))

    def advance(self, group: Group, runs: int, failed: int) -> None:
        """Count a chunk."""
        self.runs += runs
        self.failed += failed
        self.steps += runs * group.n_steps
        self.flops += runs * group.run_flops
        self.work += runs * group.run_work
        if self.bar:
            done = self.reused + self.work
            self.bar.update(self.task, completed=done, description=self.line(group.name))
        elif time.perf_counter() - self.said > _PLAIN_EVERY:
            self.said = time.perf_counter()
            self.console.print(self.line(group.name), highlight=False)

    def end(self) -> None:
        """Take the bar away."""
        if self.bar:
            self.bar.stop()

    def line(self, what: str) -> str:
        """One line: where the sweep is, how fast, how long still."""
        spent = max(time.perf_counter() - self.started, 1e-9)
        left = self.plan.work - self.reused - self.work
        time_left = f"{told_seconds(left * spent / self.work)} left" if self.work else "..."
        failed = f", {self.failed} failed" if self.failed else ""
        share = f" ({self.flops / spent / self.peak:.0%} of peak)" if self.peak else ""
        return (
            f"{what}  {self.runs}/{self.plan.n_runs} runs{failed}, "
            f"{self.steps / spent:,.0f} steps/s{share}, {time_left}"
        )
