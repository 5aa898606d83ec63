"""A number at the end of runs against the width: dots, means, and the power law through them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Num
from plotly.subplots import make_subplots

from gramdyn.report.cells import Cell
from gramdyn.report.lines import set_log_axis
from gramdyn.report.roles import axis_values, place_title, varying
from gramdyn.report.statistics import PowerLaw, fit_power_law
from gramdyn.report.theme import DASHES, ordered_colours

MINUS = "\N{MINUS SIGN}"
# Pixels: height without legends below, room below the panels, a line of a legend.
_HEIGHT, _BELOW, _ENTRY = 400, 54, 22
LADDER_TEXT = (
    "Dots: one a seed{when}, set apart sideways. Diamonds: means over seeds. Line: the power law "
    "through them, its exponent in the legend."
)


@dataclass(frozen=True)
class Measure:
    """One number a run, from a record.

    Attributes:
        record: Name of the record, axes (run, step).
        column: Name of the number in tables.
        title: Of the vertical axis.
        pick: From the record to one number a run, shape (runs, times) -> (runs,).
    """

    record: str
    column: str
    title: str
    pick: Callable[[np.ndarray], np.ndarray]

    def of(self, cell: Cell) -> Float[np.ndarray, " ok"]:
        """The number of each run of a cell that came through."""
        return np.asarray(self.pick(cell.read(self.record)), np.float64)


def at_start(values: Num[np.ndarray, "runs times"]) -> Num[np.ndarray, " runs"]:
    """The number at the first saved step."""
    return values[:, 0]


def at_end(values: Num[np.ndarray, "runs times"]) -> Num[np.ndarray, " runs"]:
    """The number at the last saved step."""
    return values[:, -1]


def greatest(values: Num[np.ndarray, "runs times"]) -> Num[np.ndarray, " runs"]:
    """The largest number at any saved step."""
    return values.max(axis=1)


@dataclass(frozen=True)
class Ladder:
    """A measure for a ladder of widths, all else equal.

    Attributes:
        measure: What is measured.
        place: The other axes.
        cells: One cell a width, ascending.
        widths: The widths.
        values: The measure of each run, width by width.
        means: Mean over seeds at each width.
        law: The line through the means on log axes.
    """

    measure: Measure
    place: dict[str, Any]
    cells: list[Cell]
    widths: Float[np.ndarray, " widths"]
    values: list[Float[np.ndarray, " _"]]
    means: Float[np.ndarray, " widths"]
    law: PowerLaw

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run."""
        known = zip(self.cells, self.values, self.means.tolist(), strict=True)
        return [
            {**cell.place, "seed": seed, self.measure.column: value}
            | {"mean": mean, "slope": self.law.slope}
            for cell, values, mean in known
            for seed, value in zip(cell.seeds.tolist(), values.tolist(), strict=True)
        ]


def ladders_of(cells: Sequence[Cell], measure: Measure) -> list[Ladder]:
    """Ladders of at least two widths, for each value of the other axes."""
    members: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        if cell.has(measure.record):
            rest = tuple((k, v) for k, v in cell.place.items() if k != "width")
            members.setdefault(rest, []).append(cell)
    made = [_ladder(measure, dict(rest), found) for rest, found in members.items()]
    return [ladder for ladder in made if ladder is not None]


def _ladder(measure: Measure, place: dict[str, Any], cells: list[Cell]) -> Ladder | None:
    cells = sorted(cells, key=lambda cell: cell.place["width"])
    widths = np.asarray([cell.place["width"] for cell in cells], np.float64)
    values = [measure.of(cell) for cell in cells]
    means = np.asarray([one.mean() for one in values])
    law = fit_power_law(widths, means)
    return Ladder(measure, place, cells, widths, values, means, law) if law else None


