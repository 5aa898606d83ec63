"""Grids of heat maps: a row a layer; start, end and a colour bar for each cell of the sweep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Num

from gramdyn.report.classes import Classes
from gramdyn.report.theme import DIVERGING, SEQUENTIAL

# Pixels; everything is placed by hand so that bars, ticks and titles never meet.
_LEFT, _RIGHT, _TOP, _BOTTOM = 86, 8, 62, 34
_BETWEEN, _BAR_GAP, _BAR, _BAR_LABELS, _ROW_GAP = 12, 10, 11, 62, 22


@dataclass(frozen=True)
class Block:
    """Matrices of one run, layer by layer.

    Attributes:
        title: What run it is.
        matrices: Shape (2, layers, n, n), at the first and the last saved step, sorted.
        classes: The order they are sorted in.
        ends: The two steps.
    """

    title: str
    matrices: Float[np.ndarray, "2 layers n n"]
    classes: Classes
    ends: tuple[int, int]


@dataclass(frozen=True)
class Scale:
    """Colours of one layer of a block, the same at start and end."""

    low: float
    high: float
    colours: list[list[Any]]


def scale_of(matrices: Num[np.ndarray, "2 n n"]) -> Scale:
    """A scale that 98 % of the entries stay inside of; symmetric about 0 if some are negative."""
    high = float(np.quantile(np.abs(matrices), 0.98)) or 1.0
    negative = float(np.quantile(matrices, 0.02)) < -0.02 * high
    return Scale(-high, high, DIVERGING) if negative else Scale(0.0, high, SEQUENTIAL)


@dataclass(frozen=True)
class _Layout:
    """Where things stand, in pixels from the upper left corner."""

    layers: int
    blocks: int

    @property
    def side(self) -> int:
        return 188 if self.blocks > 1 else 250

    @property
    def block(self) -> int:
        return 2 * self.side + _BETWEEN + _BAR_GAP + _BAR + _BAR_LABELS

    @property
    def width(self) -> int:
        return _LEFT + self.blocks * self.block + _RIGHT

    @property
    def height(self) -> int:
        return _TOP + self.layers * (self.side + _ROW_GAP) - _ROW_GAP + _BOTTOM

    def panel(self, block: int, layer: int, end: int) -> tuple[int, int]:
        """Left and upper edge of a heat map."""
        left = _LEFT + block * self.block + end * (self.side + _BETWEEN)
        return left, _TOP + layer * (self.side + _ROW_GAP)

    def x(self, pixels: float | int) -> float:
        """Share of the width between the margins; the margins are 0."""
        return pixels / self.width

    def y(self, pixels: float | int) -> float:
        return 1 - pixels / self.height


def draw_grid(blocks: Sequence[Block], row_titles: Sequence[str]) -> go.Figure:
    """Heat maps of all blocks; each layer of a block has one scale and one bar.

    Args:
        blocks: One or two runs.
        row_titles: Name of each layer of the block with the most layers.
    """
    layout = _Layout(len(row_titles), len(blocks))
    figure = go.Figure()
    margin = {"l": 0, "r": 0, "t": 0, "b": 0}
    figure.update_layout(template=None, width=layout.width, height=layout.height, margin=margin)
    for b, block in enumerate(blocks):
        _add_titles(figure, layout, b, block)
        for layer in range(block.matrices.shape[1]):
            _add_row(figure, layout, b, layer, block)
    for layer, title in enumerate(row_titles):
        _, top = layout.panel(0, layer, 0)
        _note(figure, layout, 14, top + layout.side / 2, f"<b>{title}</b>", textangle=-90)
    return figure


def _add_titles(figure: go.Figure, layout: _Layout, b: int, block: Block) -> None:
    left, top = layout.panel(b, 0, 0)
    middle = left + layout.side + _BETWEEN / 2
    _note(figure, layout, middle, top - 44, f"<b>{block.title}</b>")
    for end, step in enumerate(block.ends):
        left, _ = layout.panel(b, 0, end)
        _note(figure, layout, left + layout.side / 2, top - 14, f"step {step}")


def _note(
    figure: go.Figure, layout: _Layout, x: float | int, y: float | int, text: str, **more: Any
) -> None:
    figure.add_annotation(
        x=layout.x(x),
        y=layout.y(y),
        text=text,
        xref="paper",
        yref="paper",
        xanchor="center",
        yanchor="middle",
        showarrow=False,
        **more,
    )


def _add_row(figure: go.Figure, layout: _Layout, b: int, layer: int, block: Block) -> None:
    scale = scale_of(block.matrices[:, layer])
    for end in (0, 1):
        _add_heat(figure, layout, (b, layer, end), block, scale)


def _add_heat(
    figure: go.Figure, layout: _Layout, at: tuple[int, int, int], block: Block, scale: Scale
) -> None:
    number = len(figure.data) + 1
    b, layer, end = at
    matrix = block.matrices[end, layer]
    heat = go.Heatmap(
        z=matrix.astype(np.float32),
        zmin=scale.low,
        zmax=scale.high,
        colorscale=scale.colours,
        showscale=end == 1,
        colorbar=_bar(layout, b, layer),
        xaxis=f"x{number}",
        yaxis=f"y{number}",
        hovertemplate="row %{y}, column %{x}: %{z:.4g}<extra></extra>",
    )
    figure.add_trace(heat)
    _place_axes(figure, layout, number, at, block.classes)
    _add_edges(figure, number, block.classes)


def _bar(layout: _Layout, b: int, layer: int) -> dict[str, Any]:
    left, top = layout.panel(b, layer, 1)
    return {
        "x": layout.x(left + layout.side + _BAR_GAP),
        "y": layout.y(top + layout.side / 2),
        "xanchor": "left",
        "yanchor": "middle",
        "xpad": 0,
        "ypad": 0,
        "thickness": _BAR,
        "lenmode": "pixels",
        "len": layout.side,
        "exponentformat": "power",
        "tickfont": {"size": 11},
        "nticks": 5,
    }


def _place_axes(
    figure: go.Figure, layout: _Layout, number: int, at: tuple[int, int, int], classes: Classes
) -> None:
    b, layer, end = at
    left, top = layout.panel(b, layer, end)
    n = len(classes.order)
    ticks = {"tickvals": classes.centres, "ticktext": classes.names, "showgrid": False, "ticks": ""}
    if not classes.names or len(classes.names) > 12:
        ticks = {"showgrid": False, "ticks": "", "showticklabels": False}
    x = [layout.x(left), layout.x(left + layout.side)]
    y = [layout.y(top + layout.side), layout.y(top)]
    frame = {"mirror": True, "showline": True, **ticks}
    lowest, leftmost = layer == layout.layers - 1, end == 0 and b == 0
    across = {"domain": x, "anchor": f"y{number}", "range": [-0.5, n - 0.5], **frame}
    down = {"domain": y, "anchor": f"x{number}", "range": [n - 0.5, -0.5], **frame}
    across["showticklabels"] = lowest and frame.get("showticklabels", True)
    down["showticklabels"] = leftmost and frame.get("showticklabels", True)
    figure.update_layout({f"xaxis{number}": across, f"yaxis{number}": down})


def _add_edges(figure: go.Figure, number: int, classes: Classes) -> None:
    """Thin lines where the class changes."""
    refs = {"xref": f"x{number}", "yref": f"y{number}"}
    line = {"color": "rgba(30,30,30,0.55)", "width": 0.8}
    low, high = -0.5, len(classes.order) - 0.5
    for edge in classes.edges:
        at = edge - 0.5
        figure.add_shape(type="line", x0=at, x1=at, y0=low, y1=high, line=line, **refs)
        figure.add_shape(type="line", y0=at, y1=at, x0=low, x1=high, line=line, **refs)
