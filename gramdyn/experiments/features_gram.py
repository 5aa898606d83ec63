"""The weight Gram moves as the virtual covariance does, but for the edge of stability."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import above, below, near
from gramdyn.experiments.runs import Runs
from gramdyn.report.axes import dress, new_figure, set_log_axis

STEPS = (0.1, 0.02, 0.5)
# Relative gaps since the start, summed over steps, in another program's run.
ELSEWHERE = {0.1: "0.0023", 0.02: "0.00048", 0.5: "cosine 0.60 to 0.71"}


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """The gap of one step and since the start, over time, for the three step sizes."""
    figure = new_figure(9.6, 3.4)
    panels = figure.subplots(1, 2)
    titles = ("in one step", "since the start")
    seen: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for tree, (eta, colour) in zip(trees, colours_of(STEPS).items(), strict=True):
        runs = Runs.of(tree)
        for axes, name, kept in zip(panels, ("gram_gap", "sum_gap"), seen, strict=True):
            values = np.median(runs.read(name, None), axis=1)[:, 1:]
            plot_band(axes, eta * runs.steps()[1:], values, colour, f"step {eta:g}")
            kept.append(values.ravel())
    for axes, title, kept in zip(panels, titles, seen, strict=True):
        dress(axes, f"Gap of Gram and covariance {title}", "time", "")
        set_log_axis(axes, np.concatenate(kept))
    panels[1].legend(**LEGEND, loc="center right")
    return figure


@claim(
    "features-gram",
    source="2605.06258",
    statement="weight Gram and virtual covariance move alike: exactly to first order in the step",
    configs=("features-gram", "features-gram-small", "features-gram-large"),
    records=("learning_equation", "learning_centred", "gram_cosine", "gram_gap", "sum_gap"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """The learning equation, one-step and summed gaps, and their order in the step."""
    parts = {eta: Runs.of(tree) for eta, tree in zip(STEPS, trees, strict=True)}
    worst = max(
        float(runs.read(name, None).max())
        for runs in parts.values()
        for name in ("learning_equation", "learning_centred")
    )
    rows = [below("error of W^T g = G^T H, any layer and time", worst, 1e-12)]
    for eta in (0.1, 0.02):
        cosine = parts[eta].read("gram_cosine", None).min()
        rows.append(above(f"least cosine in a step, {eta:g}", cosine, 0.999))
    # The gap of a step is of first order in the step, at the same states.
    gaps = [np.median(parts[eta].read("gram_gap", None), axis=(0, 2)) for eta in (0.1, 0.02)]
    for layer, ratio in enumerate(gaps[0] / gaps[1]):
        rows.append(near(f"layer {layer + 1}: gap at 0.1 over that at 0.02", ratio, 5.0, 1.0, 3))
    for eta, runs in parts.items():
        mine = ", ".join(told(float(x)) for x in runs.read("sum_gap").mean(axis=0))
        rows.append(Row(f"gap since the start, {eta:g}", f"elsewhere {ELSEWHERE[eta]}", mine, None))
        cloud = told(float(runs.read("cloud_gap").mean()))
        rows.append(Row(f"gap of one cloud, {eta:g}", "does not shrink with the step", cloud, None))
    edge = parts[0.5].read("gram_cosine", None).min()
    return [*rows, Row("least cosine in a step, 0.5", "elsewhere 0.17", told(float(edge)), None)]
