"""Two linear layers solved exactly: the matrix Riccati equation against the flow."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.data.linear_map import linear_map
from gramdyn.deep_linear import Weights, lambda_balanced_weights, riccati_solution
from gramdyn.experiments.linear_flows import flow_from, map_of, white_moments
from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import below
from gramdyn.report.axes import dress, new_figure, set_log_axis

BOUND = 1e-8
_STEP, _STEPS, _EVERY = 0.001, 8000, 40


class Case(NamedTuple):
    """A start with W_2^T W_2 - W_1 W_1^T = lam I, and its target."""

    label: str
    widths: tuple[int, int, int]
    lam: float
    sigma: tuple[float, ...]


CASES = {
    "balanced": Case(r"$\lambda$ = 0", (3, 3, 3), 0.0, (3.0, 2.0, 1.0)),
    "above": Case(r"$\lambda$ = 0.7", (3, 3, 4), 0.7, (3.0, 2.0, 1.0)),
    "below": Case(r"$\lambda$ = $-$0.4", (4, 3, 3), -0.4, (3.0, 2.0, 1.0)),
    "wide": Case("hidden width 8", (3, 8, 3), 0.0, (3.0, 2.0, 1.0)),
    "rank_one": Case("target of rank 1", (4, 3, 3), 0.0, (3.0,)),
}


def measure() -> xr.DataTree:
    """Map of the network over time by the engine and by the solution, a node a case."""
    return xr.DataTree.from_dict(
        {name: _run(case, i) for i, (name, case) in enumerate(CASES.items())}
    )


def _run(case: Case, seed: int) -> xr.Dataset:
    weights, target = _problem(case, seed)
    flow = flow_from(
        [weights],
        white_moments(target),
        step=_STEP,
        n_steps=_STEPS,
        every=_EVERY,
        look=[map_of],
    )
    exact = riccati_solution(weights, target, flow.times)
    axes = ("time", "output", "input")
    data = {"flow": (axes, flow.records["map"][0]), "exact": (axes, exact.maps)}
    return xr.Dataset({**data, "target": (axes[1:], target)}, coords={"time": flow.times})


def _problem(case: Case, seed: int) -> tuple[Weights, Float[np.ndarray, "d2 d0"]]:
    """Weights of scale 0.1 beside lam, and a target of random singular vectors."""
    inputs, _, outputs = case.widths
    task = linear_map(
        n_inputs=inputs, n_outputs=outputs, singular_values=case.sigma, rotate=True, seed=seed
    )
    weights = lambda_balanced_weights(case.widths, case.lam, 0.1, seed)
    return weights, np.asarray(task.targets).T


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Entries of two maps over time, marks on lines; and what parts flow and solution."""
    (tree,) = trees
    figure = new_figure(11.4, 3.5)
    left, middle, right = figure.subplots(1, 3)
    for axes, name in ((left, "above"), (middle, "rank_one")):
        _entries(axes, tree[name].to_dataset(), CASES[name].label)
    middle.legend(**LEGEND, loc="center right")
    dress(right, "Flow less solution", "time", "largest entry")
    colours = colours_of(CASES)
    for name, case in CASES.items():
        gap = np.maximum(_gap(tree[name].to_dataset()), 1e-17)
        right.plot(tree[name]["time"], gap, color=colours[name], linewidth=1.3, label=case.label)
    set_log_axis(right, np.array([1e-17, 1e-6]))
    right.legend(**LEGEND, ncols=2, loc="upper right")
    return figure


def _entries(axes: Axes, data: xr.Dataset, label: str) -> None:
    dress(axes, f"Entries of the map, {label}", "time", "entry")
    flat = {
        name: np.asarray(data[name]).reshape(data.sizes["time"], -1) for name in ("flow", "exact")
    }
    for entry, colour in colours_of(range(flat["flow"].shape[1])).items():
        axes.plot(data["time"], flat["exact"][:, entry], color=colour, linewidth=1.2)
        looks = slice(entry % 8, None, 8)
        axes.plot(data["time"][looks], flat["flow"][looks, entry], "o", color=colour, ms=3, mew=0)
    axes.plot([], [], color="#6b7480", linewidth=1.2, label="solution")
    axes.plot([], [], "o", color="#6b7480", ms=3, label="flow")


def _gap(data: xr.Dataset) -> Float[np.ndarray, " T"]:
    """Largest entry of the difference at each time."""
    return np.asarray(abs(data["flow"] - data["exact"]).max(("output", "input")))


@claim(
    "linear-riccati",
    source="2409.14623",
    statement="two layers with W_2^T W_2 - W_1 W_1^T = lam I follow a matrix Riccati equation",
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Largest difference of flow and solution, over entries and times, of each case."""
    (tree,) = trees
    rows = []
    for name, case in CASES.items():
        gap = float(_gap(tree[name].to_dataset()).max())
        what = f"widths {case.widths}, lam {told(case.lam)}, rank {len(case.sigma)}"
        rows.append(below(f"{what}: flow less solution", gap, BOUND))
    return rows
