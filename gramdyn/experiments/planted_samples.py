"""Both layers on samples: how many it takes, where directions settle, how fast the end is."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from gramdyn.data.planted_map import planted_map
from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below, near
from gramdyn.experiments.runs import Runs
from gramdyn.planted import alignment_angle, sample_rate
from gramdyn.report.axes import dress, new_figure, set_log_axis

RATIO, INPUTS = "task.samples_per_input", "task.n_inputs"
# Training losses between which the rate at the end is taken: above rounding, below growth.
WINDOW = (1e-6, 1e-27)


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Share of seeds that learn over n / d and d; losses of the population over n / d."""
    runs = Runs.of(trees[0])
    figure = new_figure(10.2, 3.7)
    left, middle, right = figure.subplots(1, 3)
    ratios, inputs = _ratios(runs), runs.values(INPUTS)
    shares = np.asarray([[_share(runs, d, r) for r in ratios] for d in inputs])
    dress(left, "Share that learns", "samples an input", "inputs")
    image = left.imshow(shares, aspect="auto", origin="lower", cmap="viridis", vmin=0, vmax=1)
    left.set_xticks(range(len(ratios)), [f"{r:g}" for r in ratios], fontsize=7.5)
    left.set_yticks(range(len(inputs)), [f"{d}" for d in inputs])
    left.grid(visible=False)
    figure.colorbar(image, ax=left, shrink=0.8)
    for axes, name, title in (
        (middle, "population_loss", "Loss of the population"),
        (right, "loss", "Loss of the samples"),
    ):
        dress(axes, title, "samples an input", "median at the end")
        for d, colour in colours_of(inputs).items():
            found = [np.median(_at(runs, d, r).read(name)) for r in ratios]
            axes.plot(ratios, found, "o-", color=colour, ms=4, linewidth=1.3, label=f"d = {d}")
        axes.axvline(2.0, color="#444b54", linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xticks([1, 2, 4, 10], ["1", "2", "4", "10"])
        axes.minorticks_off()
        set_log_axis(axes, np.array([1e-13, 1.0]))
    middle.legend(**LEGEND, loc="upper right")
    return figure


def _ratios(runs: Runs) -> list[float]:
    return [float(ratio) for ratio in runs.values(RATIO)]


def _at(runs: Runs, inputs: int, ratio: float) -> Runs:
    return runs.where(**{INPUTS: inputs, RATIO: ratio})


def _share(runs: Runs, inputs: int, ratio: float) -> float:
    return float(np.mean(_at(runs, inputs, ratio).read("success")))


@claim(
    "planted-samples",
    source="2606.04476",
    statement="n of the order of d samples are enough: two neurons need a little over 2 d",
    configs=(
        "planted-samples",
        "planted-samples-four",
        "planted-samples-angle",
        "planted-samples-rate",
    ),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Shares by n / d for every d, losses below the threshold, angles, and rates at the end."""
    runs, four, angle, rate = (Runs.of(tree) for tree in trees)
    rows = [row for d in runs.values(INPUTS) for row in _share_rows(runs, d)]
    return [*rows, *_loss_rows(runs), *_four_rows(four), *_angle_rows(angle), *_rate_rows(rate)]


def _share_rows(runs: Runs, d: int) -> list[Row]:
    share = {ratio: _share(runs, d, ratio) for ratio in _ratios(runs)}
    few, many = max(share[r] for r in share if r < 2), min(share[r] for r in share if r >= 4)
    half = float(np.interp(0.5, list(share.values()), list(share)))
    told_as = ", ".join(f"{ratio:g}: {value:.2f}" for ratio, value in share.items())
    return [
        Row(f"d = {d}: share that learns, by n / d", "0 up to 2, 1 from 4 on", told_as, None),
        below(f"d = {d}: share below n = 2 d", few, 0.05),
        # In 25 inputs one data set of 20 is learnt; the threshold sharpens with d.
        Row(f"d = {d}: share at n = 2 d", "0.1 or less", f"{share[2.0]:.2f}", share[2.0] <= 0.1),
        Row(f"d = {d}: share at n = 3 d", "0.85 or more", f"{share[3.0]:.2f}", share[3.0] >= 0.85),
        Row(f"d = {d}: least share from n = 4 d on", "0.95 or more", f"{many:.2f}", many >= 0.95),
        Row(f"d = {d}: n / d of one half", "2 to 2.6", f"{half:.2f}", 2 <= half <= 2.6),
    ]


def _loss_rows(runs: Runs) -> list[Row]:
    """Losses at d = 50, of the population and of the samples: too few fail on both."""
    rows = []
    for ratio in (1.0, 1.5, 2.0, 2.5, 3.0):
        one = _at(runs, 50, ratio)
        found = [float(np.median(one.read(name))) for name in ("population_loss", "loss")]
        measured = f"{told(found[0])}, {told(found[1])}"
        rows.append(Row(f"d = 50, n = {ratio:g} d: population, samples", "medians", measured, None))
    train = float(np.median(_at(runs, 50, 1.0).read("loss")))
    rows.append(Row("d = 50, n = d: loss of the samples", "fails too", told(train), train > 1e-3))
    return rows


def _four_rows(runs: Runs) -> list[Row]:
    share = {r: float(np.mean(runs.where(**{RATIO: r}).read("success"))) for r in _ratios(runs)}
    told_as = ", ".join(f"{ratio:g}: {value:.2f}" for ratio, value in share.items())
    good = share[1.5] == 0 and min(share[r] for r in (4.0, 6.0, 8.0)) >= 0.95
    return [Row("k = 4, d = 50: share that learns", "0 at 1.5, 1 from 4 on", told_as, good)]


def _angle_rows(runs: Runs) -> list[Row]:
    rows = []
    for ratio in _ratios(runs):
        found = float(np.median(runs.where(**{RATIO: ratio}).read("target_angles")))
        wanted = alignment_angle(round(50 * ratio), 50)
        rows.append(near(f"n = {ratio:g} d: angle at 250 steps", found, wanted, 0.1 * wanted, 3))
    return rows


def _rate_rows(runs: Runs) -> list[Row]:
    """Factor of the training loss a step, seed by seed, from the active second moments."""
    rows = []
    for ratio in _ratios(runs):
        one = runs.where(**{RATIO: ratio})
        found, seeds = _end_rates(one), one.read_axis("task.seed")
        hidden, readout = one.weights(-1)
        wanted = [
            sample_rate(_inputs(ratio, int(seed)), rows_of, turned, 0.1)
            for seed, rows_of, turned in zip(seeds, hidden, readout, strict=True)
        ]
        gap = float(np.nanmax(np.abs(found - np.asarray(wanted))))
        pair = f"{np.nanmedian(found):.5f} by {np.median(wanted):.5f}"
        rows.append(below(f"n = {ratio:g} d: loss a step ({pair}), off", gap, 2e-3))
    return rows


def _inputs(ratio: float, seed: int) -> Float[np.ndarray, "n d"]:
    return np.asarray(planted_map(n_inputs=50, samples_per_input=ratio, seed=seed).inputs)


def _end_rates(runs: Runs) -> Float[np.ndarray, " runs"]:
    """Factor a step over the last two saved times inside the window; NaN for fewer."""
    losses, steps = runs.read("loss", None), runs.steps()
    found = np.full(len(losses), np.nan)
    for i, loss in enumerate(losses):
        inside = np.flatnonzero((loss < WINDOW[0]) & (loss > WINDOW[1]))[-4:]
        if len(inside) > 1:
            ends = inside[[0, -1]]
            found[i] = (loss[ends[1]] / loss[ends[0]]) ** (1 / (steps[ends[1]] - steps[ends[0]]))
    return found
