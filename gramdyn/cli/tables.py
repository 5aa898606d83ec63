"""Tables on the terminal."""

from typing import Any

import xarray as xr
from rich.table import Table

from gramdyn.plan.plan import Plan
from gramdyn.report.table import summary_rows


def plan_table(plan: Plan) -> Table:
    """One row a group: runs, coordinates, size, work."""
    table = Table(title="plan", title_justify="left")
    table.add_column("group")
    for name in ("runs", "chunk", "coordinates", "steps", "GFLOP/run", "MB/run"):
        table.add_column(name, justify="right")
    for group in plan.groups:
        table.add_row(
            group.name,
            str(len(group.jobs)),
            str(group.chunk),
            group.coordinates,
            str(group.n_steps),
            f"{group.run_flops / 1e9:.3g}",
            f"{group.run_bytes / 1e6:.3g}",
        )
    return table


# Statistics of a row, as columns: title, and the keys whose numbers stand in it.
_COLUMNS = (
    ("runs", ("runs",)),
    ("failed", ("failed",)),
    ("loss", ("loss_start", "loss_end")),
    ("top eigenvalue", ("top_eigenvalue_start", "top_eigenvalue_end")),
    ("kernel moved", ("kernel_movement",)),
    ("mask flips", ("flips",)),
    ("modes learned", ("modes_learned",)),
    ("population loss", ("population_loss_start", "population_loss_end")),
    ("learnt", ("learnt",)),
    ("step size", ("step_size",)),
)
_NOT_AXES = {"missing", "loss_ratio", *(key for _, keys in _COLUMNS for key in keys)}


# Rows of the summary: a screenful or two.
_MOST_ROWS = 40


def summary_table(tree: xr.DataTree) -> Table:
    """What came out: one row for each place on the axes, medians over seeds, start -> end.

    Of many rows the first ones; `gramdyn report` has them all.
    """
    rows = summary_rows(tree)
    title = "what came out: medians over seeds, start -> end"
    if len(rows) > _MOST_ROWS:
        title += f" (the first {_MOST_ROWS} of {len(rows)} rows)"
        rows = rows[:_MOST_ROWS]
    table = Table(title=title, title_justify="left")
    axes = [name for name in dict.fromkeys(k for row in rows for k in row) if name not in _NOT_AXES]
    shown = [c for c in _COLUMNS if any(row.get(key) for row in rows for key in c[1])]
    for name in [*axes, *(title for title, _ in shown)]:
        table.add_column(name, justify="right")
    for row in rows:
        cells = [" -> ".join(_told(row[key]) for key in keys) for _, keys in shown]
        table.add_row(*(_told(row.get(name)) for name in axes), *cells)
    return table


def _told(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float) and 1e3 <= abs(value) < 1e7:
        return f"{value:.0f}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
