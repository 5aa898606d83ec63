"""Pictures: how the modes of a linear target are learned, and when, over an axis of the sweep."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from gramdyn.report.cells import Cell
from gramdyn.report.curves import curves_along
from gramdyn.report.lines import LineLook, curve_picture, panels, power_label, set_log_axis
from gramdyn.report.picture import Picture
from gramdyn.report.roles import (
    Roles,
    as_number,
    at_ends,
    axis_title,
    axis_values,
    cell_a_panel,
    is_numeric,
    told_networks,
    varying,
)
from gramdyn.report.statistics import Band, band_over_seeds, log_ticks
from gramdyn.report.styles import Styles
from gramdyn.report.theme import translucent

_LIMIT = 6
_LAW = (
    "A mode is a singular triplet (&sigma;, u, v) of the target. Along balanced weights its "
    "strength <i>s</i> obeys d<i>s</i>/d<i>t</i> = "
    "<i>L</i> <i>s</i><sup>2 &minus; 2/<i>L</i></sup> (&sigma; &minus; <i>s</i>), "
    "<i>L</i> = depth + 1 layers"
)


def draw_modes(cells: Sequence[Cell]) -> Picture | None:
    """Strength of each mode over its sigma, over time; of starts of many scales the smallest."""
    there = _at_the_smallest([cell for cell in cells if cell.has("learned_modes")])
    facet, chosen = cell_a_panel(there, _LIMIT)
    curves = curves_along(chosen, "learned_modes", "mode")
    if not curves:
        return None
    return curve_picture(
        curves,
        Styles(curves, Roles("mode", facet)),
        LineLook("strength over singular value", log=False),
        name="learned_modes",
        title="Modes of the target over time",
        text="Strength of each singular mode of the target in the network's map, over its singular "
        "value: 1 once it is learned, and about 0 before from a small start. A mode whose value is "
        "0 is shown over the largest value. Line: median over seeds, a colour a mode, the "
        "largest value first. Band: 10 to 90 % of them." + told_networks(chosen, there, facet),
        law=f"{_LAW}.",
    )


def draw_mode_times(cells: Sequence[Cell]) -> Picture | None:
    """When each mode is learned against the numeric axis with the most values, by depth."""
    there = [cell for cell in cells if cell.has("mode_times")]
    across = _across(there)
    if across is None:
        return None
    names = varying(there)
    facet = "depth" if "depth" in names and across != "depth" else None
    rest = tuple(name for name in names if name not in (across, facet))
    there = at_ends(there, rest)
    rows = [row for cell in there for row in _rows(cell)]
    if not any(0 < row["median"] < np.inf for row in rows):
        return None
    styles = Styles([_Row(row) for row in rows], Roles("mode", facet, rest))
    return Picture(
        name="mode_times",
        title=f"Time to learn each mode over {axis_title(across)}",
        text="Time, steps times step size, at which a mode first reaches the share of its "
        "singular value that the record asks for. Line: median over seeds, a colour a mode. Band: "
        "10 to 90 % of them, on the solid lines. A line ends where half of the runs did not learn "
        "the mode in the time they had, and where half had learned it from the start."
        + (" Of the axes shown by dashes both ends are drawn." if rest else ""),
        figure=_draw(rows, across, styles),
        rows=rows,
        law=f"{_LAW}: from a small start it waits for a time of the order of "
        "log(1/<i>s</i>)/(2&sigma;) for two layers, and of "
        "<i>s</i><sup>&minus;(1 &minus; 2/<i>L</i>)</sup>/((<i>L</i> &minus; 2) &sigma;) for more, "
        "where <i>s</i> is of the order of scale<sup><i>L</i></sup>.",
    )


def _at_the_smallest(cells: list[Cell]) -> list[Cell]:
    """The cells of the smallest start, where its scale varies: there modes are apart in time."""
    name = "weight_scale"
    if name not in varying(cells):
        return cells
    least = axis_values(cells, name)[0]
    return [cell for cell in cells if cell.place[name] == least]


class _Row:
    """A row of the table as something that stands at a place."""

    def __init__(self, row: dict[str, Any]):
        self.place = row


def _across(cells: Sequence[Cell]) -> str | None:
    """The numeric axis with the most values; width and depth only if there is no other."""
    numeric = [name for name in varying(cells) if is_numeric(cells, name)]
    plain = ("width", "depth")
    key = lambda name: (name not in plain, len(axis_values(cells, name)))  # noqa: E731
    return max(numeric, key=key, default=None)


def _rows(cell: Cell) -> list[dict[str, Any]]:
    """A row for each mode: quantiles over seeds of the time, infinite where not learned."""
    last = cell.read("mode_times")[..., -1]
    band = band_over_seeds(last)
    columns = zip(cell.along("mode"), *(part.tolist() for part in band), strict=True)
    return [
        {**cell.place, "mode": mode, "median": mid, "q10": low, "q90": high, "runs": len(last)}
        for mode, low, mid, high in columns
    ]


def _draw(rows: list[dict[str, Any]], across: str, styles: Styles) -> go.Figure:
    figure, seen = panels(styles), set[str]()
    lines: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = (styles.facet(row), styles.dash(row), row["mode"])
        lines.setdefault(key, []).append(row)
    for line in lines.values():
        for trace in _traces(line, across, styles, seen):
            figure.add_trace(trace, **styles.at(line[0]))
    figure.update_yaxes(title_text="time", col=1)
    set_log_axis(figure)
    _set_across(figure, across, rows)
    return figure


def _traces(
    line: list[dict[str, Any]], across: str, styles: Styles, seen: set[str]
) -> list[go.Scatter]:
    """The median, and the band of a solid line; an entry of the legend for the first alike."""
    line = sorted(line, key=lambda row: as_number(row[across]) or 0.0)
    x = np.asarray([as_number(row[across]) for row in line])
    band = Band(*(_finite([row[name] for row in line]) for name in ("q10", "median", "q90")))
    label, colour, dash = styles.label(line[0]), styles.colour(line[0]), styles.dash(line[0])
    entry = {"name": label, "legendgroup": label, "showlegend": label not in seen}
    seen.add(label)
    look = {"color": colour, "width": 2, "dash": dash}
    median = go.Scatter(
        x=x,
        y=band.mid,
        mode="lines+markers",
        line=look,
        marker={"size": 5},
        hovertemplate=f"{label}: %{{y:.4g}}<extra></extra>",
        legendrank=styles.rank(line[0]),
        **entry,
    )
    if dash != "solid":
        return [median]
    good = np.isfinite(band.low) & np.isfinite(band.high)
    outline = go.Scatter(
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
    return [outline, median]


def _finite(values: list[float]) -> np.ndarray:
    found = np.asarray(values, np.float64)
    return np.where(np.isfinite(found) & (found > 0), found, np.nan)


def _set_across(figure: go.Figure, across: str, rows: list[dict[str, Any]]) -> None:
    """The axis of the sweep, logarithmic where its values are above 0 and span a decade."""
    values = np.asarray([as_number(row[across]) for row in rows])
    figure.update_xaxes(title_text=axis_title(across))
    if values.min() > 0 and values.max() >= 10 * values.min():
        ticks = log_ticks(float(values.min()), float(values.max()))
        labels = [power_label(tick) for tick in ticks]
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=labels)
