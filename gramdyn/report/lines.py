"""Curves over time as a figure: a panel a facet, a colour a value, a band over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from gramdyn.report.curves import Curve, rows_of
from gramdyn.report.picture import Picture
from gramdyn.report.statistics import Band, StepAxis, log_ticks
from gramdyn.report.styles import Styles
from gramdyn.report.theme import translucent

PANEL_HEIGHT = 290
_LOW_PANEL_HEIGHT = 190
BAND_TEXT = "Line: median over seeds. Band: 10 to 90 % of them."


@dataclass(frozen=True)
class LineLook:
    """How curves over time are drawn.

    Attributes:
        title: Of the vertical axis.
        log: Whether that axis is logarithmic.
        from_zero: Whether it begins at 0, where it is not logarithmic.
        band: Whether the spread over seeds is drawn.
        top: Where a logarithmic axis ends at the latest; lines above leave the panel.
        rounding: A panel whose lines all stay below this is told in words, if others do not: they
            would squeeze these.
        row_titles: Of the vertical axes row by row, where the panels have rows.
    """

    title: str
    log: bool = True
    from_zero: bool = False
    band: bool = True
    top: float = np.inf
    rounding: float = 0.0
    row_titles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reference:
    """A curve to hold the others against, drawn dashed.

    Attributes:
        curve: The curve; its median is drawn.
        name: Its entry in the legend.
        colour: Its colour; None for that of the writing, whether light or dark.
    """

    curve: Curve
    name: str
    colour: str | None


def curve_picture(
    curves: Sequence[Curve], styles: Styles, look: LineLook, **words: str
) -> Picture | None:
    """A picture of curves over time; None if there are no curves.

    Args:
        curves: The curves.
        styles: Their colours and panels.
        look: How they are drawn.
        words: Name, title, text and law of the picture.
    """
    if not curves:
        return None
    return Picture(figure=draw_curves(curves, styles, look), rows=rows_of(curves), **words)


def draw_curves(
    curves: Sequence[Curve], styles: Styles, look: LineLook, references: Sequence[Reference] = ()
) -> go.Figure:
    """Curves over time: median line, 10-90 % band where there is more than one seed."""
    figure = panels(styles, _LOW_PANEL_HEIGHT if styles.roles.row else PANEL_HEIGHT)
    axis = StepAxis.of([curve.steps for curve in curves])
    legend = _Legend()
    for panel in _panels_of(curves, styles, look):
        if look.band:
            _add_bands(figure, panel, styles, axis)
        for curve in panel.curves:
            _add_curve(figure, curve, styles, axis, legend)
        if panel.words:
            _add_words(figure, panel)
    for reference in references:
        _add_reference(figure, reference, styles, axis, look, legend)
    set_step_axis(figure, axis)
    set_panel_titles(figure, styles, look.row_titles or (look.title,))
    if look.log:
        set_log_axis(figure, top=look.top)
    elif look.from_zero:
        _begin_at_zero(figure)
    return figure


def panels(styles: Styles, height: int = PANEL_HEIGHT) -> go.Figure:
    """An empty figure with a panel for each facet, at most three in a row, or in given rows."""
    grid, in_rows = styles.grid, styles.roles.row is not None
    pixels = grid.rows * height + 90
    figure = make_subplots(
        grid.rows,
        grid.columns,
        shared_xaxes=in_rows,
        shared_yaxes=True if in_rows else "all",
        subplot_titles=styles.facet_titles,
        horizontal_spacing=0.035,
        vertical_spacing=(22 if in_rows else 84) / (pixels - 90),
        specs=grid.specs(),
    )
    figure.update_layout(template=None, height=pixels, margin={"l": 70, "r": 150, "t": 36, "b": 54})
    figure.update_layout(legend={"x": 1.015, "y": 1, "yanchor": "top", "tracegroupgap": 0})
    figure.update_layout(legend_title_text=styles.legend_title)
    return figure


def set_panel_titles(figure: go.Figure, styles: Styles, titles: Sequence[str]) -> None:
    """Titles of the vertical axes on the left, and of the steps below the lowest row only.

    Args:
        figure: What `panels` made.
        styles: Its panels.
        titles: One for all rows, or one a row.
    """
    rows = styles.grid.rows
    for i in range(rows):
        figure.update_yaxes(title_text=titles[i % len(titles)], row=i + 1, col=1)
        if styles.roles.row is not None and i < rows - 1:
            figure.update_xaxes(title_text="", row=i + 1)


@dataclass(frozen=True)
class _Panel:
    """What one panel shows.

    Attributes:
        at: Its row and column.
        curves: Its lines, with NaN for what has no place on the axis.
        words: What is said in it if it has no line.
    """

    at: dict[str, int]
    curves: list[Curve]
    words: str


def _panels_of(curves: Sequence[Curve], styles: Styles, look: LineLook) -> list[_Panel]:
    """The panels; lines that are 0 throughout are left out."""
    peak = max((_peak(curve) for curve in curves), default=0.0)
    found = []
    for at in map(styles.grid.at, range(styles.grid.count)):
        here = [curve for curve in curves if styles.at(curve.place) == at]
        highest = max((_peak(curve) for curve in here), default=-1.0)
        drawn = [_drawable(curve, look) for curve in here]
        drawn = [curve for curve in drawn if _is_visible(curve)]
        words = ""
        if highest < look.rounding <= peak and drawn:
            median = float(np.nanmax(np.stack([curve.band.mid for curve in drawn])))
            words, drawn = f"medians up to about {power_label(float(f'{median:.0e}'))}", []
        elif not drawn:
            words = "0 throughout" if highest == 0 else "nothing to draw"
        found.append(_Panel(at, drawn, words))
    return found


def _peak(curve: Curve) -> float:
    """The largest number of a curve and its band, in absolute value; infinite if one is."""
    return float(np.nanmax(np.abs(np.stack(curve.band)), initial=0.0))


def _is_visible(drawn: Curve) -> bool:
    """Whether there is anything but zeros and gaps."""
    return any(np.any(np.nan_to_num(part)) for part in (drawn.band.mid, drawn.band.high))


def _drawable(curve: Curve, look: LineLook) -> Curve:
    """The curve with NaN for what has no place on the axis; a band without end reaches its top."""
    low, mid, high = curve.band
    finite = high[np.isfinite(high)]
    top = 1e3 * look.top if np.isfinite(look.top) else finite.max(initial=0.0)
    high = np.where(np.isposinf(high) & np.isfinite(low), top, high)
    drawn = Band(*(_on_axis(part, look.log) for part in (low, mid, high)))
    return Curve(curve.place, curve.steps, drawn, curve.runs)


def _on_axis(values: Float[np.ndarray, " times"], log: bool) -> Float[np.ndarray, " times"]:
    good = np.isfinite(values) & ((values > 0) | (not log))
    return np.where(good, values, np.nan)


def _add_words(figure: go.Figure, panel: _Panel) -> None:
    """Words in the middle of a panel without lines."""
    # A panel without a trace would have no axes.
    figure.add_trace(go.Scatter(x=[1], y=[np.nan], showlegend=False), **panel.at)
    middle = {"x": 0.5, "y": 0.5, "xref": "x domain", "yref": "y domain"}
    figure.add_annotation(text=panel.words, showarrow=False, opacity=0.7, **middle, **panel.at)


class _Legend:
    """Which lines have an entry; entries stand in the order of the styles, references last."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def entry(self, label: str, rank: int) -> dict[str, Any]:
        """What a line is told about its entry: the first of a label makes it."""
        first = bool(label) and label not in self._seen
        self._seen.add(label)
        return {"legendgroup": label, "showlegend": first, "legendrank": rank}


