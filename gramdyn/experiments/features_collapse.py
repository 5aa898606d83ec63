"""Classes collapse, and Target Linearity rises to one with them: a bound ties the two."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import above, below
from gramdyn.experiments.runs import Runs
from gramdyn.report.axes import dress, new_figure, set_log_axis

MEASURES = {
    "collapse_within": ("within over between the classes", ".41, .59, .57 to .063, .099, .087"),
    "collapse_simplex": ("distance from a simplex", ".57, .61, .56 to .18, .40, .37"),
    "collapse_duality": ("classifier from class means", "1.78, 1.86, 2.01 to .04, .13, .10"),
    "collapse_disagreement": ("nearest mean disagrees", ".72, .77, .69 to .0025 at most"),
}


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """The measures of collapse, and what is not linear beside its bound."""
    runs = Runs.of(trees[0])
    figure = new_figure(9.6, 3.4)
    left, right = figure.subplots(1, 2)
    dress(left, "Neural Collapse", "step", "")
    names = list(MEASURES)[:3]
    for name, colour in colours_of(names).items():
        plot_band(left, runs.steps(), runs.read(name, None), colour, MEASURES[name][0])
    set_log_axis(left, np.concatenate([runs.read(name, None).ravel() for name in names]))
    left.legend(**LEGEND, loc="upper right")
    dress(right, "What is not linear in the last layer", "step", "")
    missing, bound = 1 - runs.read("linearity", None)[:, -1], runs.read("collapse_bound", None)
    colours = colours_of(("1 - Target Linearity", "its bound by collapse"))
    for (label, colour), values in zip(colours.items(), (missing, bound), strict=True):
        plot_band(right, runs.steps(), values, colour, label)
    set_log_axis(right, np.concatenate([missing.ravel(), bound.ravel()]))
    right.legend(**LEGEND, loc="upper right")
    return figure


@claim(
    "features-collapse",
    source="2605.06258",
    statement="Neural Collapse forces Target Linearity to one: 1 - TL <= C / (C - 1) NC1",
    configs=("features-collapse",),
    records=("linearity", "collapse_bound", *MEASURES),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Start and end of each measure, the bound at every saved time, linearity by layer."""
    runs = Runs.of(trees[0])
    ends, rows = {}, []
    for name, (title, theirs) in MEASURES.items():
        ends[name] = runs.read(name, 0), runs.read(name)
        mine = " to ".join(", ".join(told(float(x)) for x in side) for side in ends[name])
        rows.append(Row(f"{title}, each run", f"elsewhere {theirs}", mine, None))
    fall = {name: (start / end).min() for name, (start, end) in ends.items() if end.min() > 0}
    linear = runs.read("linearity", None)
    gap = (1 - linear[:, -1] - runs.read("collapse_bound", None)).max()
    return [
        *rows,
        above("fall of NC1, any run: a factor", fall["collapse_within"], 4.0),
        above("fall of the distance from a simplex: a factor", fall["collapse_simplex"], 4 / 3),
        below("NC3 at the end", ends["collapse_duality"][1].max(), 0.2),
        below("NC4 at the end", ends["collapse_disagreement"][1].max(), 0.01),
        above("Target Linearity of the last layer", linear[:, -1, -1].min(), 0.96),
        above("its least increment in depth", np.diff(linear[..., -1], axis=1).min(), 0.0),
        below("1 - TL over its bound, any time: by", gap, 1e-12),
    ]
