"""Pictures: how far the tangent kernel moves, over time and against the width."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from gramdyn.report.cells import Cell
from gramdyn.report.curves import curves_of, last_values, rows_of
from gramdyn.report.lines import LineLook, Styles, draw_curves, set_log_axis
from gramdyn.report.picture import Picture
from gramdyn.report.roles import axis_title, axis_values, place_title, varying
from gramdyn.report.statistics import PowerLaw, fit_power_law
from gramdyn.report.theme import DASHES, ordered_colours

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Ladder:
    """Movement at the end for a ladder of widths, all else equal.

    Attributes:
        place: The other axes.
        cells: One cell a width, ascending.
        widths: The widths.
        means: Mean over seeds at each width.
        law: The line through the means on log axes.
    """

    place: dict[str, Any]
    cells: list[Cell]
    widths: Float[np.ndarray, " widths"]
    means: Float[np.ndarray, " widths"]
    law: PowerLaw

    def rows(self) -> list[dict[str, Any]]:
        """A row for each run."""
        pairs = zip(self.cells, self.means.tolist(), strict=True)
        return [
            {**cell.place, "seed": seed, "movement": value, "mean": mean, "slope": self.law.slope}
            for cell, mean in pairs
            for seed, value in _points(cell)
        ]


def _points(cell: Cell) -> list[tuple[int, float]]:
    seeds = cell.node.whole("seed")[cell.ok].tolist()
    return list(zip(seeds, last_values(cell, "kernel_movement").tolist(), strict=True))


def ladders_of(cells: Sequence[Cell]) -> list[Ladder]:
    """Ladders of at least two widths, for each value of the other axes."""
    members: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        if cell.has("kernel_movement"):
            rest = tuple((k, v) for k, v in cell.place.items() if k != "width")
            members.setdefault(rest, []).append(cell)
    made = [_ladder(dict(rest), found) for rest, found in members.items()]
    return [ladder for ladder in made if ladder is not None]


def _ladder(place: dict[str, Any], cells: list[Cell]) -> Ladder | None:
    cells = sorted(cells, key=lambda cell: cell.place["width"])
    widths = np.asarray([cell.place["width"] for cell in cells], np.float64)
    ends = [last_values(cell, "kernel_movement").astype(np.float64) for cell in cells]
    means = np.asarray([one.mean() for one in ends])
    law = fit_power_law(widths, means)
    return Ladder(place, cells, widths, means, law) if law else None


def draw_movement_by_width(cells: Sequence[Cell], styles: Styles) -> Picture | None:
    """Relative movement at the last saved step against width, with the fitted slope."""
    ladders = ladders_of(cells)
    if not ladders:
        return None
    names = varying([cell for ladder in ladders for cell in ladder.cells])
    names = [name for name in names if name != "width"]
    figure = _draw_ladders(ladders, names)
    return Picture(
        name="movement_by_width",
        title="Kernel movement against width",
        text="Dots: one a seed, at the last saved step, set apart sideways. Diamonds: means over "
        "seeds. Line: the power law through them, its exponent in the legend.",
        law="|<i>K</i>(<i>T</i>) &minus; <i>K</i>(0)|<sub>F</sub> / |<i>K</i>(0)|<sub>F</sub> "
        "falls with the width in the lazy regime, and stays of order one where features are "
        "learned.",
        figure=figure,
        rows=[row for ladder in ladders for row in ladder.rows()],
    )


def _draw_ladders(ladders: list[Ladder], names: list[str]) -> go.Figure:
    figure = go.Figure()
    looks = ladder_looks(ladders, names)
    for i, ladder in enumerate(ladders):
        colour, dash = looks[i]
        told = place_title(ladder.place, names) or "all runs"
        label = f"{told}: slope {signed(ladder.law.slope)}"
        _add_ladder(figure, ladder, i, len(ladders), colour, dash, label)
    widths = sorted({width for ladder in ladders for width in ladder.widths.tolist()})
    figure.update_xaxes(type="log", title_text="width", tickvals=widths)
    figure.update_xaxes(ticktext=[f"{width:g}" for width in widths])
    figure.update_yaxes(title_text="relative kernel movement at the end")
    set_log_axis(figure)
    figure.update_layout(template=None, height=400, margin={"l": 70, "r": 30, "t": 20, "b": 54})
    figure.update_layout(legend={"x": 1.015, "y": 1, "yanchor": "top"})
    return figure


def ladder_looks(ladders: list[Ladder], names: list[str]) -> list[tuple[str, str]]:
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


def _add_ladder(
    figure: go.Figure, ladder: Ladder, i: int, n: int, colour: str, dash: str, label: str
) -> None:
    # Points of several lines at one width stand beside each other, not on top.
    shift = 1.0 + 0.03 * (i - (n - 1) / 2) / max(1.0, (n - 1) / 2)
    points = [(cell.place["width"] * shift, y) for cell in ladder.cells for _, y in _points(cell)]
    shared = {"legendgroup": label, "name": label}
    x, y = zip(*points, strict=True)
    marker = {"color": colour, "size": 6, "opacity": 0.45}
    hover = f"{label}<br>%{{y:.4g}}<extra></extra>"
    figure.add_scatter(
        x=x, y=y, mode="markers", marker=marker, showlegend=False, hovertemplate=hover, **shared
    )
    ends = ladder.widths[[0, -1]]
    line = {"color": colour, "width": 2, "dash": dash}
    figure.add_scatter(x=ends, y=ladder.law(ends), mode="lines", line=line, **shared)
    figure.add_scatter(
        x=ladder.widths,
        y=ladder.means,
        mode="markers",
        marker={"color": colour, "size": 9, "symbol": "diamond"},
        showlegend=False,
        hovertemplate=f"{label}<br>mean %{{y:.4g}}<extra></extra>",
        **shared,
    )


def signed(number: float) -> str:
    """A number to two places with a true minus sign."""
    return f"{number:.2f}".replace("-", MINUS)


def draw_movement(cells: Sequence[Cell], styles: Styles) -> Picture | None:
    """Relative movement of the tangent kernel over time."""
    curves = [curve.after_start() for curve in curves_of(cells, "kernel_movement")]
    curves = [curve for curve in curves if len(curve.steps)]
    if not curves:
        return None
    axis = axis_title(styles.roles.colour) if styles.roles.colour else "colour"
    return Picture(
        name="movement",
        title="Kernel movement",
        text="Distance of the tangent kernel from its start, relative to its norm there; median "
        f"and 10 to 90 % band over seeds, a colour for each {axis}.",
        figure=draw_curves(curves, styles, LineLook("relative kernel movement")),
        rows=rows_of(curves),
    )
