"""Critical points of deep linear networks: kinds, inertia, orders of escape, and their map."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gramdyn.deep_linear import (
    CriticalPoint,
    ball_minimum,
    classify,
    critical_points,
    escape_order,
    fitted_order,
    hessian_spectrum,
    inertia,
)
from gramdyn.deep_linear.known import SIGMA, TABLE, Known
from gramdyn.deep_linear.samples import FAMILIES, random_critical_point
from gramdyn.experiments.numbers import MINUS, told
from gramdyn.experiments.pictures import LEGEND
from gramdyn.experiments.registry import Row, claim
from gramdyn.report.axes import GRID, INK, dress, new_figure

KINDS = ("not_critical", "global_min", "strict_saddle", "nonstrict_saddle")
TOLD = {"global_min": "global minimum", "strict_saddle": "strict", "nonstrict_saddle": "non-strict"}
MARKS = {
    "strict_saddle": ("^", "#dd9a26"),
    "nonstrict_saddle": ("s", "#cc4a3c"),
    "global_min": ("o", "#2a9d8f"),
}
# Random points of each family of targets, and what separates an eigenvalue from rounding.
_POINTS, _ROUNDING = 500, 1e-7
_RADIUS = 0.01


def measure() -> xr.DataTree:
    """What is found at the points of the table, and at random ones."""
    return xr.DataTree.from_dict({"table": _table(), "random": _random()})


def _table() -> xr.Dataset:
    found = [_look(known) for known in TABLE]
    data = {name: ("point", np.array([one[name] for one in found])) for name in found[0]}
    signs = data.pop("inertia")[1]
    return xr.Dataset({**data, "inertia": (("point", "sign"), signs)})


def _look(known: Known) -> dict[str, object]:
    """Level, kind, least eigenvalue, inertia; order and coefficient by search over small balls."""
    weights, target = known.weights, np.diag(SIGMA)
    found, spectrum = classify(weights, target), hessian_spectrum(weights, target)
    order, coefficient = np.nan, np.nan
    if known.kind != "global_min":
        order = fitted_order(weights, target, (_RADIUS, 2 * _RADIUS), n_starts=3)
        fall = -ball_minimum(weights, target, _RADIUS, n_starts=3)
        coefficient = fall / _RADIUS ** round(order)
    bound = escape_order(weights, target).order_lower_bound
    return {
        "level": found.value,
        "kind": KINDS.index(found.kind),
        "least": spectrum[0],
        "inertia": inertia(spectrum),
        "order": order,
        "rank_order": bound or 0,
        "coefficient": coefficient,
    }


def _random() -> xr.Dataset:
    """Kinds by ranks and least eigenvalues of random critical points, two to five layers."""
    kinds, bounds, least = [], [], []
    for family in FAMILIES:
        rng = np.random.default_rng(11)
        for index in range(_POINTS):
            point = random_critical_point(rng, family, 2 + index % 4, top=index % 3 > 0)
            found = classify(point.weights, point.target)
            kinds.append(KINDS.index(found.kind))
            bounds.append(found.order_lower_bound or 0)
            least.append(hessian_spectrum(point.weights, point.target)[0])
    return xr.Dataset(
        {"kind": ("point", kinds), "order": ("point", bounds), "least": ("point", least)}
    )


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """The map of saddles: level against the number of learned modes, a mark a set of modes."""
    figure = new_figure(11.4, 4.2)
    for n_layers, axes in zip((2, 3, 4), figure.subplots(1, 3, sharey=True), strict=True):
        title = f"L = {n_layers}, with orders m of escape"
        dress(axes, title, "learned modes", "loss" if n_layers == 2 else "")
        points = critical_points(np.diag(SIGMA), (3,) * (n_layers + 1))
        _lattice(axes, points)
        for point in points:
            _mark(axes, point)
        axes.set_xticks(range(4))
        axes.set_xlim(-0.35, 3.75)
    for kind, (mark, colour) in MARKS.items():
        figure.axes[2].plot([], [], mark, color=colour, ms=8, label=TOLD[kind])
    figure.axes[2].legend(**LEGEND, loc="upper right")
    return figure


def _lattice(axes: Axes, points: Sequence[CriticalPoint]) -> None:
    """A line from each set to those with one mode more."""
    for low in points:
        for high in points:
            if high.rank == low.rank + 1 and set(low.chosen) < set(high.chosen):
                ends = [low.value, high.value]
                axes.plot([low.rank, high.rank], ends, color="#c3cad2", linewidth=1.0, zorder=1)


def _mark(axes: Axes, point: CriticalPoint) -> None:
    mark, colour = MARKS[point.kind]
    axes.plot([point.rank], [point.value], mark, color=colour, ms=10, mec="white", mew=0.8)
    name = "{" + ",".join(str(mode + 1) for mode in point.chosen) + "}"
    text = name if point.order is None else f"{name}  m = {point.order}"
    box = {"boxstyle": "round,pad=0.1", "fc": "white", "ec": GRID, "lw": 0.0, "alpha": 0.85}
    axes.annotate(
        text,
        (point.rank, point.value),
        xytext=(9, 4),
        textcoords="offset points",
        fontsize=8.5,
        color=INK,
        bbox=box,
    )


@claim(
    "linear-saddles",
    source="2107.13289",
    statement="ranks of products tell strict from non-strict saddles, and how they are left",
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """The table row by row, and the rank rule against the Hessian at random points."""
    (tree,) = trees
    table = tree["table"].to_dataset()
    rows = [_table_row(known, table.isel(point=i)) for i, known in enumerate(TABLE)]
    return [*rows, *_random_rows(tree["random"].to_dataset())]


def _table_row(known: Known, found: xr.Dataset) -> Row:
    """Level, kind, least eigenvalue, inertia, order and coefficient of one point."""
    order, coefficient = float(found["order"]), float(found["coefficient"])
    kind, signs = KINDS[int(found["kind"])], tuple(int(x) for x in found["inertia"])
    level, least = float(found["level"]), float(found["least"])
    good = kind == known.kind and signs == known.inertia
    good = good and abs(level - known.level) < 1e-12 and abs(least - known.least) < 1e-6
    good = good and int(found["rank_order"]) == (known.order or 0)
    if known.order is not None and known.coefficient is not None:
        good = good and abs(order - known.order) < 2e-3
        good = good and abs(coefficient / known.coefficient - 1) < 1e-3
    wanted = _tell(known.level, known.kind, known.least, known.inertia)
    measured = _tell(level, kind, least, signs)
    if known.order is not None:
        wanted += f"; m {known.order}, c {known.coefficient:.5g}"
        measured += f"; m {order:.4g}, c {coefficient:.5g}"
    return Row(known.label, wanted, measured, good)


def _tell(level: float, kind: str, least: float, signs: tuple[int, ...]) -> str:
    short = f"{0.0 if abs(least) < _ROUNDING else least:.6g}".replace("-", MINUS)
    return f"{0.0 if level < _ROUNDING else level:.4g} {TOLD.get(kind, kind)} {short} {signs}"


def _random_rows(data: xr.Dataset) -> list[Row]:
    """How often the rank rule and the sign of the least eigenvalue disagree, and what was met."""
    kinds, strict = np.asarray(data["kind"]), np.asarray(data["least"] < -_ROUNDING)
    wrong = int(np.sum((kinds == KINDS.index("strict_saddle")) != strict))
    wrong_orders = int(np.sum((np.asarray(data["order"]) == 2) != strict))
    lost = int(np.sum(kinds == 0))
    met = ", ".join(f"{np.sum(kinds == i)} {TOLD[kind]}" for i, kind in enumerate(KINDS) if i)
    where = f"{len(kinds)} random points"
    smallest = told(float(np.abs(data["least"])[strict].min())) if strict.any() else "none"
    return [
        Row(f"{where}: kinds", "all critical", met, lost == 0),
        Row(f"{where}: rank rule against the Hessian, mismatches", "0", str(wrong), wrong == 0),
        Row(f"{where}: order 2 against the same", "0", str(wrong_orders), wrong_orders == 0),
        Row(f"{where}: least negative eigenvalue by size", "", smallest, None),
    ]