def draw_ladders(groups: Sequence[Sequence[Ladder]]) -> go.Figure:
    """A panel for each group of ladders, which share a measure; each has a legend of its own."""
    figure = make_subplots(1, len(groups), horizontal_spacing=0.1)
    for panel, group in enumerate(groups):
        _add_group(figure, group, panel)
    widths = sorted({width for group in groups for one in group for width in one.widths.tolist()})
    figure.update_xaxes(type="log", title_text="width", tickvals=widths)
    figure.update_xaxes(ticktext=[f"{width:g}" for width in widths])
    set_log_axis(figure)
    margin = {"l": 70, "r": 30, "t": 20, "b": _BELOW}
    figure.update_layout(template=None, height=_HEIGHT, margin=margin)
    if len(groups) == 1:
        figure.update_layout(legend={"x": 1.015, "y": 1, "yanchor": "top"})
    else:
        _put_legends_below(figure, groups)
    return figure


def _put_legends_below(figure: go.Figure, groups: Sequence[Sequence[Ladder]]) -> None:
    room = _ENTRY * max(len(group) for group in groups)
    figure.update_layout(height=_HEIGHT + room, margin_b=_BELOW + room)
    inner = _HEIGHT - _BELOW - 20
    for panel in range(len(groups)):
        left, _ = figure.layout[f"xaxis{panel + 1 if panel else ''}"].domain
        place = {"x": left, "xanchor": "left", "y": -_BELOW / inner, "yanchor": "top"}
        figure.update_layout({_legend(panel): place})


def _legend(panel: int) -> str:
    """Plotly's name of the legend of a panel."""
    return f"legend{panel + 1}" if panel else "legend"


def _add_group(figure: go.Figure, group: Sequence[Ladder], panel: int) -> None:
    cells = [cell for one in group for cell in one.cells]
    names = [name for name in varying(cells) if name != "width"]
    looks = ladder_looks(group, names)
    for i, (ladder, (colour, dash)) in enumerate(zip(group, looks, strict=True)):
        told = place_title(ladder.place, names) or "all runs"
        label = f"{told}: slope {signed(ladder.law.slope)}"
        # Points of several lines at one width stand beside each other, not on top.
        shift = 1.0 + 0.03 * (i - (len(group) - 1) / 2) / max(1.0, (len(group) - 1) / 2)
        for trace in _traces(ladder, shift, colour, dash, label):
            trace.update(name=label, legendgroup=f"{panel} {label}", legend=_legend(panel))
            figure.add_trace(trace, row=1, col=panel + 1)
    figure.update_yaxes(title_text=group[0].measure.title, col=panel + 1)


def ladder_looks(ladders: Sequence[Ladder], names: list[str]) -> list[tuple[str, str]]:
    """Colour and dash of each ladder: colour by the first other axis, dash by what is left."""
    cells = [cell for ladder in ladders for cell in ladder.cells]
    first = axis_values(cells, names[0]) if names else [None]
    colours = dict(zip(first, ordered_colours(len(first)), strict=True))
    rest = [tuple(ladder.place.get(name) for name in names[1:]) for ladder in ladders]
    order = list(dict.fromkeys(rest))
    keys = [ladder.place[names[0]] if names else None for ladder in ladders]
    return [
        (colours[key], DASHES[order.index(one) % len(DASHES)])
        for key, one in zip(keys, rest, strict=True)
    ]


def _traces(
    ladder: Ladder, shift: float, colour: str, dash: str, label: str
) -> tuple[go.Scatter, ...]:
    """Dots of the runs, the fitted line, and diamonds of the means."""
    ends = ladder.widths[[0, -1]]
    dots = go.Scatter(
        x=np.repeat(ladder.widths * shift, [len(values) for values in ladder.values]),
        y=np.concatenate(ladder.values),
        mode="markers",
        marker={"color": colour, "size": 6, "opacity": 0.45},
        showlegend=False,
        hovertemplate=f"{label}<br>%{{y:.4g}}<extra></extra>",
    )
    line = go.Scatter(
        x=ends,
        y=ladder.law(ends),
        mode="lines",
        line={"color": colour, "width": 2, "dash": dash},
    )
    means = go.Scatter(
        x=ladder.widths,
        y=ladder.means,
        mode="markers",
        marker={"color": colour, "size": 9, "symbol": "diamond"},
        showlegend=False,
        hovertemplate=f"{label}<br>mean %{{y:.4g}}<extra></extra>",
    )
    return dots, line, means


def signed(number: float) -> str:
    """A number to two places with a true minus sign."""
    return f"{number:.2f}".replace("-", MINUS)
