"""The imbalance |V_i|^2 - |w_i|^2: conserved by the flow, moved by steps, by an exact law."""

import itertools
from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below, count, near
from gramdyn.experiments.runs import Runs
from gramdyn.planted import hessian_matrix, imbalance_bound
from gramdyn.report.axes import dress, new_figure, set_log_axis

TIME = 100.0  # over which a drift is told


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Largest drift over time by step size; at the end against the step size."""
    runs = Runs.of(trees[0])
    figure = new_figure(9.6, 3.7)
    left, right = figure.subplots(1, 2)
    dress(left, "Drift of the imbalance", "time", "largest over neurons")
    sizes = runs.values("scheme.step_size")
    for size, colour in colours_of(sizes).items():
        one = runs.where(**{"scheme.step_size": size})
        times = one.steps() * size
        kept = (times > 0) & (times <= TIME)
        drift = np.abs(one.read("imbalance_drift", None)).max(axis=1)
        plot_band(left, times[kept], drift[:, kept], colour, f"step {size:g}")
    left.set_xscale("log")
    set_log_axis(left, np.array([1e-5, 0.1]))
    left.legend(**LEGEND, loc="lower right")
    dress(right, "Largest drift in a time of 100", "step size", "median over seeds")
    medians = [float(np.median(_drift(runs, size))) for size in sizes]
    right.loglog(sizes, medians, "o", color="#3b72b8", label="runs")
    line = medians[-1] * np.asarray(sizes) / sizes[-1]
    right.loglog(sizes, line, "-", color="#444b54", linewidth=1, label="in proportion")
    right.set_xticks(sizes, [f"{size:g}" for size in sizes])
    right.minorticks_off()
    right.legend(**LEGEND, loc="upper left")
    return figure


def _at_time(runs: Runs, size: float) -> tuple[Runs, int]:
    """Runs of a step size, and the index of the saved step at the time told."""
    one = runs.where(**{"scheme.step_size": size})
    return one, int(np.flatnonzero(one.steps() == round(TIME / size))[0])


def _drift(runs: Runs, size: float) -> Float[np.ndarray, " runs"]:
    one, place = _at_time(runs, size)
    return np.asarray(one.read("largest_drift", place))


@claim(
    "planted-drift",
    source="2606.04476",
    statement="a step moves D_i by eta^2 (|dL/dV_i|^2 - |dL/dw_i|^2): a drift of order eta",
    configs=("planted-drift", "planted-drift-samples", "planted-drift-flow"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """The law of a step, halving of the drift, its bound, samples, and gradient flow."""
    runs, samples, flow = (Runs.of(tree) for tree in trees)
    sizes = runs.values("scheme.step_size")[::-1]
    medians = [float(np.median(_drift(runs, size))) for size in sizes]
    rows = [
        below("D - its law, summed over all steps", runs.read("imbalance_gap").max(), 1e-12),
        below("the same on samples", samples.read("imbalance_gap").max(), 1e-12),
    ]
    for big, small, one, two in zip(sizes, sizes[1:], medians, medians[1:], strict=False):
        rows.append(near(f"drift, step {small:g} over {big:g}", two / one, 0.5, 0.02))
    told = ", ".join(f"{drift:.2g}" for drift in medians)
    steps = ", ".join(f"{size:g}" for size in sizes)
    rows.append(Row(f"drift at steps {steps}", "in proportion", told, None))
    return [*rows, *(_bound_row(runs, size) for size in sizes), *_flow_rows(flow)]


def _bound_row(runs: Runs, size: float) -> Row:
    """Sum of |D_i(T) - D_i(0)| against eta (L_0 - L_T) / (1 - eta beta / 2), seed by seed."""
    one, place = _at_time(runs, size)
    drift = np.abs(one.read("imbalance_drift", place)).sum(axis=1)
    losses = one.read("loss", None)
    curvature = _curvature(one)
    held = [
        total <= imbalance_bound(float(loss[0]), float(loss[place]), size, beta)
        for total, loss, beta in zip(drift, losses, curvature, strict=True)
    ]
    share = (drift / (size * (losses[:, 0] - losses[:, place]))).max()
    return count(
        f"step {size:g}: below the bound (over eta (L_0 - L_T): {share:.2f})", np.asarray(held)
    )


def _curvature(runs: Runs) -> list[float]:
    """Largest eigenvalue of the Hessian that each run meets at its saved times."""
    tops = []
    for place in range(len(runs.steps())):
        hidden, readout = runs.weights(place)
        target = np.eye(1, hidden.shape[-1])
        pairs = zip(hidden, readout, strict=True)
        tops.append([np.linalg.eigvalsh(hessian_matrix(*pair, target))[-1] for pair in pairs])
    return [float(top) for top in np.max(tops, axis=0)]


def _flow_rows(runs: Runs) -> list[Row]:
    """Drift of RK4 in a time of 100: of the fourth order of its step."""
    drifts = []
    for size in (0.4, 0.2, 0.1):
        one, place = _at_time(runs, size)
        drifts.append(
            np.median(np.abs(one.read("imbalance", place) - one.read("imbalance", 0)).max(1))
        )
    rows = [Row("flow, RK4 0.1: drift", "of order dt^4", f"{drifts[-1]:.1e}", None)]
    ratios = [float(big / small) for big, small in itertools.pairwise(drifts)]
    for size, ratio in zip((0.4, 0.2), ratios, strict=True):
        what = f"flow, RK4: drift at {size:g} over that at {size / 2:g}"
        rows.append(Row(what, "10 to 40", f"{ratio:.1f}", 10 < ratio < 40))
    return rows
