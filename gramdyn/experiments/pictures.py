"""What the figures of claims share: medians with bands over runs, power laws over widths."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gramdyn.experiments.numbers import MINUS, quantiles
from gramdyn.report.axes import INK, set_log_axis
from gramdyn.report.statistics import PowerLaw, fit_power_law
from gramdyn.report.theme import ordered_colours

LEGEND: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": INK, "handlelength": 1.6}
MARKERS = ("o", "s", "^", "D", "v", "P")


def colours_of(values: Any) -> dict[Any, str]:
    """An ordered colour for each value."""
    values = list(values)
    return dict(zip(values, ordered_colours(len(values)), strict=True))


def plot_band(axes: Axes, x: Any, values: np.ndarray, colour: str, label: str) -> None:
    """Median over runs, shape (runs, points), and its 10 to 90 % band."""
    low, mid, high = (np.where(np.isfinite(part), part, np.nan) for part in quantiles(values))
    axes.plot(x, mid, color=colour, linewidth=1.7, label=label)
    axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)


def plot_spots(
    axes: Axes, x: float, values: np.ndarray, colour: str, marker: str, label: str | None
) -> None:
    """One place: the median as a mark, 10 to 90 % as a bar."""
    low, mid, high = quantiles(values)
    top = high if np.isfinite(high) else mid * 30
    axes.plot([x, x], [low, top], color=colour, linewidth=1.4, alpha=0.55)
    axes.plot(
        [x], [mid], marker, color=colour, markersize=6.5, mec="white", mew=0.7, label=label, ls=""
    )


def plot_widths(
    axes: Axes, means: dict[int, float], colour: str, label: str, marker: str = "o"
) -> PowerLaw | None:
    """Means against the width with the power law through them, its exponent in the label."""
    widths = np.asarray(list(means), np.float64)
    values = np.asarray(list(means.values()))
    law = fit_power_law(widths, values)
    told = label if law is None else f"{label}: slope {law.slope:.2f}".replace("-", MINUS)
    if law is not None:
        ends = widths[[0, -1]]
        axes.plot(ends, law(ends), color=colour, linewidth=1.5)
    axes.plot(widths, values, marker, color=colour, markersize=6.5, mec="white", mew=0.7)
    axes.plot([], [], marker, color=colour, linestyle="-", label=told)
    return law


def width_axis(axes: Axes, widths: Any, values: np.ndarray) -> None:
    """Logarithmic axes for a ladder of widths."""
    axes.set_xscale("log")
    widths = sorted(widths)
    axes.set_xticks(widths, [f"{width:g}" for width in widths])
    axes.minorticks_off()
    set_log_axis(axes, values)
