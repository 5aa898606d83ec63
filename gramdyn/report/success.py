"""Pictures: the share of seeds that learn a planted map, over one axis or two."""

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import plotly.graph_objects as go

from gramdyn.report.against import Row, across_axis, along_axis, lines_of, set_across_axis
from gramdyn.report.cells import Cell
from gramdyn.report.curves import runs_learnt
from gramdyn.report.lines import panels
from gramdyn.report.phase import Shade, draw_plane, plane_of
from gramdyn.report.picture import Picture
from gramdyn.report.roles import Roles, at_ends, axis_title, axis_values, varying
from gramdyn.report.styles import Styles
from gramdyn.report.theme import SEQUENTIAL

_TITLE = "share of seeds that learn the map"
_LEARNT = (
    "A run has learnt the map if success is 1 at the last saved step, by default if the loss "
    "of the population is below 0.001 |B|². Runs that failed have not learnt it."
)
_LAW = (
    "With one output and a small start, a neuron learns the half of the map that the sign of "
    "v<sub>i</sub> + a&middot;w<sub>i</sub>/|a| says. The map is learnt where both signs are "
    "there: of <i>k</i> neurons with random signs in a share 1 &minus; 2<sup>1 &minus; "
    "<i>k</i></sup>, whatever d. A neuron sees about half of the samples, so that both halves are "
    "determined only where n/d is above 2."
)


def wilson_interval(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share: all p for which `count` is within z standard errors.

        |count / total - p| <= z sqrt(p (1 - p) / total)

    Args:
        count: Successes, from 0 to `total`.
        total: Trials, at least 1.
        level: Share of intervals that hold the true p, about.
    """
    share, square = count / total, NormalDist().inv_cdf((1 + level) / 2) ** 2 / total
    centre = share + square / 2
    half = sqrt(square * (share * (1 - share) + square / 4))
    low, high = (centre - half) / (1 + square), (centre + half) / (1 + square)
    return max(low, 0.0), min(high, 1.0)


def draw_success(cells: Sequence[Cell]) -> Picture | None:
    """Share of seeds that learn the map against the numeric axis with the most values."""
    there = _followed(cells)
    across = across_axis(there)
    if across is None:
        return None
    roles = _roles(there, across)
    rows = [_row(cell) for cell in at_ends(there, roles.dash)]
    told = " Of the axes shown by dashes both ends are drawn." if roles.dash else ""
    return Picture(
        name="success",
        title=f"Seeds that learn the map over {axis_title(across)}",
        text=f"{_LEARNT} Bars: Wilson's 95 % interval of the share.{told}",
        figure=_draw(rows, across, Styles([Row(row) for row in rows], roles)),
        rows=rows,
        law=_LAW,
    )


def draw_success_phase(cells: Sequence[Cell]) -> Picture | None:
    """The same share over the two numeric axes with the most values, as colour."""
    there = _followed(cells)
    plane = plane_of(there)
    if plane is None:
        return None
    across, down = axis_title(plane.across), axis_title(plane.down)
    return Picture(
        name="success_phase",
        title=f"Seeds that learn the map over {across} and {down}",
        text=f"Colour: share of seeds that learn the map. {_LEARNT} ✕: every run failed. "
        "A ring: some did.",
        figure=draw_plane(there, plane, Shade(_share, "share", SEQUENTIAL, (0.0, 1.0))),
        rows=[_row(cell) for cell in there],
        law=_LAW,
    )


def _followed(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if runs_learnt(cell) is not None]


def _share(cell: Cell) -> float | None:
    found = runs_learnt(cell)
    return None if found is None else found[0] / found[1]


def _roles(cells: Sequence[Cell], across: str) -> Roles:
    """Colour is the other axis with the most values, panels the next, dashes the rest."""
    rest = [name for name in varying(cells) if name != across]
    rest.sort(key=lambda name: -len(axis_values(cells, name)))
    colour, facet = [*rest, None, None][:2]
    return Roles(colour, facet, tuple(rest[2:]))


def _row(cell: Cell) -> dict[str, Any]:
    found = runs_learnt(cell)
    assert found is not None
    learnt, runs = found
    low, high = wilson_interval(learnt, runs)
    share = {"share": learnt / runs, "low": low, "high": high}
    return {**cell.place, **share, "learnt": learnt, "runs": runs}


def _draw(rows: list[dict[str, Any]], across: str, styles: Styles) -> go.Figure:
    figure, seen = panels(styles), set[str]()
    for line in lines_of(rows, styles):
        figure.add_trace(_line(line, across, styles, seen), **styles.at(line[0]))
    figure.update_yaxes(range=[-0.04, 1.04])
    figure.update_yaxes(title_text=_TITLE, col=1)
    set_across_axis(figure, across, rows)
    return figure


def _line(line: list[dict[str, Any]], across: str, styles: Styles, seen: set[str]) -> go.Scatter:
    """Shares with their intervals; an entry of the legend for the first alike."""
    x, line = along_axis(line, across)
    share, low, high = (
        np.asarray([row[name] for row in line]) for name in ("share", "low", "high")
    )
    label, colour = styles.label(line[0]), styles.colour(line[0])
    bars = {"array": high - share, "arrayminus": share - low, "thickness": 1.2, "width": 3}
    entry = {"name": label, "legendgroup": label, "showlegend": bool(label) and label not in seen}
    seen.add(label)
    return go.Scatter(
        x=x,
        y=share,
        error_y={"type": "data", "symmetric": False, **bars},
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": styles.dash(line[0])},
        marker={"size": 6},
        text=[f"{row['learnt']} of {row['runs']}" for row in line],
        hovertemplate=f"{label}: %{{y:.3f}}, %{{text}}<extra></extra>",
        legendrank=1 + styles.rank(line[0]),
        **entry,
    )
