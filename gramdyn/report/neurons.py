"""Pictures: gain and angle of each neuron on a planted map over time, for a handful of seeds."""

from collections.abc import Sequence

import numpy as np

from gramdyn.report.cells import Cell
from gramdyn.report.curves import Curve
from gramdyn.report.lines import LineLook, curve_picture
from gramdyn.report.picture import Picture
from gramdyn.report.roles import Roles, at_the_smallest, last_cells, told_networks
from gramdyn.report.statistics import Band, thin_steps
from gramdyn.report.styles import Styles

# Seeds, and neurons of each, that are drawn at most.
_SEEDS, _NEURONS = 6, 10


def draw_gains(cells: Sequence[Cell]) -> Picture | None:
    """Gains of the neurons over time, a panel a seed."""
    return _picture(
        cells,
        "gains",
        LineLook("gain v|w|", log=False),
        title="Gains of the neurons over time",
        text="Gain v_i |w_i| of each neuron of one output, |V_i| |w_i| of several.",
        law="From a small start a gain keeps its sign once it grows. Where the map a&middot;x is "
        "learnt, the gains above 0 add up to |a| and those below to &minus;|a|, up to the angles "
        "left; where all signs agree, only half of it is, and the gains add up to &plusmn;|a|.",
    )


def draw_target_angles(cells: Sequence[Cell]) -> Picture | None:
    """Angles of the neurons to the map over time, a panel a seed."""
    return _picture(
        cells,
        "target_angles",
        LineLook("angle to the map"),
        title="Angles of the neurons to the map over time",
        text="Angle, in radians, of each row w_i to the span of the rows of B, with one output to "
        "the line of a.",
        law="From a small start, with |a| = 1 and steps &eta;, the tangent falls as 2 |w<sub>&perp;"
        "</sub>| / (|v + a&middot;w| (1 + &eta;/2)<sup><i>t</i></sup>) by the start's own v and w, "
        "whatever d and whatever the scale, until the neuron has grown. On n samples it first "
        "settles near arctan &radic;(2d/n).",
    )


def _picture(
    cells: Sequence[Cell], record: str, look: LineLook, *, text: str, **words: str
) -> Picture | None:
    there = [cell for cell in cells if cell.has(record)]
    if not there:
        return None
    # Of many inputs the fewest: the more they are, the more alike the neurons start.
    least = at_the_smallest(at_the_smallest(there), "task.n_inputs")
    (cell,) = last_cells(least, None, 1)
    curves = _curves(cell, record)
    seeds, neurons = f"The first {_SEEDS} seeds at most", f"first {_NEURONS} neurons at most"
    told = f" {seeds}, a panel each, and of each the {neurons}, a line each."
    text += told + told_networks([cell], there, None)
    styles = Styles(curves, Roles("neuron", "seed"))
    return curve_picture(curves, styles, look, name=record, text=text, **words)


def _curves(cell: Cell, record: str) -> list[Curve]:
    """A curve for each seed and neuron; of runs with one seed and several data sets the first."""
    values, kept = cell.read(record), thin_steps(cell.steps)
    seeds, first = np.unique(cell.seeds, return_index=True)
    runs = list(zip(seeds.tolist(), first.tolist(), strict=True))[:_SEEDS]
    neurons = list(enumerate(cell.along("neuron")))[:_NEURONS]
    return [
        Curve(
            {**cell.place, "seed": seed, "neuron": label},
            cell.steps[kept],
            Band(*(np.asarray(values[run, i, kept], np.float64),) * 3),
            1,
        )
        for seed, run in runs
        for i, label in neurons
    ]
