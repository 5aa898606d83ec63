"""Progress of a sweep on the terminal: a live bar, or a plain line now and then without one."""

import time

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from gramdyn.sweep.plan import Group, Plan

_PLAIN_EVERY = 10.0


class Progress:
    """A listener that shows runs, steps a second and time left; work counts by its operations."""

    def __init__(self, console: Console):
        self.console = console
        self.bar: Bar | None = None
        self.task = TaskID(0)
        self.runs = self.failed = 0
        self.flops = self.steps = 0.0
        self.said = self.started = time.perf_counter()

    def begin(self, plan: Plan) -> None:
        """Start the clock and, on a terminal, the bar."""
        self.plan = plan
        self.started = self.said = time.perf_counter()
        if self.console.is_terminal:
            columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
            self.bar = Bar(*columns, console=self.console, transient=True)
            self.task = self.bar.add_task("starting", total=plan.flops)
            self.bar.start()

    def compiling(self, group: Group) -> None:
        """Say which group is next."""
        if self.bar:
            self.bar.update(self.task, description=self._line(f"{group.name}: compiling"))

    def advance(self, group: Group, runs: int, failed: int) -> None:
        """Count a chunk."""
        self.runs += runs
        self.failed += failed
        self.steps += runs * group.n_steps
        self.flops += runs * group.run_flops
        if self.bar:
            self.bar.update(self.task, completed=self.flops, description=self._line(group.name))
        elif time.perf_counter() - self.said > _PLAIN_EVERY:
            self.said = time.perf_counter()
            self.console.print(self._line(group.name), highlight=False)

    def end(self) -> None:
        """Take the bar away."""
        if self.bar:
            self.bar.stop()

    def _line(self, what: str) -> str:
        spent = max(time.perf_counter() - self.started, 1e-9)
        left = f"{spent * (self.plan.flops / self.flops - 1):.0f} s left" if self.flops else "..."
        failed = f", {self.failed} failed" if self.failed else ""
        return (
            f"{what}  {self.runs}/{self.plan.n_runs} runs{failed}, "
            f"{self.steps / spent:,.0f} steps/s, {left}"
        )
