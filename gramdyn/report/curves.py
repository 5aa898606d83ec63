"""Records over time: one curve a cell, with its band over seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int, Num

from gramdyn.report.cells import Cell
from gramdyn.report.statistics import Band, band_over_seeds, thin_steps

Pick = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Curve:
    """A number over time at one place of the sweep.

    Attributes:
        place: Where on the sweep's axes.
        steps: Saved steps, thinned.
        band: Quantiles over seeds at those steps.
        runs: Seeds it is taken over.
    """

    place: dict[str, Any]
    steps: Int[np.ndarray, " times"]
    band: Band
    runs: int

    def after_start(self) -> "Curve":
        """The curve without step 0, for what is zero there up to rounding."""
        later = self.steps > 0
        band = Band(*(part[later] for part in self.band))
        return Curve(self.place, self.steps[later], band, self.runs)

    def rows(self) -> list[dict[str, Any]]:
        """The curve as rows of a table."""
        columns = zip(self.steps.tolist(), *(part.tolist() for part in self.band), strict=True)
        return [
            {**self.place, "step": s, "median": mid, "q10": low, "q90": high, "runs": self.runs}
            for s, low, mid, high in columns
        ]


def curves_of(cells: Sequence[Cell], name: str, pick: Pick | None = None) -> list[Curve]:
    """A curve for each cell that has the record.

    Args:
        cells: The cells.
        name: Name of the record, axes (run, ..., step).
        pick: From the record to one number a run and step, shape (runs, times); without it the
            record must have no further axes.
    """
    return [_curve(cell, name, pick) for cell in cells if cell.has(name)]


def _curve(cell: Cell, name: str, pick: Pick | None) -> Curve:
    values = cell.read(name)
    return _curve_of(cell, cell.place, pick(values) if pick else values)


def _curve_of(cell: Cell, place: dict[str, Any], values: Num[np.ndarray, "runs times"]) -> Curve:
    kept = thin_steps(cell.steps)
    return Curve(place, cell.steps[kept], band_over_seeds(values[:, kept]), len(values))


def curves_along(cells: Sequence[Cell], name: str, axis: str, **more: Any) -> list[Curve]:
    """A curve for each cell that has the record and each entry along an axis of it.

    Args:
        cells: The cells.
        name: Name of the record, axes (run, axis, step).
        axis: The axis; its label, or 1, 2, ..., is in the place of the curve.
        more: What else goes into the place of each curve.
    """
    return [
        _curve_of(cell, {**cell.place, **more, axis: label}, cell.read(name)[:, i])
        for cell in cells
        if cell.has(name)
        for i, label in enumerate(cell.along(axis))
    ]


def after_start(curves: Sequence[Curve]) -> list[Curve]:
    """The curves without step 0; those that have nothing else are left out."""
    later = [curve.after_start() for curve in curves]
    return [curve for curve in later if len(curve.steps)]


def rows_of(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """All curves as rows of one table."""
    return [row for curve in curves for row in curve.rows()]


def last_values(cell: Cell, name: str) -> Num[np.ndarray, " ok"]:
    """A record of one number a time, at the last saved step, for each run that came through."""
    return cell.read(name)[:, -1]


def runs_learnt(cell: Cell) -> tuple[int, int] | None:
    """Runs with `success` at the last saved step, and all runs; failed ones have learnt nothing.

    None where it was not recorded, or no run is there.
    """
    if "success" not in cell.node.data.variables or cell.n_runs == 0:
        return None
    return int(np.sum(last_values(cell, "success"))), cell.n_runs
