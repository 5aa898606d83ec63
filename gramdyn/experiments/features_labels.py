"""Random labels are memorised by the last layer: early ones stay as far from linear."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, MARKERS, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import above, below
from gramdyn.experiments.runs import Runs
from gramdyn.report.axes import dress, new_figure

# Layers 1 to 3 in another program's run of the recipe, by the share of labels drawn anew.
ELSEWHERE = {
    0.0: "0.791, 0.856, 0.894",
    0.25: "0.466, 0.509, 0.633",
    0.5: "0.235, 0.291, 0.507",
    0.75: "0.124, 0.202, 0.480",
    0.9: "0.094, 0.197, 0.452",
    1.0: "0.090, 0.171, 0.424",
}
NOISE = "task.label_noise"


def _linearity(runs: Runs, noise: float) -> Float[np.ndarray, "runs layers"]:
    return runs.where(**{NOISE: noise}).read("linearity")


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Linearity of each layer and accuracies over the share of random labels."""
    runs = Runs.of(trees[0])
    noises = runs.values(NOISE)
    figure = new_figure(9.6, 3.4)
    left, right = figure.subplots(1, 2)
    dress(left, "Target Linearity at the end", "share of labels drawn anew", "")
    values = np.stack([_linearity(runs, noise).mean(axis=0) for noise in noises])
    layers = colours_of(range(values.shape[1]))
    for (layer, colour), marker in zip(layers.items(), MARKERS, strict=False):
        left.plot(noises, values[:, layer], marker + "-", color=colour, label=f"layer {layer + 1}")
    null = runs.read("linearity_null").mean()
    left.axhline(null, color="#444b54", linewidth=0.9, linestyle=":")
    left.annotate("features that know nothing", (0.02, null + 0.015), fontsize=8)
    left.legend(**LEGEND, loc="upper right")
    dress(right, "Accuracy at the end", "share of labels drawn anew", "")
    titles = {"accuracy": "trained on", "heldout_accuracy": "held out"}
    for name, colour in colours_of(titles).items():
        means = [runs.where(**{NOISE: noise}).read(name).mean() for noise in noises]
        right.plot(noises, means, "o-", color=colour, label=titles[name])
    right.legend(**LEGEND, loc="lower left")
    return figure


@claim(
    "features-random-labels",
    source="2605.06258",
    statement="random labels are memorised in the last layer, early ones stay unlinearised",
    configs=("features-random-labels",),
    records=("linearity", "linearity_null", "accuracy", "heldout_accuracy"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Layers at the end by the share of random labels, and the step from second to third."""
    runs = Runs.of(trees[0])
    rows = []
    for noise in runs.values(NOISE):
        mean = ", ".join(told(float(x)) for x in _linearity(runs, noise).mean(axis=0))
        theirs = f"elsewhere {ELSEWHERE[noise]}" if noise in ELSEWHERE else "-"
        rows.append(Row(f"layers 1 to 3, {noise:.0%} drawn anew", theirs, mean, None))
    gaps = {n: np.diff(_linearity(runs, n), axis=1)[:, -1] for n in runs.values(NOISE)}
    clean, pure = _linearity(runs, 0.0), _linearity(runs, 1.0)
    rows.append(below("step from layer 2 to 3, true labels", gaps[0.0].max(), 0.08))
    many = min(gap.min() for noise, gap in gaps.items() if noise >= 0.5)
    rows.append(above("step from layer 2 to 3, half drawn anew or more", many, 0.15))
    rows.append(below("layer 1, all drawn anew", pure[:, 0].max(), 0.15))
    fall = (clean[:, -1] - pure[:, -1]).min()
    rows.append(above("layer 3, true labels over all drawn anew", fall, 0.3))
    null = told(float(runs.read("linearity_null").mean()))
    return [*rows, Row("null value", "elsewhere 0.0475", null, None)]
