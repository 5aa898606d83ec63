"""Pictures: how structured layers bear depth, in condition at the start and in what is learnt."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gramdyn.report.against import Row, draw_against
from gramdyn.report.cells import Cell
from gramdyn.report.ladders import Measure, at_end, at_start
from gramdyn.report.picture import Picture
from gramdyn.report.roles import Roles, at_ends, axis_values, varying
from gramdyn.report.statistics import band_over_seeds
from gramdyn.report.styles import Styles

# log10 kappa of isometries is 0 to rounding, which has no place on a logarithmic axis.
_LEAST = 0.05
# What says that layers have structure, in the order in which it gets the colour.
_STRUCTURES = ("pathway", "correction")
_CONDITION = Measure(
    "log_condition", "log10_condition", "log<sub>10</sub> of the condition, at the start", at_start
)
_LOSS = Measure("loss", "loss", "loss at the end", at_end)
_ACCURACY = Measure("heldout_accuracy", "accuracy", "accuracy held out, at the end", at_end)


def draw_conditioning(cells: Sequence[Cell]) -> Picture | None:
    """log10 of the condition of the hidden layers at the start against their number."""
    there = _without_idle([cell for cell in cells if cell.has(_CONDITION.record)], _CONDITION)
    return _draw(
        there,
        _CONDITION,
        least=_LEAST,
        name="conditioning",
        title="Condition of the hidden layers over depth",
        text="Condition number of the Jacobian of the square hidden layers, end to end, before the "
        f"first step. Values below {_LEAST} are drawn there; infinite ones, which dead units make, "
        "have no point.",
        law="A chain of free matrices with entries N(0, 1/N) gains (&lambda;<sub>1</sub> &minus; "
        "&lambda;<sub>N</sub>) / ln 10 a layer, linear or with a smooth activation, by its "
        "Lyapunov exponents &lambda;<sub>i</sub> = [ln(2/N) + &psi;((N &minus; i + 1)/2)] / 2; an "
        "isometry gains only what the activation bends.",
    )


def draw_final_loss(cells: Sequence[Cell]) -> Picture | None:
    """Loss at the end against the depth, where structures are compared."""
    return _draw(
        _structured(cells, _LOSS),
        _LOSS,
        name="loss_by_depth",
        title="What depth lets structures learn",
        text="Loss on the training set at the last saved step. Runs that failed are left out.",
    )


def draw_final_accuracy(cells: Sequence[Cell]) -> Picture | None:
    """Accuracy held out at the end against the depth, where structures are compared."""
    return _draw(
        _structured(cells, _ACCURACY),
        _ACCURACY,
        log=False,
        name="accuracy_by_depth",
        title="Accuracy over depth, held out",
        text="Share of samples held out whose largest output is that of their class, at the last "
        "saved step. Runs that failed are left out.",
    )


def _structured(cells: Sequence[Cell], measure: Measure) -> list[Cell]:
    """Cells with the record, if a structure is among the axes that vary."""
    there = [cell for cell in cells if cell.has(measure.record)]
    return there if set(_STRUCTURES) & set(varying(there)) else []


def _draw(
    cells: Sequence[Cell],
    measure: Measure,
    *,
    text: str,
    log: bool = True,
    least: float = 0.0,
    **words: str,
) -> Picture | None:
    """A measure against the depth: a line a structure, a panel a width; None without depths."""
    if "depth" not in varying(cells):
        return None
    roles = _roles(cells)
    rows = [_row(cell, measure) for cell in at_ends(cells, roles.dash)]
    drawn = [
        {**row, **{name: max(row[name], least) for name in ("median", "q10", "q90")}}
        for row in rows
    ]
    if not any(np.isfinite(row["median"]) for row in drawn):
        return None
    styles = Styles([Row(row) for row in rows], roles)
    figure = draw_against(drawn, "depth", styles, measure.title, log=log)
    told = f"{text} Line: median over seeds. Band: 10 to 90 % of them." + (
        " Of the axes shown by dashes both ends are drawn." if roles.dash else ""
    )
    return Picture(figure=figure, rows=rows, text=told, **words)


def _roles(cells: Sequence[Cell]) -> Roles:
    """Colour is the structure, panels the width; else the axes with the most values."""
    rest = [name for name in varying(cells) if name != "depth"]
    rest.sort(key=lambda name: -len(axis_values(cells, name)))
    colour = next((name for name in _STRUCTURES if name in rest), None)
    colour = colour or next((name for name in rest if name != "width"), None)
    left = [name for name in rest if name != colour]
    facet = "width" if "width" in left else next(iter(left), None)
    return Roles(colour, facet, tuple(name for name in left if name != facet))


def _row(cell: Cell, measure: Measure) -> dict[str, Any]:
    values = measure.of(cell)
    low, mid, high = (float(part) for part in band_over_seeds(values))
    return {**cell.place, "median": mid, "q10": low, "q90": high, "runs": len(values)}


def _without_idle(cells: list[Cell], measure: Measure) -> list[Cell]:
    """The cells at the first value of each axis, not drawn as such, that makes no difference."""
    drawn = ("depth", "width", *_STRUCTURES)
    for name in varying(cells):
        if name not in drawn and not _depends(cells, measure, name):
            first = axis_values(cells, name)[0]
            cells = [cell for cell in cells if cell.place[name] == first]
    return cells


def _depends(cells: Sequence[Cell], measure: Measure, name: str) -> bool:
    """Whether any seed gives another number at another value of an axis, all else equal."""
    known: dict[Any, float] = {}
    for cell in cells:
        rest = tuple(item for item in cell.place.items() if item[0] != name)
        for seed, value in zip(cell.seeds.tolist(), measure.of(cell).tolist(), strict=True):
            if not np.isclose(known.setdefault((rest, seed), value), value, rtol=1e-5, atol=1e-7):
                return True
    return False
