"""Narrow networks move their features, wide ones their readout."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import above, below
from gramdyn.experiments.runs import Runs
from gramdyn.report.axes import dress, new_figure

# Shares after 600 steps in another program's runs, three data sets.
ELSEWHERE = {
    32: "0.511, 0.820, 0.526",
    128: "0.206, 0.429, 0.169",
    512: "0.016, 0.106, 0.040",
}
NORMS = ("feature_residual", "readout_distance", "residual_norm")


def feature_share(runs: Runs) -> Float[np.ndarray, " runs"]:
    """Share of the fall of |y - f|^2 that is that of |y - p|^2, p the best readout's answer."""
    features, _, residual = (runs.read(name, None) ** 2 for name in NORMS)
    return (features[:, 0] - features[:, -1]) / (residual[:, 0] - residual[:, -1])


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """The three distances over the steps, a panel a width."""
    runs = Runs.of(trees[0])
    figure = new_figure(10.8, 3.2)
    widths = runs.values("width")
    titles = ("targets to best readout", "outputs to best readout", "outputs to targets")
    for axes, width in zip(figure.subplots(1, len(widths), sharey=True), widths, strict=True):
        chosen = runs.where(width=width)
        dress(axes, f"Width {width}", "step", "")
        for name, (title, colour) in zip(NORMS, colours_of(titles).items(), strict=True):
            plot_band(axes, chosen.steps(), chosen.read(name, None), colour, title)
    axes.legend(**LEGEND, loc="center right", bbox_to_anchor=(1.0, 0.33))
    return figure


@claim(
    "features-staircase",
    source="2605.06258",
    statement="narrow networks move their features, wide ones their readout alone",
    configs=("features-staircase",),
    records=NORMS,
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Feature shares by width, in the median and seed by seed; the right triangle."""
    runs = Runs.of(trees[0])
    shares = {width: feature_share(runs.where(width=width)) for width in runs.values("width")}
    rows = []
    for width, share in shares.items():
        low, mid, high = (told(float(x)) for x in np.quantile(share, (0, 0.5, 1)))
        theirs = f"elsewhere {ELSEWHERE[width]}" if width in ELSEWHERE else "-"
        what = f"width {width}: share of the features, median (least to most)"
        rows.append(Row(what, theirs, f"{mid} ({low} to {high})", None))
    # Targets are heavy-tailed: single runs of width 32 have shares down to 0.29, and one of nine
    # has less at 32 than at 128. So the order is asked of medians.
    narrow, *_, wide = shares.values()
    medians = [float(np.median(share)) for share in shares.values()]
    rows.append(above("least fall of the median with the width", -np.diff(medians).max(), 0.0))
    rows.append(above("median share of the narrowest", medians[0], 0.3))
    rows.append(
        below("share of the widest over the narrowest, any run", (wide / narrow).max(), 0.25)
    )
    ordered = np.all(np.diff(list(shares.values()), axis=0) < 0, axis=0)
    what = "runs whose share falls with every width"
    rows.append(Row(what, f"{len(ordered)}", f"{int(ordered.sum())} of {len(ordered)}", None))
    gap = max(_triangle_gap(runs.where(width=w)) for w in runs.values("width") if w <= 128)
    # exact without a ridge; with one of 0.01 a thousandth is left at these widths
    return [*rows, below("|y - f|^2 - |y - p|^2 - |f - p|^2, relative", gap, 1e-3)]


def _triangle_gap(runs: Runs) -> float:
    features, readout, residual = (runs.read(name, None) ** 2 for name in NORMS)
    return float(np.max(np.abs(residual - features - readout) / residual))
