"""Picture: phase diagram, the loss at the end over two axes of the sweep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gramdyn.report.cells import Cell
from gramdyn.report.curves import last_values
from gramdyn.report.grid import Grid
from gramdyn.report.picture import Picture
from gramdyn.report.roles import (
    axis_title,
    axis_values,
    is_numeric,
    place_title,
    value_title,
    varying,
)
from gramdyn.report.theme import FAILED

_TITLE = "log<sub>10</sub> loss"
_COLOURS = [
    [0.0, "#12386b"],
    [0.25, "#3b72b8"],
    [0.5, "#7fb7b0"],
    [0.75, "#e8c77b"],
    [1.0, "#cc4a3c"],
]


@dataclass(frozen=True)
class Shade:
    """What colour says of a cell.

    Attributes:
        value: The number of a cell; None where it has none.
        title: Of the bar.
        colours: From the least to the greatest, as plotly takes them.
        limits: The numbers at both ends of the colours; the least and greatest drawn by default.
    """

    value: Callable[[Cell], float | None]
    title: str
    colours: list[list[Any]]
    limits: tuple[float, float] | None = None


@dataclass(frozen=True)
class Plane:
    """The two axes drawn, the places of the others, a panel each, and the values of the two."""

    across: str
    down: str
    panels: list[dict[str, Any]]
    values: tuple[list[Any], list[Any]]

    def panel(self, place: dict[str, Any]) -> int:
        """Index of the panel of a place."""
        return self.panels.index({key: place[key] for key in self.panels[0]})


def draw_phase(cells: Sequence[Cell]) -> Picture | None:
    """Median final loss over the two numeric axes with the most values; failed runs are marked."""
    plane = plane_of(cells)
    if plane is None or not any(cell.has("loss") for cell in cells):
        return None
    across, down = axis_title(plane.across), axis_title(plane.down)
    return Picture(
        name="phase",
        title=f"Loss at the end over {across} and {down}",
        text="Colour: logarithm of the loss at the last saved step, median over the seeds that "
        "came through. ✕: every run failed (diverged, or no longer finite). A ring: some did.",
        figure=draw_plane(cells, plane, Shade(_log_loss, _TITLE, _COLOURS)),
        rows=[_row(cell) for cell in cells if cell.n_runs],
    )


def plane_of(cells: Sequence[Cell]) -> Plane | None:
    """The two numeric axes with the most values; None if there are no two."""
    names = varying(cells)
    numeric = [name for name in names if is_numeric(cells, name)]
    ranked = sorted(numeric, key=lambda name: -len(axis_values(cells, name)))
    if len(ranked) < 2:
        return None
    across, down = ranked[:2]
    rest = [name for name in names if name not in (across, down)]
    places = [{name: cell.place[name] for name in rest} for cell in cells]
    panels = [one for i, one in enumerate(places) if one not in places[:i]]
    return Plane(across, down, panels, (axis_values(cells, across), axis_values(cells, down)))


def final_loss(cell: Cell) -> float | None:
    """Median over seeds of the loss at the last saved step; None if no run came through."""
    return float(np.median(last_values(cell, "loss"))) if cell.has("loss") else None


def _row(cell: Cell) -> dict[str, Any]:
    counts = {"runs": cell.n_runs, "failed": cell.n_failed}
    return {**cell.place, "loss": final_loss(cell), **counts}


def _log_loss(cell: Cell) -> float | None:
    loss = final_loss(cell)
    return float(np.log10(loss)) if loss is not None and loss > 0 else None


def draw_plane(cells: Sequence[Cell], plane: Plane, shade: Shade) -> go.Figure:
    """A heat map a panel, with marks where runs failed.

    Args:
        cells: The cells.
        plane: Their axes and panels.
        shade: What colour says.
    """
    across, down = plane.values
    titles = [place_title(place, list(place)) for place in plane.panels]
    figure = _panels(titles, len(down))
    for i in range(len(plane.panels)):
        members = [cell for cell in cells if plane.panel(cell.place) == i]
        at = Grid.wrapped(len(plane.panels)).at(i)
        figure.add_trace(_heat(members, plane, shade), **at)
        for trace in _marks(members, plane, across, down):
            figure.add_trace(trace, **at)
    _set_axis(figure.update_xaxes, plane.across, across)
    _set_axis(figure.update_yaxes, plane.down, down)
    bar = {"title": {"text": shade.title}, "x": 1.02, "thickness": 12}
    figure.update_layout(coloraxis={"colorscale": shade.colours, "colorbar": bar})
    if shade.limits is not None:
        figure.update_layout(coloraxis={"cmin": shade.limits[0], "cmax": shade.limits[1]})
    return figure


def _panels(titles: list[str], lines: int) -> go.Figure:
    grid = Grid.wrapped(len(titles))
    height = min(520, max(190, 44 * lines))
    pixels = grid.rows * (height + 70) + 20
    figure = make_subplots(
        grid.rows,
        grid.columns,
        specs=grid.specs(),
        subplot_titles=titles,
        horizontal_spacing=0.09,
        vertical_spacing=70 / pixels if grid.rows > 1 else 0,
    )
    margin = {"l": 80, "r": 130, "t": 36, "b": 54}
    figure.update_layout(template=None, height=pixels, margin=margin, showlegend=False)
    return figure


def _heat(members: list[Cell], plane: Plane, shade: Shade) -> go.Heatmap:
    across, down = plane.values
    grid = np.full((len(down), len(across)), np.nan)
    for cell in members:
        value = shade.value(cell)
        if value is not None:
            at = down.index(cell.place[plane.down]), across.index(cell.place[plane.across])
            grid[at] = value
    return go.Heatmap(
        z=grid,
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        hovertemplate=f"{shade.title} %{{z:.3f}}<extra></extra>",
    )


def _marks(
    members: list[Cell], plane: Plane, across: list[Any], down: list[Any]
) -> list[go.Scatter]:
    """Crosses where every run failed, rings where some did."""
    spoilt = [cell for cell in members if cell.n_failed]
    lost = [cell for cell in spoilt if len(cell.ok) == 0]
    partly = [cell for cell in spoilt if len(cell.ok) > 0]
    looks = ((lost, "x", FAILED), (partly, "circle-open", "#ffffff"))
    return [
        go.Scatter(
            x=[across.index(cell.place[plane.across]) for cell in chosen],
            y=[down.index(cell.place[plane.down]) for cell in chosen],
            mode="markers",
            marker={"symbol": symbol, "color": colour, "size": 13, "line": {"width": 2}},
            text=[f"{cell.n_failed} of {cell.n_runs} runs failed" for cell in chosen],
            hovertemplate="%{text}<extra></extra>",
        )
        for chosen, symbol, colour in looks
        if chosen
    ]


def _set_axis(update: Any, name: str, values: list[Any]) -> None:
    every = max(1, -(-len(values) // 10))
    shown = range(0, len(values), every)
    update(tickvals=list(shown), ticktext=[value_title(values[i]) for i in shown])
    update(range=[-0.5, len(values) - 0.5], showgrid=False, title_text=axis_title(name))
