"""`gramdyn status`: how a sweep stands."""

from pathlib import Path

from rich.table import Table

from gramdyn.cli.console import make_console, told_seconds
from gramdyn.store.status import SweepState, read_state


def show_status(folder: Path) -> None:
    """Print state, runs of each group, speed and time left."""
    found = read_state(folder)
    console = make_console()
    console.print(_table(found))
    console.print(_told(found))


def _table(found: SweepState) -> Table:
    table = Table(title_justify="left")
    table.add_column("group")
    for name in ("done", "runs", "failed"):
        table.add_column(name, justify="right")
    for group in found.groups:
        table.add_row(group.name, str(group.done), str(group.total), str(group.failed))
    return table


def _told(found: SweepState) -> str:
    by = f" by {found.owner}" if found.owner else ""
    parts = [f"{found.state}{by}: {found.done} of {found.total} runs, {found.failed} failed"]
    if found.unreadable:
        parts.append(f"{found.unreadable} markers broken, to be computed again")
    if found.last:
        parts.append(f"last chunk {found.last}")
    if found.speed is not None:
        parts.append(f"{found.speed:.3g} runs/s")
    if found.seconds_left is not None:
        parts.append(f"about {told_seconds(found.seconds_left)} left")
    return "; ".join(parts)
