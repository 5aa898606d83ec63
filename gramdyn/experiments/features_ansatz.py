"""Weight Grams come to look like average gradient outer products, how much by the setting."""

from collections.abc import Sequence

import xarray as xr
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import above, near
from gramdyn.experiments.runs import Runs
from gramdyn.report.axes import dress, new_figure


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Cosines of each layer over the steps, of the weights and of what they have moved."""
    runs = Runs.of(trees[0])
    figure = new_figure(9.6, 3.4)
    titles = {"feature_ansatz": "Weights", "feature_ansatz_moved": "What the weights have moved"}
    for axes, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        dress(axes, f"{title}: cosine with gradients", "step", "")
        first = 1 if name.endswith("moved") else 0  # nothing has moved at the start
        values = runs.read(name, None)[..., first:]
        for layer, colour in colours_of(range(values.shape[1])).items():
            label = "readout" if layer == values.shape[1] - 1 else f"layer {layer + 1}"
            plot_band(axes, runs.steps()[first:], values[:, layer], colour, label)
        axes.set_ylim(0.4, 1.02)
    axes.legend(**LEGEND, loc="lower right")
    return figure


@claim(
    "features-ansatz",
    source="2212.13881",
    statement="weight Grams align with average gradient outer products while a network trains",
    configs=("features-ansatz",),
    records=("feature_ansatz", "feature_ansatz_moved"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """First layer at start and end; the readout, where it is exact; what has moved."""
    runs = Runs.of(trees[0])
    values = runs.read("feature_ansatz", None)
    start, end = values[:, 0, 0], values[:, 0, -1]
    listed = lambda row: ", ".join(told(float(x)) for x in row)  # noqa: E731
    theirs = "elsewhere .64, .69, .53 to .77, .88, .74"
    moved = runs.read("feature_ansatz_moved")
    return [
        Row("layer 1: cosine, each run", theirs, f"{listed(start)} to {listed(end)}", None),
        above("layer 1: least rise, any run", (end - start).min(), 0.1),
        above("layer 1: least at the end", end.min(), 0.7),
        # float32: sums of 64 squares
        near("readout: exact at any time, least", values[:, -1].min(), 1.0, 1e-4, 6),
        Row("moved, layer 1", "elsewhere .77, .89, .75", listed(moved[:, 0]), None),
        Row("moved, layer 2", "elsewhere .90, .83, .91", listed(moved[:, 1]), None),
    ]
