"""Picture: phase diagram, the loss at the end over two axes of the sweep."""

from collections.abc import Sequence
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

_COLOURS = [
    [0.0, "#12386b"],
    [0.25, "#3b72b8"],
    [0.5, "#7fb7b0"],
    [0.75, "#e8c77b"],
    [1.0, "#cc4a3c"],
]


@dataclass(frozen=True)
class _Plane:
    """The two axes drawn, and the places of the others, a panel each."""

    across: str
    down: str
    panels: list[dict[str, Any]]

    def panel(self, place: dict[str, Any]) -> int:
        return self.panels.index({key: place[key] for key in self.panels[0]})


def draw_phase(cells: Sequence[Cell]) -> Picture | None:
    """Median final loss over the two numeric axes with the most values; failed runs are marked."""
    plane = _plane(cells)
    if plane is None or not any(cell.has("loss") for cell in cells):
        return None
    across, down = axis_title(plane.across), axis_title(plane.down)
    return Picture(
        name="phase",
        title=f"Loss at the end over {across} and {down}",
        text="Colour: logarithm of the loss at the last saved step, median over the seeds that "
        "came through. ✕: every run failed (diverged, or no longer finite). A ring: some did.",
        figure=_draw(cells, plane),
        rows=[_row(cell) for cell in cells if cell.n_runs],
    )


def _plane(cells: Sequence[Cell]) -> _Plane | None:
    names = varying(cells)
    numeric = [name for name in names if is_numeric(cells, name)]
    ranked = sorted(numeric, key=lambda name: -len(axis_values(cells, name)))
    if len(ranked) < 2:
        return None
    across, down = ranked[:2]
    rest = [name for name in names if name not in (across, down)]
    places = [{name: cell.place[name] for name in rest} for cell in cells]
    return _Plane(across, down, [one for i, one in enumerate(places) if one not in places[:i]])


def final_loss(cell: Cell) -> float | None:
    """Median over seeds of the loss at the last saved step; None if no run came through."""
    return float(np.median(last_values(cell, "loss"))) if cell.has("loss") else None


def _row(cell: Cell) -> dict[str, Any]:
    counts = {"runs": cell.n_runs, "failed": cell.n_failed}
    return {**cell.place, "loss": final_loss(cell), **counts}


def _draw(cells: Sequence[Cell], plane: _Plane) -> go.Figure:
    across, down = (axis_values(cells, name) for name in (plane.across, plane.down))
    titles = [place_title(place, list(place)) for place in plane.panels]
    figure = _panels(titles, len(down))
    for i in range(len(plane.panels)):
        members = [cell for cell in cells if plane.panel(cell.place) == i]
        at = Grid.wrapped(len(plane.panels)).at(i)
        figure.add_trace(_heat(members, plane, across, down), **at)
        for trace in _marks(members, plane, across, down):
            figure.add_trace(trace, **at)
    _set_axis(figure.update_xaxes, plane.across, across)
    _set_axis(figure.update_yaxes, plane.down, down)
    bar = {"title": {"text": "log<sub>10</sub> loss"}, "x": 1.02, "thickness": 12}
    figure.update_layout(coloraxis={"colorscale": _COLOURS, "colorbar": bar})
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


def _heat(members: list[Cell], plane: _Plane, across: list[Any], down: list[Any]) -> go.Heatmap:
    grid = np.full((len(down), len(across)), np.nan)
    for cell in members:
        loss = final_loss(cell)
        if loss is not None and loss > 0:
            at = down.index(cell.place[plane.down]), across.index(cell.place[plane.across])
            grid[at] = np.log10(loss)
    return go.Heatmap(
        z=grid,
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        hovertemplate="log<sub>10</sub> loss %{z:.3f}<extra></extra>",
    )


def _marks(
    members: list[Cell], plane: _Plane, across: list[Any], down: list[Any]
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
