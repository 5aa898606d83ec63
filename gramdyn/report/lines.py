"""Curves over time as a figure: a panel a facet, a colour a value, a band over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from gramdyn.report.cells import Cell
from gramdyn.report.curves import Curve
from gramdyn.report.roles import (
    Roles,
    axis_title,
    axis_values,
    choose_roles,
    place_title,
    value_title,
)
from gramdyn.report.statistics import StepAxis, log_ticks
from gramdyn.report.theme import DASHES, ordered_colours, translucent

COLUMNS = 3
PANEL_HEIGHT = 290


class Styles:
    """Colour, panel and dash of each place of the sweep.

    Args:
        cells: All cells of the sweep, so that a value has the same colour in every picture.
    """

    def __init__(self, cells: Sequence[Cell]):
        self.roles: Roles = choose_roles(cells)
        self.colours = _named(cells, self.roles.colour, ordered_colours)
        self.facets = _named(cells, self.roles.facet, range)
        places = [tuple(cell.place[name] for name in self.roles.dash) for cell in cells]
        self._dashes = list(dict.fromkeys(places))

    def colour(self, place: dict[str, Any]) -> str:
        """Colour of a place."""
        return str(self.colours[place.get(self.roles.colour or "")])

    def facet(self, place: dict[str, Any]) -> int:
        """Index of its panel, from 0."""
        return int(self.facets[place.get(self.roles.facet or "")])

    def dash(self, place: dict[str, Any]) -> str:
        """Dash of its line."""
        key = tuple(place[name] for name in self.roles.dash)
        return DASHES[self._dashes.index(key) % len(DASHES)]

    def label(self, place: dict[str, Any]) -> str:
        """Its entry in the legend: the value of the colour, then of the dashes."""
        names = self.roles.dash
        colour = value_title(place[self.roles.colour]) if self.roles.colour else ""
        return ", ".join(part for part in (colour, place_title(place, names)) if part)

    @property
    def legend_title(self) -> str:
        """Heading of the legend."""
        return axis_title(self.roles.colour) if self.roles.colour else ""

    @property
    def facet_titles(self) -> list[str]:
        """Headings of the panels."""
        name = self.roles.facet
        return [place_title({name: value}, [name]) for value in self.facets] if name else [""]


def _named(cells: Sequence[Cell], name: str | None, make: Any) -> dict[Any, Any]:
    values = [None] if name is None else axis_values(cells, name)
    return dict(zip(values, make(len(values)), strict=True))


def panels(styles: Styles, height: int = PANEL_HEIGHT) -> go.Figure:
    """An empty figure with a panel for each facet, at most three in a row."""
    count = len(styles.facet_titles)
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    pixels = rows * height + 90
    figure = make_subplots(
        rows,
        columns,
        shared_yaxes="all",
        subplot_titles=styles.facet_titles,
        horizontal_spacing=0.035,
        vertical_spacing=70 / pixels,
    )
    figure.update_layout(template=None, height=pixels, margin={"l": 70, "r": 150, "t": 36, "b": 54})
    figure.update_layout(legend={"x": 1.015, "y": 1, "yanchor": "top", "tracegroupgap": 0})
    figure.update_layout(legend_title_text=styles.legend_title)
    return figure


def cell_of_panel(index: int) -> dict[str, int]:
    """Row and column of a panel, from 1."""
    return {"row": index // COLUMNS + 1, "col": index % COLUMNS + 1}


@dataclass(frozen=True)
class LineLook:
    """How curves over time are drawn.

    Attributes:
        title: Of the vertical axis.
        log: Whether that axis is logarithmic.
    """

    title: str
    log: bool = True


def draw_curves(curves: Sequence[Curve], styles: Styles, look: LineLook) -> go.Figure:
    """Curves over time: median line, 10-90 % band where there is more than one seed."""
    figure = panels(styles)
    axis = StepAxis.of([curve.steps for curve in curves])
    seen: set[str] = set()
    for curve in curves:
        _add_curve(figure, curve, styles, axis, look, seen)
    set_step_axis(figure, axis)
    if look.log:
        set_log_axis(figure)
    figure.update_yaxes(title_text=look.title, col=1)
    return figure


def _add_curve(
    figure: go.Figure, curve: Curve, styles: Styles, axis: StepAxis, look: LineLook, seen: set[str]
) -> None:
    at = cell_of_panel(styles.facet(curve.place))
    label, colour = styles.label(curve.place), styles.colour(curve.place)
    x = axis.place(curve.steps)
    low, mid, high = (_drawable(part, look.log) for part in curve.band)
    if curve.runs > 1:
        figure.add_trace(_band(x, low, high, translucent(colour, 0.2), label), **at)
    figure.add_trace(
        go.Scatter(
            x=x,
            y=mid,
            name=label or "median",
            legendgroup=label,
            showlegend=bool(label) and label not in seen,
            mode="lines",
            line={"color": colour, "width": 2, "dash": styles.dash(curve.place)},
            customdata=curve.steps,
            hovertemplate="step %{customdata}: %{y:.4g}",
        ),
        **at,
    )
    seen.add(label)


def _band(x: Any, low: Any, high: Any, colour: str, label: str) -> go.Scatter:
    good = np.isfinite(low) & np.isfinite(high)
    return go.Scatter(
        x=np.concatenate([x[good], x[good][::-1]]),
        y=np.concatenate([high[good], low[good][::-1]]),
        fill="toself",
        fillcolor=colour,
        line={"width": 0},
        mode="lines",
        legendgroup=label,
        showlegend=False,
        hoverinfo="skip",
    )


def _drawable(values: Float[np.ndarray, " times"], log: bool) -> Float[np.ndarray, " times"]:
    return np.where(values > 0, values, np.nan) if log else values


def set_step_axis(figure: go.Figure, axis: StepAxis) -> None:
    """Logarithmic axes of steps, with a label where step 0 is drawn."""
    ticks = axis.ticks()
    figure.update_xaxes(
        type="log",
        range=np.log10([axis.zero * 0.93, axis.last * 1.07]).tolist(),
        tickvals=[tick or axis.zero for tick in ticks],
        ticktext=[power_label(tick) for tick in ticks],
        title_text="step",
    )


def set_log_axis(figure: go.Figure, decades: int = 30) -> None:
    """Logarithmic vertical axes that fit the lines and points drawn, with few labels.

    Args:
        figure: The figure.
        decades: Powers of ten below the highest point that may be seen at most.
    """
    drawn = [np.asarray(trace.y, np.float64) for trace in figure.data if trace.y is not None]
    values = np.concatenate([y[np.isfinite(y) & (y > 0)] for y in drawn])
    if len(values) == 0:
        return
    values = values[values >= values.max() * 10.0**-decades]
    room = (values.max() / values.min()) ** 0.05 * 1.02
    low, high = float(values.min() / room), float(values.max() * room)
    ticks = log_ticks(low, high)
    labels = [power_label(tick) for tick in ticks]
    figure.update_yaxes(type="log", range=[np.log10(low), np.log10(high)])
    figure.update_yaxes(tickvals=ticks, ticktext=labels)


def power_label(number: float | int) -> str:
    """A label of a logarithmic axis as HTML: plain from 0.01 to 5000, else with a power of ten."""
    if number == 0 or 0.01 <= number < 10_000:
        return f"{number:g}"
    mantissa, power = f"{number:.0e}".split("e")
    factor = "" if mantissa == "1" else f"{mantissa}·"
    return f"{factor}10<sup>{int(power)}</sup>"
