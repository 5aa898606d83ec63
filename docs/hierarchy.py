"""Draws hierarchy.png from two reproduced claims.

gramdyn paper operators-depth && gramdyn paper closure-depth
python docs/hierarchy.py runs/paper
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

import gramdyn as gd
from gramdyn.experiments.numbers import by_axis
from gramdyn.experiments.pictures import LEGEND, MARKERS, plot_spots
from gramdyn.report.axes import INK, SOFT, dress, new_figure, save_figure, set_log_axis

UP, DOWN, FLIP = "#3b72b8", "#cc4a3c", "#dd9a26"
CLOSURES = {
    "flips_omitted": ("no flips in q", FLIP),
    "frozen": ("operators frozen", UP),
    "dropped": ("operators dropped", DOWN),
}


def draw_scheme(axes: Axes) -> None:
    """Three layers: forward fields above, conjugate fields below, what moves each."""
    axes.set_axis_off()
    axes.set_title("Who moves the fields (depth 3)", fontsize=11.5, color=INK, loc="left", pad=8)
    axes.set_xlim(-0.6, 3.45)
    axes.set_ylim(-0.5, 3.55)
    for layer in (1, 2, 3):
        _box(axes, layer, 2.2, rf"$z^{layer}$", UP)
        _box(axes, layer, 0.8, rf"$q^{layer}$", DOWN)
        _arrow(axes, (layer, 3.15), (layer, 2.52), SOFT)
    for layer in (1, 2):
        _arrow(axes, (layer + 0.27, 2.2), (layer + 0.73, 2.2), UP)
        axes.text(layer + 0.5, 2.33, r"$W D$", ha="center", fontsize=8.5, color=UP)
        # With a fixed readout nothing moves q^3, so q^2 has no one to be carried from.
        _arrow(axes, (layer, -0.15), (layer, 0.48), SOFT)
        _arrow(axes, (layer + 0.85, 1.88), (layer + 0.2, 1.1), FLIP, "--")
    _arrow(axes, (1.73, 0.8), (1.27, 0.8), DOWN)
    axes.text(1.5, 0.5, r"$W^{T} D$", ha="center", fontsize=8.5, color=DOWN)
    notes = (
        (3.24, "learning of the layer itself", SOFT),
        (2.2, r"carried up: $\Gamma$", UP),
        (1.5, "mask flips", FLIP),
        (0.8, "carried down: $P$", DOWN),
        (-0.32, "learning of the layer above", SOFT),
    )
    for height, text, colour in notes:
        x, align = (2.0, "center") if height > 3 else (1.5, "center")
        if colour != SOFT:
            x, align = -0.55, "left"
        axes.text(x, height, text, ha=align, va="center", fontsize=9, color=colour)


def _box(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    style = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": colour}
    axes.text(x, y, text, ha="center", va="center", fontsize=12, color=INK, bbox=style)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, dash: str = "-"
) -> None:
    look = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.5, "linestyle": dash}
    axes.annotate("", end, start, arrowprops=look)


def draw_shares(axes: Axes, tree: object) -> None:
    """What operators carry, layer by layer, at depth 4."""
    dress(axes, "Carried by operators (depth 4)", "layer", "share of the movement")
    looks = (
        ("transport_share", "of dz, from below", UP),
        ("pullback_share", "of dq, from above", DOWN),
    )
    for name, label, colour in looks:
        values = by_axis(tree, name, "depth", step=None)[4][..., 1:].mean(axis=-1)
        layers = np.arange(1, 5)
        axes.plot(layers, np.median(values, axis=0), "o-", color=colour, label=label)
        low, high = np.quantile(values, (0.1, 0.9), axis=0)
        axes.fill_between(layers, low, high, color=colour, alpha=0.14, linewidth=0)
    axes.set_xticks([1, 2, 3, 4])
    axes.set_ylim(-0.04, 1.04)
    axes.legend(**LEGEND)


def draw_errors(axes: Axes, tree: object) -> None:
    """Error of the residual's trajectory by depth, narrow networks."""
    dress(axes, "Cut, and stepped alone", "depth", "error of the residual's trajectory")
    seen = []
    for i, (name, (label, colour)) in enumerate(CLOSURES.items()):
        for depth, error in by_axis(tree, "closure_error", "depth", closure=name).items():
            if depth > 1:
                told = label if depth == 2 else None
                plot_spots(axes, depth + 0.14 * (i - 1), error, colour, MARKERS[i], told)
                seen.append(error)
    set_log_axis(axes, np.concatenate(seen).clip(0.02, 5))
    axes.set_xticks([2, 3, 4])
    axes.legend(**LEGEND, loc="lower right")


def main() -> None:
    """Draw the three panels from the run folders of the two claims."""
    runs = Path(sys.argv[1])
    figure = new_figure(12.4, 3.5)
    panels = figure.subplots(1, 3, width_ratios=(1.25, 1, 1))
    draw_scheme(panels[0])
    draw_shares(panels[1], gd.open(runs / "operators-depth" / "operators-depth"))
    draw_errors(panels[2], gd.open(runs / "closure-depth" / "closure-depth"))
    save_figure(figure, Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
