"""Axes and figures for print, all of one manner."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from gramdyn._errors import InputError
from gramdyn.report.statistics import log_ticks

SUFFIXES = (".png", ".svg", ".pdf")
INK, GRID, SOFT = "#24292f", "#e6e9ed", "#6b7480"
_DPI = 200


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches; no window is opened."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def check_figure_path(path: str | Path) -> Path:
    """The path if it ends in .png, .svg or .pdf.

    Raises:
        InputError: if it does not.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise InputError(f"Argument `path` must end in {', '.join(SUFFIXES)}, but is {path}.")
    return path


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure, its folder made if need be.

    Raises:
        InputError: if the path cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=_DPI, facecolor="white")
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"Figure {path} cannot be written: {reason}.") from None
    return path


def new_axes(part: Any, title: str, across: str, down: str) -> Axes:
    """Axes that fill a figure or a part of one, with a title and a light grid."""
    return dress(part.subplots(), title, across, down)


def dress(axes: Axes, title: str, across: str, down: str) -> Axes:
    """The axes with a title, names of both sides and a light grid."""
    axes.set_title(title, fontsize=11.5, color=INK, loc="left", pad=8)
    axes.set_xlabel(across, fontsize=10.5, color=INK)
    axes.set_ylabel(down, fontsize=10.5, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9aa1aa")
    axes.tick_params(labelsize=9.5, color="#9aa1aa", labelcolor=INK)
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    return axes


def set_log_axis(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic upright axis around the values above 0, with readable labels."""
    good = values[np.isfinite(values) & (values > 0)]
    axes.set_yscale("log")
    if len(good) == 0:
        return
    room = (good.max() / good.min()) ** 0.05 * 1.02
    low, high = float(good.min() / room), float(good.max() * room)
    ticks = log_ticks(low, high)
    axes.set_ylim(low, high)
    axes.set_yticks(ticks, [power_label(tick) for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())


def power_label(number: float | int) -> str:
    """A label of a logarithmic axis: plain from 0.01 to 5000, else with a power of ten."""
    if number == 0 or 0.01 <= number < 10_000:
        return f"{number:g}"
    mantissa, power = f"{number:.0e}".split("e")
    factor = "" if mantissa == "1" else rf"{mantissa}\cdot"
    return rf"${factor}10^{{{int(power)}}}$"
