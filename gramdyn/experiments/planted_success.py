"""From a tiny start: whether the map is learnt, who learns which half, and how it is shared."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Bool
from matplotlib.figure import Figure

from gramdyn.experiments.pictures import LEGEND, MARKERS, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below, count, fraction
from gramdyn.experiments.runs import Runs
from gramdyn.planted import both_signs, final_gains, success_probability
from gramdyn.report.axes import dress, new_figure

# Bounds of the losses at the end, of group sums and of shares: rounding over 1500 steps.
LEARNT, STUCK, SUMS, SHARES = 1e-14, 1e-12, 1e-12, 1e-12


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Share of seeds that learn over the number of neurons; gains against the law of shares."""
    runs = Runs.of(trees[0])
    figure = new_figure(9.6, 3.7)
    left, right = figure.subplots(1, 2)
    dress(left, "Share of 2000 seeds that learn", "neurons", "share")
    widths, inits = runs.values("width"), runs.values("init")
    law = [success_probability(width) for width in widths]
    left.plot(widths, law, color="#444b54", linewidth=1.4, label=r"$1 - 2^{1-k}$")
    colours = colours_of(inits)
    for init, marker in zip(inits, MARKERS, strict=False):
        shares = [np.mean(_learnt(runs.where(**_place(init, width)))) for width in widths]
        errors = [2 * np.sqrt(p * (1 - p) / 2000) for p in shares]
        left.errorbar(widths, shares, errors, fmt=marker, color=colours[init], ms=5, label=init)
    left.legend(**LEGEND, loc="lower right")
    dress(right, "Share of a neuron in its half", r"$s_i^2 / \sum s_j^2$ at the start", "gain")
    for width, colour in colours_of([3, 6]).items():
        chosen = runs.where(**_place("same", width))
        good = _learnt(chosen)
        wanted = np.abs(final_gains(chosen.read("strengths", 0)[good]))[:150].ravel()
        found = np.abs(chosen.read("gains")[good])[:150].ravel()
        right.plot(wanted, found, ".", color=colour, ms=3, label=f"k = {width}")
    right.plot([0, 1], [0, 1], color="#444b54", linewidth=0.8)
    right.legend(**LEGEND, loc="upper left")
    return figure


def _place(init: str, width: int) -> dict[str, object]:
    return {"init": init, "width": width}


def _learnt(runs: Runs) -> Bool[np.ndarray, " runs"]:
    return np.asarray(runs.read("success") == 1)


@claim(
    "planted-success",
    source="2606.04476",
    statement="a tiny start learns the map if and only if both signs occur among v + a.w",
    configs=("planted-success",),
    records=("loss", "success", "strengths", "gains", "readout_rows", "group_sums"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Shares of seeds, the sign rule for every one, losses, sums and shares at the end."""
    runs = Runs.of(trees[0])
    rows = []
    for width in runs.values("width"):
        learnt = _learnt(runs.where(width=width))
        rows.append(fraction(f"k = {width}: share that learns", learnt, success_probability(width)))
    per_width = [runs.where(width=width) for width in runs.values("width")]
    rules = [both_signs(one.read("strengths", 0)) == _learnt(one) for one in per_width]
    rows.append(count("seeds of which signs of v + a.w say it", np.concatenate(rules)))
    losses = np.concatenate([one.read("loss") for one in per_width])
    learnt = np.concatenate([_learnt(one) for one in per_width])
    rows.append(below("loss of those that learn", losses[learnt].max(), LEARNT))
    rows.append(below("|loss - 1/4| of the others", np.abs(losses[~learnt] - 0.25).max(), STUCK))
    sums = np.concatenate([one.read("group_sums")[_learnt(one)] for one in per_width])
    rows.append(below("|P+ - a|, |P- + a|", sums.max(), SUMS))
    gaps = [_share_gap(one) for one in per_width]
    rows.append(below("|gain| - s^2 / sum of s^2", max(gaps), SHARES))
    return [*rows, *_summary_rows(runs)]


def _share_gap(runs: Runs) -> float:
    learnt = _learnt(runs)
    wanted = final_gains(runs.read("strengths", 0)[learnt])
    return float(np.max(np.abs(runs.read("gains")[learnt] - wanted)))


def _summary_rows(runs: Runs) -> list[Row]:
    """How often the signs of v alone, a summary of the paper, say it; for information."""
    rows = []
    for init in runs.values("init"):
        pair = runs.where(**_place(init, 2))
        readout = pair.weights(0)[1][..., 0]
        differ = np.any(readout > 0, axis=1) & np.any(readout < 0, axis=1)
        right, flips = np.mean(differ == _learnt(pair)), pair.read("strengths", 0) * readout < 0
        told = f"{right:.1%} of seeds; {np.mean(flips):.1%} of neurons change sign"
        rows.append(Row(f"k = 2, {init}: signs of v alone say it", "a summary: all", told, None))
    return rows
