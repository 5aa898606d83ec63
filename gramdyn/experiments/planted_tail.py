"""More neurons than a map needs: those that share a ray turn towards it ever more slowly."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below
from gramdyn.experiments.runs import Runs
from gramdyn.report.axes import dress, new_figure, set_log_axis

# Steps between which the exponent is taken, and what it may be.
FROM, TO, ALLOWED = 4000, 16_000, (-3.1, -2.7)


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Odd and even part of the loss over time on logarithmic axes."""
    runs = Runs.of(trees[0])
    figure = new_figure(5.6, 3.8)
    axes = figure.subplots()
    dress(axes, "Four neurons, scale 0.3", "steps", "loss")
    steps = runs.steps()[1:]
    for name, colour in (("even_loss", "#3b72b8"), ("odd_loss", "#cc4a3c")):
        values = runs.read(name, None)[:, 1:]
        plot_band(axes, steps, values, colour, name.replace("_loss", " part"))
    law = np.median(runs.read("population_loss", None)[:, -1]) * (steps / steps[-1]) ** -3.0
    axes.plot(steps, law, "--", color="#444b54", linewidth=1, label=r"$t^{-3}$")
    axes.set_xscale("log")
    set_log_axis(axes, np.array([1e-20, 1e-2]))
    axes.legend(**LEGEND, loc="lower left")
    return figure


@claim(
    "planted-tail",
    source="derived here",
    statement="neurons that share a ray make the loss fall as t^-3, all of it in the even part",
    configs=("planted-tail",),
    records=("population_loss", "odd_loss", "even_loss"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """The exponent of the loss, its size, and which part holds it."""
    runs = Runs.of(trees[0])
    losses, steps = runs.read("population_loss", None), runs.steps()
    first, last = np.flatnonzero(np.isin(steps, (FROM, TO)))
    exponents = np.log(losses[:, last] / losses[:, first]) / np.log(TO / FROM)
    middle, (low, high) = float(np.median(exponents)), ALLOWED
    spread = f"{middle:.3f}, from {exponents.min():.2f} to {exponents.max():.2f}"
    share = runs.read("odd_loss")[:] / losses[:, -1]
    rows = [
        Row(f"exponent of the loss, {len(losses)} seeds", f"{low} to {high}", spread, _in(middle)),
        below("share of the loss in the odd part, median", float(np.median(share)), 1e-2),
    ]
    for step in (2000, 8000, 20_000):
        value = float(np.median(losses[:, np.flatnonzero(steps == step)[0]]))
        rows.append(Row(f"loss at {step}, median", "no law for one start", told(value), None))
    return rows


def _in(value: float) -> bool:
    return ALLOWED[0] <= value <= ALLOWED[1]