def _add_bands(figure: go.Figure, panel: _Panel, styles: Styles, axis: StepAxis) -> None:
    """Bands, below all lines."""
    for curve in panel.curves:
        if curve.runs > 1:
            colour, label = styles.colour(curve.place), styles.label(curve.place)
            figure.add_trace(_band(curve, axis, translucent(colour, 0.2), label), **panel.at)


def _add_curve(
    figure: go.Figure, curve: Curve, styles: Styles, axis: StepAxis, legend: _Legend
) -> None:
    label = styles.label(curve.place)
    line = {"color": styles.colour(curve.place), "width": 2, "dash": styles.dash(curve.place)}
    entry = legend.entry(label, 1 + styles.rank(curve.place))
    figure.add_trace(_line(curve, axis, label or "median", line, entry), **styles.at(curve.place))


def _add_reference(
    figure: go.Figure,
    reference: Reference,
    styles: Styles,
    axis: StepAxis,
    look: LineLook,
    legend: _Legend,
) -> None:
    curve = _drawable(reference.curve, look)
    line: dict[str, Any] = {"width": 1.8, "dash": "6px,4px"}
    if reference.colour is not None:
        line["color"] = reference.colour
    entry = legend.entry(reference.name, 1000 + styles.rank(curve.place))
    figure.add_trace(_line(curve, axis, reference.name, line, entry), **styles.at(curve.place))


def _line(
    curve: Curve, axis: StepAxis, name: str, line: dict[str, Any], entry: dict[str, Any]
) -> go.Scatter:
    return go.Scatter(
        x=axis.place(curve.steps),
        y=curve.band.mid,
        name=name,
        mode="lines",
        line=line,
        customdata=curve.steps,
        hovertemplate="step %{customdata}: %{y:.4g}",
        **entry,
    )


def _band(curve: Curve, axis: StepAxis, colour: str, label: str) -> go.Scatter:
    x, (low, _, high) = axis.place(curve.steps), curve.band
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


def _begin_at_zero(figure: go.Figure) -> None:
    """Vertical axes from 0 to a little above the highest point of all panels."""
    drawn = [np.asarray(trace.y, np.float64) for trace in figure.data]
    high = max((float(np.nanmax(y, initial=0.0)) for y in drawn), default=0.0)
    figure.update_yaxes(range=[0, 1.06 * (high or 1.0)])


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


def set_log_axis(figure: go.Figure, decades: int = 30, top: float = np.inf) -> None:
    """Logarithmic vertical axes that fit the lines and points drawn, with few labels.

    Args:
        figure: The figure.
        decades: Powers of ten below the highest point that may be seen at most.
        top: Points above this are not seen.
    """
    drawn = [np.asarray(trace.y, np.float64) for trace in figure.data if trace.y is not None]
    values = np.concatenate([y[np.isfinite(y) & (y > 0)] for y in drawn])
    if len(values) == 0:
        return
    values = np.minimum(values, top)
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
