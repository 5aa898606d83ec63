"""Picture: raster of mask flips, layer against time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int, Num
from plotly.subplots import make_subplots

from gramdyn.report.cells import Cell
from gramdyn.report.lines import set_step_axis
from gramdyn.report.picture import Picture
from gramdyn.report.roles import place_title
from gramdyn.report.statistics import StepAxis, thin_steps
from gramdyn.report.styles import Styles
from gramdyn.report.theme import SEQUENTIAL

# Pixels: height of a line of the raster, gap between panels.
_LINE, _BETWEEN = 19, 34


@dataclass(frozen=True)
class Raster:
    """Mask flips of one cell of the sweep, a row a hidden layer.

    Attributes:
        place: Where on the sweep's axes.
        edges: Steps between which flips are counted, shape (intervals + 1,).
        rates: Flips per step and sample, mean over seeds, shape (layers, intervals).
    """

    place: dict[str, Any]
    edges: Int[np.ndarray, " edges"]
    rates: Float[np.ndarray, "layers intervals"]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each layer and interval."""
        pairs = list(zip(self.edges[:-1].tolist(), self.edges[1:].tolist(), strict=True))
        return [
            {**self.place, "hidden": layer + 1, "after": low, "until": high, "rate": rate}
            for layer, line in enumerate(self.rates.tolist())
            for (low, high), rate in zip(pairs, line, strict=True)
        ]


def raster_of(cell: Cell) -> Raster:
    """Flips of a cell per step and sample; intervals are joined where there are very many."""
    kept = thin_steps(cell.steps)
    edges = cell.steps[kept]
    total = np.cumsum(cell.read("flips").astype(np.float64), axis=-1)
    counts: Num[np.ndarray, "runs layers intervals"] = np.diff(total[..., kept], axis=-1)
    n_samples = cell.node.data.sizes["sample"]
    return Raster(cell.place, edges, counts.mean(axis=0) / np.diff(edges) / n_samples)


def draw_flips(cells: Sequence[Cell], styles: Styles) -> Picture | None:
    """Mask flips per step and sample: layers of each network against time."""
    there = [cell for cell in cells if cell.has("flips") and len(cell.steps) > 1]
    if not there:
        return None
    rasters = [raster_of(cell) for cell in there]
    return Picture(
        name="flips",
        title="Mask flips",
        text="Neurons that change between active and silent, counted at every step: per step and "
        "sample, mean over seeds. A row is a hidden layer of one network, time runs to the right, "
        "each field spans two saved steps; empty means that none flipped.",
        law="Between flips a ReLU network is polynomial in its weights; only flips change the "
        "co-activation.",
        figure=_draw(rasters, styles),
        rows=[row for raster in rasters for row in raster.rows()],
    )


def _draw(rasters: list[Raster], styles: Styles) -> go.Figure:
    by_panel: dict[int, list[Raster]] = {}
    for raster in sorted(rasters, key=lambda one: styles.facet(one.place)):
        by_panel.setdefault(styles.facet(raster.place), []).append(raster)
    titles = [styles.facet_titles[panel] for panel in by_panel]
    lines = [sum(len(one.rates) for one in members) for members in by_panel.values()]
    figure = _stack(lines, titles)
    axis = StepAxis.of([raster.edges for raster in rasters])
    set_step_axis(figure, axis)
    for row, members in enumerate(by_panel.values(), start=1):
        _add_panel(figure, members, styles, axis, row)
        figure.update_xaxes(showgrid=False, row=row)
        if row < len(by_panel):
            figure.update_xaxes(title_text="", row=row)
    figure.update_layout(coloraxis=_colours(rasters))
    return figure


def _add_panel(
    figure: go.Figure, members: list[Raster], styles: Styles, axis: StepAxis, row: int
) -> None:
    names: list[str] = []
    for raster in members:
        figure.add_trace(_heat(raster, axis, len(names)), row=row, col=1)
        names += [_row_name(raster, layer, styles) for layer in range(len(raster.rates))]
    figure.update_yaxes(
        range=[len(names) - 0.5, -0.5],
        tickvals=list(range(len(names))),
        ticktext=names,
        showgrid=False,
        ticks="",
        row=row,
    )


def _stack(lines: list[int], titles: list[str]) -> go.Figure:
    """Panels below each other, as high as they have lines."""
    inner = _LINE * sum(lines) + _BETWEEN * (len(lines) - 1)
    figure = make_subplots(
        len(lines),
        1,
        row_heights=lines,
        shared_xaxes=True,
        subplot_titles=titles,
        vertical_spacing=_BETWEEN / inner if len(lines) > 1 else 0,
    )
    margin = {"l": 130, "r": 130, "t": 36, "b": 54}
    figure.update_layout(template=None, height=max(inner, 120) + 90, margin=margin)
    return figure


def _heat(raster: Raster, axis: StepAxis, first: int) -> go.Heatmap:
    """The raster as rows from `first` on."""
    with np.errstate(divide="ignore"):
        shown = np.where(raster.rates > 0, np.log10(raster.rates), np.nan)
    return go.Heatmap(
        x=axis.place(raster.edges),
        y0=first,
        dy=1,
        z=shown,
        customdata=raster.rates,
        coloraxis="coloraxis",
        hovertemplate="%{customdata:.3g} flips per step and sample<extra></extra>",
    )


def _row_name(raster: Raster, layer: int, styles: Styles) -> str:
    names = [name for name in (styles.roles.colour, *styles.roles.dash) if name]
    told = place_title(raster.place, names)
    return f"{told}, layer {layer + 1}" if told else f"layer {layer + 1}"


def _colours(rasters: list[Raster]) -> dict[str, Any]:
    rates = np.concatenate([raster.rates.ravel() for raster in rasters])
    above = np.log10(rates[rates > 0]) if np.any(rates > 0) else np.array([-1.0, 0.0])
    low, high = float(above.min()), float(above.max())
    ticks: list[float] = list(range(int(np.ceil(low)), int(np.floor(high)) + 1)) or [round(high, 1)]
    return {
        "colorscale": SEQUENTIAL,
        "cmin": low,
        "cmax": high,
        "colorbar": {
            "title": {"text": "flips per step<br>and sample"},
            "tickvals": ticks,
            "ticktext": [f"10<sup>{tick}</sup>" for tick in ticks],
            "x": 1.02,
            "xanchor": "left",
            "thickness": 12,
        },
    }
