"""Three phases from a small start, their times, and the plateau between the two halves."""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below, near
from gramdyn.experiments.runs import Runs
from gramdyn.planted import (
    alignment_steps,
    both_signs,
    growth_loss,
    growth_steps,
    half_rise_steps,
    rise_lag_steps,
)
from gramdyn.report.axes import dress, new_figure

ALIGNED, GROWN, REFINED = 0, 2, 3
SMALL = 1e-4  # scales up to which a start counts as tiny
# Bound on half-rises and lags, in steps; they are found between whole steps.
RISE = 5e-3


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Times of three events against the scale of the start; losses with their plateau."""
    times, plateau = (Runs.of(tree) for tree in trees)
    figure = new_figure(9.8, 3.7)
    left, right = figure.subplots(1, 2)
    dress(left, "Steps until an event, step size 0.1", "scale of the start", "steps")
    scales, rows = times.values("weight_scale"), ("aligned", "grown", "refined")
    for name, event, colour in zip(
        rows, (ALIGNED, GROWN, REFINED), colours_of(rows).values(), strict=True
    ):
        found = [
            np.median(_at(times, scale, 0.1).read("phase_steps")[:, event]) for scale in scales
        ]
        left.plot(scales, found, "o-", color=colour, ms=4.5, linewidth=1.3, label=name)
    wanted = [np.median(_predicted_growth(_at(times, scale, 0.1))) for scale in scales if scale < 1]
    left.plot(scales, wanted, "x", color="#444b54", ms=7, label="grown, predicted")
    left.set_xscale("log")
    left.legend(**LEGEND, loc="upper right")
    _losses(right, plateau)
    return figure


def _losses(axes: Axes, runs: Runs) -> None:
    """Loss of some seeds over time on the law of the flow, in units of log(1 + eta/2)."""
    dress(axes, "Loss: one half, then the other", "steps", "loss")
    strengths, losses = runs.read("strengths", None)[:, :, 0], runs.read("loss", None)
    found = np.flatnonzero(both_signs(strengths))
    apart = np.abs(np.log(np.abs(strengths[found, 0] / strengths[found, 1])))
    # From the seed of the longest plateau to that of the shortest.
    places = np.linspace(len(found) - 1, 0, 5).astype(int)
    chosen, steps = found[np.argsort(apart)][places], runs.steps()
    for seed, colour in colours_of(chosen.tolist()).items():
        axes.plot(steps, losses[seed], color=colour, linewidth=3, alpha=0.5)
        law = growth_loss(steps * 2 * math.log1p(0.05), strengths[seed])
        axes.plot(steps, law, "--", color="#444b54", linewidth=0.9)
    axes.set_xlim(340, 620)


def _at(runs: Runs, scale: float, step_size: float) -> Runs:
    return runs.where(**{"weight_scale": scale, "scheme.step_size": step_size})


def _predicted_growth(runs: Runs) -> Float[np.ndarray, " runs"]:
    (step_size,) = runs.values("scheme.step_size")
    return growth_steps(runs.read("strengths", 0), step_size)


@claim(
    "planted-times",
    source="2606.04476",
    statement="alignment takes a time that the scale does not change, growth 2 log(1/scale)",
    configs=("planted-times", "planted-plateau"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Times of the phases by scale and step, their slope, final rates, and the plateau."""
    times, plateau = (Runs.of(tree) for tree in trees)
    rows = [row for eta in (0.05, 0.1, 0.2) for row in _time_rows(times, eta)]
    return [*rows, _slope_row(times), *_rate_rows(times), *_plateau_rows(plateau)]


def _time_rows(times: Runs, eta: float) -> list[Row]:
    """Alignment and growth at the smallest scale, against the prediction for each seed."""
    rows = []
    for scale in times.values("weight_scale") if eta == 0.1 else times.values("weight_scale")[:1]:
        runs = _at(times, scale, eta)
        events = runs.read("phase_steps")
        axis = np.eye(1, runs.weights(0)[0].shape[-1])
        wanted = np.median(alignment_steps(*runs.weights(0), axis, eta))
        where = f"eta {eta:g}, scale {scale:.0e}"
        rows.append(near(f"{where}: aligned", float(np.median(events[:, ALIGNED])), wanted, 2.0))
        growth, refined = np.median(events[:, GROWN]), np.median(events[:, REFINED])
        if scale <= SMALL:
            wanted = float(np.median(_predicted_growth(runs)))
            rows.append(near(f"{where}: grown", float(growth), wanted, 1.0))
        else:
            rows.append(Row(f"{where}: grown", "small starts only", f"{growth:.4g}", None))
        rows.append(Row(f"{where}: refined", "no law", f"{refined:.4g}", None))
    return rows


def _slope_row(times: Runs) -> Row:
    """Slope of the time of growth against log(1/scale) over small starts, 1 / log(1 + eta/2)."""
    scales = [scale for scale in times.values("weight_scale") if scale <= SMALL]
    found = [np.median(_at(times, s, 0.1).read("phase_steps")[:, GROWN]) for s in scales]
    slope = np.polyfit(-np.log(scales), found, 1)[0]
    return near("eta 0.1: slope of growth in log(1/scale)", slope, 1 / math.log1p(0.05), 0.1, 5)


def _rate_rows(times: Runs) -> list[Row]:
    """Factor of the error a step at the end: 1 - eta along a, 1 - eta/2 across it."""
    rows = []
    for scale, wanted, off in ((1e-8, 0.9, 1e-3), (0.1, 0.95, 2e-3)):
        found = np.median(_at(times, scale, 0.1).read("final_rate"))
        rows.append(near(f"scale {scale:.0e}: error a step at the end", float(found), wanted, off))
    return rows


def _plateau_rows(runs: Runs) -> list[Row]:
    """Half-rises of neurons, the lag between them, and how long the loss stays near 1/4."""
    strengths = runs.read("strengths", None)[:, :, 0]
    good = both_signs(strengths)
    gains, strengths = np.abs(runs.read("gains", None)[good]), strengths[good]
    rises = np.apply_along_axis(_half_rise, -1, gains)
    gaps = np.abs(rises - half_rise_steps(strengths, 0.1))
    lags = np.abs(rises[:, 0] - rises[:, 1])
    wanted = np.abs(rise_lag_steps(strengths[:, 0], strengths[:, 1], 0.1))
    law = growth_loss(runs.steps() * 2 * math.log1p(0.05), strengths)
    flat = np.sum(np.abs(law - 0.25) < 5e-3, axis=0)
    gap = np.abs(runs.read("plateau_steps")[good] - flat)
    # The flow is up to 1.5 steps late at each end of the plateau, and steps are counted whole.
    close = 3.5
    return [
        below(f"half-rise of {rises.size} neurons, off in steps", gaps.max(), RISE),
        below(f"lag of {len(lags)} seeds, off in steps", np.abs(lags - wanted).max(), RISE),
        below(f"steps within 5e-3 of 1/4, up to {flat.max()}: off the flow", gap.max(), close),
        Row("lag of the two halves, median", "20.5 log(|s_2/s_1|)", told(np.median(lags)), None),
    ]


def _half_rise(gain: Float[np.ndarray, " steps"]) -> float:
    """Step at which a gain e is 1/2, between whole ones by e / (1 - e), which grows by a factor."""
    after = int(np.argmax(gain > 0.5))
    low, high = (math.log(e / (1 - e)) for e in gain[after - 1 : after + 1])
    return after - 1 + low / (low - high)
