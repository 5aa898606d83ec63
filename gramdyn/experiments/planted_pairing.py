"""Several outputs: minima of 2 C neurons are pairs, C + 1 are too few, the stronger comes first."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import quantiles, told
from gramdyn.experiments.pictures import LEGEND, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below, count, fraction, near
from gramdyn.experiments.runs import Runs
from gramdyn.planted import efold_steps, loss_levels, simplex_level, success_probability
from gramdyn.report.axes import dress, new_figure

OUTPUTS = (2, 3, 4)
# What rounding and steps leave by 2000 steps from a tiny start, at which pairs are judged.
LOSS, COSINE, SIZE, JUDGED = 1e-10, 1e-9, 1e-9, 1


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Strength of both singular directions over time; largest cosine between pairs."""
    *pairs, _, order = (Runs.of(tree) for tree in trees)
    figure = new_figure(9.8, 3.7)
    left, right = figure.subplots(1, 2)
    dress(left, "Two outputs, B = diag(2, 1/2)", "steps", "learnt share of a singular value")
    steps, shares = order.steps(), _shares(order)
    for i, (value, colour) in enumerate(((2, "#3b72b8"), (0.5, "#cc4a3c"))):
        plot_band(left, steps, shares[:, i], colour, rf"$\sigma$ = {value:g}")
    left.legend(**LEGEND, loc="center right")
    dress(right, "Pairs of different lines, scale 1e-8", "largest |cos| of two pairs", "seeds")
    bins = np.linspace(0, 0.6, 25)
    for n, runs, colour in zip(OUTPUTS, pairs, ("#3b72b8", "#cc4a3c", "#6b8e5a"), strict=True):
        found = runs.where(weight_scale=1e-8).read("pair_overlap")
        right.hist(found, bins, histtype="step", color=colour, linewidth=1.6, label=f"C = {n}")
    right.legend(**LEGEND, loc="upper right")
    return figure


def _shares(runs: Runs) -> Float[np.ndarray, "runs 2 steps"]:
    """(V^T W / 2)_ii over sigma_i, the odd part of the function along each singular direction."""
    hidden, readout = runs.read("hidden_rows", None), runs.read("readout_rows", None)
    diagonal = np.stack(
        [np.sum(readout[:, :, i] * hidden[:, :, i], axis=1) for i in (0, 1)], axis=1
    )
    return diagonal / 2 / np.asarray([2.0, 0.5])[:, None]


@claim(
    "planted-pairing",
    source="2606.04476",
    statement="rank C with 2 C neurons: pairs w' = -w, V' = -V, with no obstruction by signs",
    configs=(*(f"planted-pairing-{n}" for n in OUTPUTS), "planted-narrow", "planted-order"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Pairs by outputs and scale, the level of too few, the order of two directions."""
    *pairs, narrow, order = (Runs.of(tree) for tree in trees)
    rows = [row for n, runs in zip(OUTPUTS, pairs, strict=True) for row in _pair_rows(n, runs)]
    return [*rows, *_narrow_rows(narrow), *_order_rows(order)]


def _pair_rows(n: int, runs: Runs) -> list[Row]:
    rows = [count(f"C = {n}, k = {2 * n}, three scales: learnt", runs.read("success") == 1)]
    tiny = runs.where(weight_scale=1e-8)
    where = f"C = {n}, 2000 steps from 1e-8"
    rows.append(below(f"{where}: loss", tiny.read("loss", JUDGED).max(), LOSS))
    rows.append(count(f"{where}: all neurons paired", tiny.read("paired", JUDGED) == 1))
    for name, told_as in (("pair_cosine", "rows"), ("pair_readout_cosine", "readouts")):
        worst = 1 + tiny.read(name, JUDGED).max()
        rows.append(below(f"{where}: 1 + cos of paired {told_as}", worst, COSINE))
    mismatch = tiny.read("pair_mismatch", JUDGED).max()
    rows.append(below(f"{where}: sizes in a pair, off", mismatch, SIZE))
    low, middle, high = quantiles(tiny.read("pair_overlap", JUDGED))
    spread = f"{told(middle)} ({told(low)} to {told(high)})"
    rows.append(Row(f"{where}: |cos| of two pairs", "not 0", spread, None))
    return rows


def _narrow_rows(runs: Runs) -> list[Row]:
    level = simplex_level(2)
    gap = np.abs(runs.where(width=3).read("loss") - level).max()
    rows = [below(f"C = 2, k = 3: loss - {level:.6f}", gap, 1e-6)]
    for width in (6, 8):
        chosen = runs.where(width=width)
        rows.append(below(f"C = 2, k = {width}: loss at 6000", chosen.read("loss").max(), 1e-4))
        paired = float(np.mean(chosen.read("paired") == 1))
        rows.append(Row(f"C = 2, k = {width}: all in pairs", "few", f"{paired:.0%} of seeds", None))
    return rows


def _order_rows(runs: Runs) -> list[Row]:
    """Half-rises of two directions, their ratio, and the plateau in between."""
    risen = _shares(runs) > 0.5
    rises = np.where(risen.any(axis=2), runs.steps()[np.argmax(risen, axis=2)], runs.steps()[-1])
    medians = np.median(rises, axis=0)
    slow = efold_steps(np.diag([2.0, 0.5]), 0.1)
    ratio, wanted = float(np.median(rises[:, 1] / rises[:, 0])), float(slow[1] / slow[0])
    level = loss_levels(np.diag([2.0, 0.5]))[1]
    between = ((rises[:, 0] + rises[:, 1]) / 2).astype(int)
    losses = runs.read("loss", None)[np.arange(len(rises)), between]
    told_rises = f"{medians[0]:.0f} and {medians[1]:.0f}"
    gaps = np.abs(losses - level)
    return [
        Row("B = diag(2, 1/2): half-rises, steps", "the stronger first", told_rises, None),
        # The start sets both clocks, by amounts that do not scale with the rates.
        near("B = diag(2, 1/2): ratio of the half-rises", ratio, wanted, 0.05 * wanted),
        below(f"loss between them - {level:g}, median", np.median(gaps), 5e-3),
        # While the other direction is small, the stronger one is a problem of one output: of four
        # neurons all may begin with one sign along it, and then its other half waits.
        fraction(
            "share that learns the stronger one whole first", gaps < 0.1, success_probability(4)
        ),
    ]
