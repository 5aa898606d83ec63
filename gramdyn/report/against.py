"""Times against a numeric axis of the sweep: a line a mode or an event, with its spread."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from gramdyn.report.cells import Cell
from gramdyn.report.lines import panels, power_label, set_log_axis
from gramdyn.report.picture import Picture
from gramdyn.report.roles import (
    Roles,
    as_number,
    at_ends,
    axis_title,
    axis_values,
    is_numeric,
    varying,
)
from gramdyn.report.statistics import Band, band_over_seeds, log_ticks
from gramdyn.report.styles import Styles
from gramdyn.report.theme import translucent


class Row:
    """A row of a table as something that stands at a place."""

    def __init__(self, row: dict[str, Any]):
        self.place = row


def times_picture(
    cells: Sequence[Cell],
    record: str,
    series: str,
    *,
    down: str,
    title: str,
    text: str,
    **words: str,
) -> Picture | None:
    """When each entry of a record came, against the numeric axis with the most values.

    None without the record, without such an axis, or where nothing came.

    Args:
        cells: The cells.
        record: Name of the record, axes (run, series, step); times at its last step, infinite for
            what never came.
        series: Its axis with a colour an entry.
        down: Title of the vertical axis.
        title: Heading, to which "over" the axis is added.
        text: How to read it.
        words: Name and law of the picture.
    """
    there = [cell for cell in cells if cell.has(record)]
    across = across_axis(there)
    if across is None:
        return None
    names = varying(there)
    facet = "depth" if "depth" in names and across != "depth" else None
    rest = tuple(name for name in names if name not in (across, facet))
    rows = [row for cell in at_ends(there, rest) for row in _rows(cell, record, series)]
    if not any(0 < row["median"] < np.inf for row in rows):
        return None
    styles = Styles([Row(row) for row in rows], Roles(series, facet, rest))
    told = " Of the axes shown by dashes both ends are drawn." if rest else ""
    figure, title = draw_against(rows, across, styles, down), f"{title} over {axis_title(across)}"
    return Picture(title=title, text=text + told, figure=figure, rows=rows, **words)


def across_axis(cells: Sequence[Cell]) -> str | None:
    """The numeric axis with the most values; width and depth only if there is no other."""
    numeric = [name for name in varying(cells) if is_numeric(cells, name)]
    plain = ("width", "depth")
    key = lambda name: (name not in plain, len(axis_values(cells, name)))  # noqa: E731
    return max(numeric, key=key, default=None)


def _rows(cell: Cell, record: str, series: str) -> list[dict[str, Any]]:
    """A row an entry: quantiles over seeds of the time, infinite where it never came."""
    last = cell.read(record)[..., -1]
    band = band_over_seeds(last)
    columns = zip(cell.along(series), *(part.tolist() for part in band), strict=True)
    return [
        {**cell.place, series: entry, "median": mid, "q10": low, "q90": high, "runs": len(last)}
        for entry, low, mid, high in columns
    ]


def draw_against(
    rows: list[dict[str, Any]], across: str, styles: Styles, down: str, *, log: bool = True
) -> go.Figure:
    """Medians and bands against an axis of the sweep.

    Args:
        rows: Places with `median`, `q10` and `q90`.
        across: The axis.
        styles: Colours, panels and dashes of the rows.
        down: Title of the vertical axis.
        log: Whether that axis is logarithmic; what is not above 0 is then left out.
    """
    figure, seen = panels(styles), set[str]()
    for line in lines_of(rows, styles):
        for trace in _traces(line, across, styles, seen):
            figure.add_trace(trace, **styles.at(line[0]))
    figure.update_yaxes(title_text=down, col=1)
    if log:
        set_log_axis(figure)
    set_across_axis(figure, across, rows)
    return figure


def lines_of(rows: list[dict[str, Any]], styles: Styles) -> list[list[dict[str, Any]]]:
    """Rows of one panel, dash and colour together, line by line."""
    lines: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = (styles.facet(row), styles.dash(row), styles.colour(row))
        lines.setdefault(key, []).append(row)
    return list(lines.values())


def along_axis(
    line: list[dict[str, Any]], across: str
) -> tuple[Float[np.ndarray, " points"], list[dict[str, Any]]]:
    """Values of the axis in their order, and the rows there."""
    line = sorted(line, key=lambda row: as_number(row[across]) or 0.0)
    return np.asarray([as_number(row[across]) for row in line]), line


def _traces(
    line: list[dict[str, Any]], across: str, styles: Styles, seen: set[str]
) -> list[go.Scatter]:
    """The median, and the band of a solid line; an entry of the legend for the first alike."""
    x, line = along_axis(line, across)
    band = Band(*(_finite([row[name] for row in line]) for name in ("q10", "median", "q90")))
    label, colour, dash = styles.label(line[0]), styles.colour(line[0]), styles.dash(line[0])
    entry = {"name": label, "legendgroup": label, "showlegend": label not in seen}
    seen.add(label)
    median = go.Scatter(
        x=x,
        y=band.mid,
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": dash},
        marker={"size": 5},
        hovertemplate=f"{label}: %{{y:.4g}}<extra></extra>",
        legendrank=styles.rank(line[0]),
        **entry,
    )
    return [_outline(x, band, label, colour), median] if dash == "solid" else [median]


def _outline(x: Float[np.ndarray, " points"], band: Band, label: str, colour: str) -> go.Scatter:
    good = np.isfinite(band.low) & np.isfinite(band.high)
    return go.Scatter(
        x=np.concatenate([x[good], x[good][::-1]]),
        y=np.concatenate([band.high[good], band.low[good][::-1]]),
        fill="toself",
        fillcolor=translucent(colour, 0.14),
        line={"width": 0},
        mode="lines",
        legendgroup=label,
        showlegend=False,
        hoverinfo="skip",
    )


def _finite(values: list[float]) -> Float[np.ndarray, " points"]:
    found = np.asarray(values, np.float64)
    return np.where(np.isfinite(found) & (found > 0), found, np.nan)


def set_across_axis(figure: go.Figure, across: str, rows: list[dict[str, Any]]) -> None:
    """The axis of the sweep, logarithmic where its values are above 0 and span a decade."""
    values = np.asarray([as_number(row[across]) for row in rows])
    figure.update_xaxes(title_text=axis_title(across))
    if values.min() > 0 and values.max() >= 10 * values.min():
        ticks = log_ticks(float(values.min()), float(values.max()))
        labels = [power_label(tick) for tick in ticks]
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=labels)
