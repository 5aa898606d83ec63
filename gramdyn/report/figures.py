"""One figure for print: loss, layer kernels, kernel movement."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from matplotlib.transforms import ScaledTranslation

from gramdyn._errors import InputError
from gramdyn.report.axes import (
    INK,
    SOFT,
    check_figure_path,
    new_axes,
    new_figure,
    power_label,
    save_figure,
    set_log_axis,
)
from gramdyn.report.cells import Cell, cells_of, manifest_of
from gramdyn.report.curves import Curve, curves_of
from gramdyn.report.heat import Block, scale_of
from gramdyn.report.ladders import MINUS, Ladder, ladders_of, signed
from gramdyn.report.matrices import kernel_block
from gramdyn.report.movement import MOVEMENT
from gramdyn.report.roles import axis_title, extreme_cells, place_title, value_title, varying
from gramdyn.report.statistics import StepAxis
from gramdyn.report.styles import Styles
from gramdyn.report.theme import ordered_colours
from gramdyn.store.results import open as open_results

_DASHES = ("-", (0, (4, 1.6)), (0, (1.2, 1.4)), "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_HEIGHT = 3.3
_KEY: dict[str, Any] = {
    "loc": "lower left",
    "frameon": False,
    "fontsize": 9,
    "title_fontsize": 9,
    "labelcolor": INK,
    "alignment": "left",
    "handlelength": 1.9,
    "borderaxespad": 0.2,
    "labelspacing": 0.25,
}
_BAR: dict[str, Any] = {"location": "bottom", "aspect": 40, "pad": 0.03, "shrink": 0.95}

Draw = Callable[[Any, Sequence[Cell], dict[str, Any]], None]


def save_overview(folder: str | Path, path: str | Path) -> Path:
    """Save one figure of a run: loss, a layer's kernel at start and end, kernel movement by width.

    Panels whose record is missing are left out.

    Args:
        folder: What `gramdyn run` wrote.
        path: Where to write; its ending, .png, .svg or .pdf, says what.

    Returns:
        The path.

    Raises:
        InputError: if the folder holds no run or nothing to draw, or the path cannot be written.
    """
    path = check_figure_path(path)
    tree = open_results(folder)
    figure = draw_overview(cells_of(tree), manifest_of(tree))
    if figure is None:
        raise InputError(
            f"Folder {folder} must hold something to draw, but has neither loss nor kernels."
        )
    return save_figure(figure, path)


def draw_overview(cells: Sequence[Cell], manifest: dict[str, Any]) -> Figure | None:
    """The figure; None if no panel can be drawn."""
    panels: list[tuple[float, Draw]] = []
    if any(cell.has("loss") for cell in cells):
        panels.append((1.0, _draw_loss))
    if extreme_cells(cells, "layer_kernels"):
        panels.append((1.5, _draw_kernels))
    if ladders_of(cells, MOVEMENT):
        panels.append((1.0, _draw_movement))
    if not panels:
        return None
    shares = [share for share, _ in panels]
    figure = new_figure(3.1 * sum(shares), _HEIGHT)
    parts = figure.subfigures(1, len(panels), width_ratios=shares, wspace=0.03, squeeze=False)
    for part, (_, draw) in zip(parts[0], panels, strict=True):
        draw(part, cells, manifest)
    return figure


def _draw_loss(part: Any, cells: Sequence[Cell], manifest: dict[str, Any]) -> None:
    styles, curves = Styles(cells), curves_of(cells, "loss")
    axes = new_axes(part, "Loss", "step", "loss: median, 10 to 90 % of seeds")
    axis = StepAxis.of([curve.steps for curve in curves])
    for curve in curves:
        _plot_curve(axes, curve, styles, axis)
    _set_step_axis(axes, axis)
    set_log_axis(axes, np.concatenate([np.concatenate(curve.band) for curve in curves]))
    _add_keys(axes, styles, curves)


def _plot_curve(axes: Axes, curve: Curve, styles: Styles, axis: StepAxis) -> None:
    x, colour = axis.place(curve.steps), styles.colour(curve.place)
    low, mid, high = (np.where(part > 0, part, np.nan) for part in curve.band)
    dash = _DASHES[styles.facet(curve.place) % len(_DASHES)]
    axes.plot(x, mid, color=colour, linewidth=1.6, linestyle=dash)
    if curve.runs > 1:
        axes.fill_between(x, low, high, color=colour, alpha=0.13, linewidth=0)


def _set_step_axis(axes: Axes, axis: StepAxis) -> None:
    ticks = axis.ticks()
    axes.set_xscale("log")
    axes.set_xlim(axis.zero * 0.9, axis.last * 1.1)
    places = [tick or axis.zero for tick in ticks]
    axes.set_xticks(places, [power_label(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


def _add_keys(axes: Axes, styles: Styles, curves: Sequence[Curve]) -> None:
    """Keys in the lower left, where a falling loss is not: colours, beside them dashes."""
    roles, used = styles.roles, 0.0
    if roles.colour:
        shown = {curve.place[roles.colour] for curve in curves}
        lines = [(c, "-", value) for value, c in styles.colours.items() if value in shown]
        key = _key(axes, lines, axis_title(roles.colour), used)
        axes.add_artist(key)
        used = key.get_window_extent().width / _root(axes).dpi + 0.03
    if roles.facet:
        dashed = [(SOFT, _DASHES[i % len(_DASHES)], value) for value, i in styles.facets.items()]
        _key(axes, dashed, axis_title(roles.facet), used)


def _key(axes: Axes, lines: list[tuple[str, Any, Any]], title: str, inches: float) -> Legend:
    """A key that many inches right of the lower left corner."""
    few = lines if len(lines) <= 6 else [lines[0], lines[len(lines) // 2], lines[-1]]
    handles = [
        Line2D([], [], color=colour, linestyle=dash, linewidth=1.8, label=value_title(value))
        for colour, dash, value in few
    ]
    place = axes.transAxes + ScaledTranslation(inches, 0, _root(axes).dpi_scale_trans)
    where: dict[str, Any] = {"bbox_to_anchor": (0, 0.01), "bbox_transform": place}
    key = axes.legend(handles=handles, title=title, **where, **_KEY)
    key.get_title().set_color(INK)
    return key


def _root(axes: Axes) -> Figure:
    root = axes.get_figure(root=True)
    assert root is not None
    return root


def _draw_kernels(part: Any, cells: Sequence[Cell], manifest: dict[str, Any]) -> None:
    cell = extreme_cells(cells, "layer_kernels")[-1]
    block = kernel_block(cell, manifest)
    layer = block.matrices.shape[1] - 1
    names = [name for name in varying(cells) if name in ("width", "depth")]
    told = place_title(cell.place, names)
    title = f"Kernel of layer {layer + 1}" + (f", {told}" if told else "")
    part.suptitle(title, fontsize=11.5, color=INK, x=0.06, ha="left")
    left, right = part.subplots(1, 2)
    scale = scale_of(block.matrices[:, layer])
    _show(left, block, 0, layer)
    image = _show(right, block, 1, layer)
    right.set_yticklabels([])
    if block.classes.names:
        left.set_ylabel("samples, by class", fontsize=10.5, color=INK)
    bar = part.colorbar(image, ax=[left, right], **_BAR)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=9, color="#9aa1aa", labelcolor=INK)
    ticks = np.linspace(scale.low, scale.high, 3).tolist()
    bar.set_ticks(ticks, labels=[f"{tick:.2g}".replace("-", MINUS) for tick in ticks])


def _show(axes: Axes, block: Block, end: int, layer: int) -> Any:
    scale, classes = scale_of(block.matrices[:, layer]), block.classes
    stops = [(float(place), colour) for place, colour in scale.colours]
    colours = LinearSegmentedColormap.from_list("kernel", stops)
    matrix = block.matrices[end, layer]
    image = axes.imshow(matrix, cmap=colours, vmin=scale.low, vmax=scale.high, interpolation="none")
    for edge in classes.edges:
        axes.axhline(edge - 0.5, color=INK, linewidth=0.6, alpha=0.6)
        axes.axvline(edge - 0.5, color=INK, linewidth=0.6, alpha=0.6)
    named = bool(classes.names) and len(classes.names) <= 12
    ticks, labels = (classes.centres, classes.names) if named else ([], ())
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    axes.tick_params(length=0, labelsize=9.5, labelcolor=INK)
    axes.set_title(f"step {block.ends[end]}", fontsize=10, color=SOFT, pad=5)
    for spine in axes.spines.values():
        spine.set(color="#9aa1aa", linewidth=0.8)
    return image


def _draw_movement(part: Any, cells: Sequence[Cell], manifest: dict[str, Any]) -> None:
    ladders = ladders_of(cells, MOVEMENT)
    axes = new_axes(part, "Kernel movement", "width", f"|K(T) {MINUS} K(0)| / |K(0)|, last step")
    axes.set_xscale("log")
    names = [name for name in varying(cells) if name != "width"]
    colours = _movement_colours(len(ladders))
    for i, ladder in enumerate(ladders):
        _plot_ladder(axes, ladder, colours[i], _MARKERS[i % len(_MARKERS)], names)
    widths = sorted({width for ladder in ladders for width in ladder.widths.tolist()})
    axes.set_xlim(widths[0] / 1.25, widths[-1] * 1.25)
    shown = widths[:: -(-len(widths) // 6)]
    axes.set_xticks(shown, [f"{width:g}" for width in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    set_log_axis(axes, np.concatenate([one for ladder in ladders for one in ladder.values]))
    low, high = axes.get_ylim()
    # Room for the key below the points.
    axes.set_ylim(low / (high / low) ** (0.09 * min(len(ladders), 5)), high)
    axes.legend(**_KEY)


def _movement_colours(count: int) -> list[str]:
    """One grey-blue ramp: these colours must not be read as widths."""
    shades = {1: ["#30445c"], 2: ["#8ba3bf", "#30445c"], 3: ["#a3b4c8", "#64809f", "#22344a"]}
    return shades.get(count) or ordered_colours(count)


def _plot_ladder(axes: Axes, ladder: Ladder, colour: str, marker: str, names: list[str]) -> None:
    told = place_title(ladder.place, names)
    slope = f"slope {signed(ladder.law.slope)}"
    for width, y in zip(ladder.widths, ladder.values, strict=True):
        axes.plot(
            np.full(len(y), width), y, marker, color=colour, markersize=3.2, alpha=0.35, mew=0
        )
    ends = ladder.widths[[0, -1]]
    axes.plot(ends, ladder.law(ends), color=colour, linewidth=1.6)
    axes.plot(
        ladder.widths,
        ladder.means,
        linestyle="",
        marker=marker,
        color=colour,
        markersize=6,
        mec="white",
        mew=0.6,
        label=f"{told}: {slope}" if told else slope,
    )
