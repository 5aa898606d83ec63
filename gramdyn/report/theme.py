"""Colours and plotly templates, light and dark."""

from typing import Any

import numpy as np

# Middle lightness, so that lines stand out on white and on near black; blue to red is ordered.
_ANCHORS = ("#3b72b8", "#2a9d8f", "#dd9a26", "#cc4a3c")
_FEW = {1: (0,), 2: (0, 3), 3: (0, 2, 3), 4: (0, 1, 2, 3)}

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
FAILED = "#8a8f98"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif"

SEQUENTIAL = [
    [0.0, "#f4f6f8"],
    [0.2, "#c9dbe9"],
    [0.45, "#6ea6cf"],
    [0.7, "#2f6ea8"],
    [1.0, "#0d2c54"],
]
DIVERGING = [
    [0.0, "#8c2d19"],
    [0.2, "#d0694a"],
    [0.4, "#f2cdbb"],
    [0.5, "#f7f7f5"],
    [0.6, "#c3d9ea"],
    [0.8, "#4f8dc0"],
    [1.0, "#12386b"],
]


def ordered_colours(count: int) -> list[str]:
    """Colours of that many values in order."""
    if count in _FEW:
        return [_ANCHORS[i] for i in _FEW[count]]
    anchors = np.array([_channels(anchor) for anchor in _ANCHORS])
    places = np.linspace(0, len(anchors) - 1, max(count, 1))
    mixed = [np.interp(places, range(len(anchors)), channel) for channel in anchors.T]
    return ["#" + "".join(f"{round(c):02x}" for c in colour) for colour in zip(*mixed, strict=True)]


def translucent(colour: str, share: float) -> str:
    """A "#rrggbb" colour as rgba with that opacity."""
    red, green, blue = _channels(colour)
    return f"rgba({red},{green},{blue},{share})"


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def templates() -> dict[str, Any]:
    """Plotly templates by name, "light" and "dark", as plain data."""
    return {
        "light": _template("#24292f", "#e3e6ea", "#9aa1aa", "#ffffff"),
        "dark": _template("#d7dce2", "#2e353e", "#68717d", "#1b2027"),
    }


def _template(ink: str, grid: str, line: str, card: str) -> dict[str, Any]:
    axis = {
        "gridcolor": grid,
        "linecolor": line,
        "tickcolor": line,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "zeroline": False,
        "exponentformat": "power",
        "minor": {"ticks": "", "showgrid": False},
        "title": {"standoff": 8},
    }
    bar = {"outlinewidth": 0, "ticks": "outside", "ticklen": 3, "tickcolor": line}
    layout = {
        "font": {"family": FONT, "size": 13, "color": ink},
        # What has no colour of its own is drawn in that of the writing.
        "colorway": [ink],
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": axis,
        "yaxis": axis,
        "hoverlabel": {"bgcolor": card, "bordercolor": line, "font": {"color": ink}},
        "legend": {"bgcolor": "rgba(0,0,0,0)"},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": line, "activecolor": ink},
        "annotationdefaults": {"font": {"color": ink}},
        "coloraxis": {"colorbar": bar},
    }
    return {"layout": layout, "data": {"heatmap": [{"colorbar": bar}]}}
