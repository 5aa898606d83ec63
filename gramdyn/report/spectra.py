"""Pictures: largest eigenvalues over time, and whole spectra at both ends."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Num

from gramdyn.report.cells import Cell
from gramdyn.report.curves import curves_of
from gramdyn.report.lines import (
    BAND_TEXT,
    LineLook,
    curve_picture,
    panels,
    set_log_axis,
    set_panel_titles,
)
from gramdyn.report.picture import Picture
from gramdyn.report.statistics import log_ticks
from gramdyn.report.styles import Styles

_RECORDS = ("top_eigenvalues", "spectrum")


def top_record(cells: Sequence[Cell]) -> str | None:
    """The record that holds the largest eigenvalue; None if neither is there."""
    return next((name for name in _RECORDS if any(cell.has(name) for cell in cells)), None)


def first_rank(values: Num[np.ndarray, "runs ranks times"]) -> Num[np.ndarray, "runs times"]:
    """The largest eigenvalue of each run and time."""
    return values[:, 0]


def draw_top_eigenvalue(cells: Sequence[Cell], styles: Styles) -> Picture | None:
    """Largest eigenvalue of the tangent kernel over time."""
    record = top_record(cells)
    if record is None:
        return None
    return curve_picture(
        curves_of(cells, record, first_rank),
        styles,
        LineLook("largest eigenvalue"),
        name="top_eigenvalue",
        title="Largest eigenvalue of the tangent kernel",
        text=f"{BAND_TEXT} A flat line is a kernel that stays as it began; a rising one is a "
        "kernel that grows along a direction it learns.",
        law="A gradient step of size η is stable while "
        "<i>s</i> η λ<sub>max</sub>(<i>K</i>) &lt; 2.",
    )


def draw_spectrum(cells: Sequence[Cell], styles: Styles) -> Picture | None:
    """All eigenvalues of the tangent kernel by rank, at the first and the last saved step."""
    there = [cell for cell in cells if cell.has("spectrum")]
    if not there:
        return None
    figure, seen = panels(styles), set[str]()
    rows = [row for cell in there for row in _spectrum_rows(cell)]
    for cell in there:
        _add_spectrum(figure, cell, styles, seen)
    set_log_axis(figure, decades=7)
    _set_rank_axis(figure, len({row["rank"] for row in rows}))
    set_panel_titles(figure, styles, ["eigenvalue"])
    return Picture(
        name="spectrum",
        title="Spectrum of the tangent kernel",
        text="Eigenvalues by rank, median over seeds. Dotted: at the first saved step. Solid: at "
        "the last.",
        figure=figure,
        rows=rows,
    )


def _spectrum_rows(cell: Cell) -> list[dict[str, Any]]:
    values = np.median(cell.read("spectrum")[..., [0, -1]], axis=0).tolist()
    return [
        {**cell.place, "rank": rank + 1, "start": start, "end": end}
        for rank, (start, end) in enumerate(values)
    ]


def _add_spectrum(figure: go.Figure, cell: Cell, styles: Styles, seen: set[str]) -> None:
    at, label = styles.at(cell.place), styles.label(cell.place)
    rows = _spectrum_rows(cell)
    for key, dash in (("end", "solid"), ("start", "dot")):
        trace = go.Scatter(
            x=[row["rank"] for row in rows],
            y=[row[key] if row[key] > 0 else None for row in rows],
            name=label,
            legendgroup=label,
            showlegend=bool(label) and label not in seen,
            line={"color": styles.colour(cell.place), "width": 1.8, "dash": dash},
            hovertemplate=f"{key}, rank %{{x}}: %{{y:.4g}}",
        )
        figure.add_trace(trace, **at)
        seen.add(label)


def _set_rank_axis(figure: go.Figure, count: int) -> None:
    ticks = log_ticks(1, max(count, 2))
    figure.update_xaxes(type="log", title_text="rank", tickvals=ticks)
    figure.update_xaxes(ticktext=[f"{tick:g}" for tick in ticks])
