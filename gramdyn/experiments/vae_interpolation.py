"""Autoencoders of digits: codes linear in the images, and how straight lines of codes decode."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, MARKERS, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import above, below, count
from gramdyn.experiments.runs import Runs
from gramdyn.report.axes import INK, dress, new_figure, set_log_axis

# Two runs of another program at each beta: linearity at the end, mean error of decoded lines.
ELSEWHERE = {
    0.05: ("0.770, 0.772", "0.0148, 0.0144"),
    0.1: ("0.778, 0.760", "0.0140, 0.0151"),
    1.0: ("0.727, 0.704", "0.0260, 0.0264"),
    4.0: ("0.716, 0.719", "0.0526, 0.0526"),
    10.0: ("0.652, 0.660", "0.0524, 0.0525"),
}
# There: linearity at the start, ceiling, divergence from beta 4 on, rank correlation of linearity
# and error.
START, CEILING, COLLAPSED, CORRELATION = "0.656", "0.851", "0.001", "-0.79"
# Betas at which linearity grows, at the first by GAIN at least, and leads that at LARGE by
# LEAD; greatest ratio of the errors at 0.1 and 4.
SMALL, LARGE = (0.05, 0.1), 10.0
GAIN, LEAD, RATIO = 0.07, 0.06, 0.6
MARK = 20  # epochs between the times at which linearity has to have risen


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Linearity over the epochs, against the error of decoded lines, and that error on a line."""
    runs, steps = Runs.of(trees[0]), _epoch(trees[0])
    figure = new_figure(12.6, 3.6)
    left, middle, right = figure.subplots(1, 3)
    dress(left, "Linearity of the codes' means", "epoch", "")
    dress(middle, "At the end", "linearity", "mean error of decoded lines")
    dress(right, "Error along a line", "place between two codes", "")
    for (beta, colour), marker in zip(
        colours_of(runs.values("beta")).items(), MARKERS, strict=False
    ):
        own = runs.where(beta=beta)
        _lines(left, own.steps() / steps, own.read("latent_linearity", None), colour)
        ends = own.read("latent_linearity"), own.read("interpolation_mean")
        middle.plot(*ends, marker, color=colour, ms=6.5, mec="white", label=rf"$\beta$ = {beta:g}")
        curves = own.read("interpolation_error")
        _lines(right, np.linspace(0, 1, curves.shape[1]), curves, colour)
    left.axhline(runs.read("latent_ceiling").max(), color=INK, linewidth=1.0, linestyle="--")
    middle.legend(**LEGEND)
    for axes, name in ((middle, "interpolation_mean"), (right, "interpolation_error")):
        set_log_axis(axes, runs.read(name))
    return figure


def _lines(
    axes: Axes, x: np.ndarray, values: Float[np.ndarray, "runs points"], colour: str
) -> None:
    axes.plot(x, values.T, color=colour, linewidth=1.5, alpha=0.85)


def _epoch(tree: xr.DataTree) -> int:
    """Steps of an epoch."""
    config = tree.attrs["config"]
    return int(config["task"]["n_samples"] // config["scheme"]["batch_size"])


@claim(
    "vae-interpolation",
    source="2605.06258",
    statement="codes grow linear in the images, and the more they are, the straighter they decode",
    configs=("vae-interpolation",),
    records=(
        *("latent_linearity", "latent_ceiling", "latent_null", "kl", "interpolation_mean"),
        *("interpolation_error", "interpolation_middle", "interpolation_ends"),
        "interpolation_bend",
    ),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Linearity, error of decoded lines and divergence by beta, then what is claimed of them."""
    runs = Runs.of(trees[0])
    betas = runs.values("beta")
    rows = [row for beta in betas for row in _rows_at(beta, runs.where(beta=beta))]
    if SMALL[0] in betas:
        rows += _rows_of_time(runs.where(beta=SMALL[0]), MARK * _epoch(trees[0]))
    rows += [_lead_row(runs, beta) for beta in SMALL if {beta, LARGE} <= set(betas)]
    if {0.1, 4.0} <= set(betas):
        error = [runs.where(beta=beta).read("interpolation_mean") for beta in (0.1, 4.0)]
        what = "error at beta 0.1 over that at 4, any seeds"
        rows.append(below(what, error[0].max() / error[1].min(), RATIO))
    over = runs.read("latent_linearity", None) - runs.read("latent_ceiling", None)
    rows.append(below("linearity less its ceiling, any time", over.max(), 0.0))
    return [*rows, *_rows_told(runs)]


def _rows_at(beta: float, runs: Runs) -> list[Row]:
    """Linearity, its divergence beside it, and errors at one beta, each seed; for information."""
    linearity, error = ELSEWHERE.get(beta, ("", ""))
    collapsed = COLLAPSED if beta >= 4 and linearity else ""
    parts = [runs.read(f"interpolation_{name}") for name in ("middle", "ends", "bend")]
    shown = (
        ("linearity", linearity, runs.read("latent_linearity")),
        ("divergence KL", collapsed, runs.read("kl")),
        ("error of decoded lines", error, runs.read("interpolation_mean")),
        ("error in the middle, at the ends, bend", "", np.array([part.mean() for part in parts])),
    )
    return [
        Row(f"beta {beta:g}: {what}", f"elsewhere {theirs}" if theirs else "", _listed(ours), None)
        for what, theirs, ours in shown
    ]


def _rows_of_time(runs: Runs, mark: int) -> list[Row]:
    """Gain of linearity over the run, and whether it rose between all marks."""
    values = runs.read("latent_linearity", None)
    at_marks = values[:, runs.steps() % mark == 0]
    gain = (values[:, -1] - values[:, 0]).min()
    rising = np.all(np.diff(at_marks, axis=1) > 0, axis=1)
    place = f"beta {SMALL[0]:g}"
    return [
        above(f"{place}: gain of linearity, any seed", gain, GAIN),
        count(f"{place}: seeds in which it rises every {MARK} epochs", rising),
    ]


def _lead_row(runs: Runs, beta: float) -> Row:
    """Lead of linearity at a small beta over that at the large one, in means over seeds."""
    ends = [runs.where(beta=one).read("latent_linearity").mean() for one in (beta, LARGE)]
    what = f"linearity at beta {beta:g} over that at {LARGE:g}, means"
    return above(what, ends[0] - ends[1], LEAD)


def _rows_told(runs: Runs) -> list[Row]:
    """What is told for information."""
    start = runs.where(beta=min(runs.values("beta"))).read("latent_linearity", 0)
    ends = runs.read("latent_linearity"), runs.read("interpolation_mean")
    shown = (
        ("linearity at the start", START, start),
        ("ceiling of linearity", CEILING, runs.read("latent_ceiling")[:1]),
        ("null value of linearity", "", runs.read("latent_null")[:1]),
        ("rank correlation of linearity and error", CORRELATION, [rank_correlation(*ends)]),
    )
    return [
        Row(what, f"elsewhere {theirs}" if theirs else "rank / (n - 1)", _listed(ours), None)
        for what, theirs, ours in shown
    ]


def _listed(values: Sequence[float] | np.ndarray) -> str:
    return ", ".join(told(float(value)) for value in values)


def rank_correlation(one: np.ndarray, two: np.ndarray) -> float:
    """Spearman's correlation: that of the ranks, of values that are all different."""
    first, second = (np.argsort(np.argsort(values)) for values in (one, two))
    return float(np.corrcoef(first, second)[0, 1])
