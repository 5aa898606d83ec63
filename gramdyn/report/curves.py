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
    kept = thin_steps(cell.steps)
    values = cell.read(name)
    values = pick(values) if pick else values
    return Curve(cell.place, cell.steps[kept], band_over_seeds(values[:, kept]), len(values))


def rows_of(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """All curves as rows of one table."""
    return [row for curve in curves for row in curve.rows()]


def last_values(cell: Cell, name: str) -> Num[np.ndarray, " ok"]:
    """A record of one number a time, at the last saved step, for each run that came through."""
    return cell.read(name)[:, -1]
