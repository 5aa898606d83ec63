"""What came out, as a table: one row for each place of the sweep, over its seeds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from gramdyn.report.cells import Cell, cells_of
from gramdyn.report.curves import runs_learnt


def summary_rows(tree: xr.DataTree) -> list[dict[str, Any]]:
    """One row for each combination of the run coordinates other than seeds.

    Args:
        tree: What `gramdyn.store.open` returns.

    Returns:
        Rows of plain Python values, in the order of the plan: the coordinates (width, depth,
        further axes of the sweep); `runs` that are there, how many of them `failed`, how many are
        `missing` still; and over the runs that came through, None where nothing was recorded,
        `loss_start`, `loss_end`, `loss_ratio` (medians over seeds of the loss at both ends and of
        end over start), `top_eigenvalue_start`, `top_eigenvalue_end` (medians),
        `kernel_movement` (mean at the end), `flips` (median of the sum over layers and times),
        `modes_learned` (median number at half their singular value or more, at the end) and
        `step_size` (median). Where a planted map was followed also `population_loss_start`,
        `population_loss_end` (medians) and `learnt` (share of the runs that are there).
    """
    cells = cells_of(tree)
    planted = [name for name in _PLANTED if any(_PLANTED[name](cell) is not None for cell in cells)]
    return [{**_row(cell), **{name: _PLANTED[name](cell) for name in planted}} for cell in cells]


def _row(cell: Cell) -> dict[str, Any]:
    counts = {"runs": cell.n_runs, "failed": cell.n_failed, "missing": cell.n_missing}
    top = "top_eigenvalues" if cell.has("top_eigenvalues") else "spectrum"
    return {
        **cell.place,
        **counts,
        "loss_start": _over(cell, "loss", lambda loss: np.median(loss[:, 0])),
        "loss_end": _over(cell, "loss", lambda loss: np.median(loss[:, -1])),
        "loss_ratio": _over(cell, "loss", _ratio),
        "top_eigenvalue_start": _over(cell, top, lambda values: np.median(values[:, 0, 0])),
        "top_eigenvalue_end": _over(cell, top, lambda values: np.median(values[:, 0, -1])),
        "kernel_movement": _over(cell, "kernel_movement", lambda moved: np.mean(moved[:, -1])),
        "flips": _over(cell, "flips", lambda flips: np.median(flips.sum(axis=(1, 2)))),
        "modes_learned": _over(cell, "learned_modes", _learned),
        "step_size": _over(cell, "step_size", np.median),
    }


def _learnt(cell: Cell) -> float | None:
    found = runs_learnt(cell)
    return None if found is None else found[0] / found[1]


def _population_loss(end: int) -> Callable[[Cell], float | None]:
    return lambda cell: _over(cell, "population_loss", lambda loss: np.median(loss[:, end]))


# Columns that only runs on a planted map have.
_PLANTED: dict[str, Callable[[Cell], float | None]] = {
    "population_loss_start": _population_loss(0),
    "population_loss_end": _population_loss(-1),
    "learnt": _learnt,
}


def _learned(share: np.ndarray) -> Any:
    return np.median(np.sum(share[..., -1] >= 0.5, axis=1))


def _over(cell: Cell, name: str, reduce: Callable[[np.ndarray], Any]) -> float | None:
    """A number over the runs that came through; None without the record, or if it is not finite."""
    if not cell.has(name):
        return None
    number = float(reduce(np.asarray(cell.read(name), np.float64)))
    return number if np.isfinite(number) else None


def _ratio(loss: np.ndarray) -> Any:
    start, end = loss[:, 0], loss[:, -1]
    return np.median(end[start > 0] / start[start > 0]) if np.any(start > 0) else np.nan
