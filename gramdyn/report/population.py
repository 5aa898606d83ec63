"""Picture: loss of the population of a planted map over time, with its odd and even part."""

from collections.abc import Sequence

from gramdyn.report.cells import Cell
from gramdyn.report.curves import Curve, curves_of
from gramdyn.report.lines import LineLook, curve_picture
from gramdyn.report.picture import Picture
from gramdyn.report.roles import Roles, choose_roles, last_cells, told_networks
from gramdyn.report.styles import Styles

_PARTS = {"whole": "population_loss", "odd": "odd_loss", "even": "even_loss"}
_LIMIT = 8


def draw_population_loss(cells: Sequence[Cell]) -> Picture | None:
    """A panel for the loss and each of its two parts, a colour a value of an axis."""
    there = [cell for cell in cells if cell.has("population_loss")]
    if not there:
        return None
    colour = choose_roles(there).colour
    chosen = last_cells(there, colour, _LIMIT)
    curves = _curves(chosen)
    return curve_picture(
        curves,
        Styles(curves, Roles(colour, "part")),
        LineLook("loss of the population", band=False),
        name="population_loss",
        title="Loss of the population over time",
        text="1/2 E |f(x) \N{MINUS SIGN} B x|² over all inputs x, and its parts. Line: median "
        "over seeds." + told_networks(chosen, there, colour),
        law="f(x) is a linear, odd part, B learnt so far, plus an even one, in which the halves of "
        "ReLU are not yet in balance. The two parts of the loss add up to the whole; the even part "
        "holds the slow directions.",
    )


def _curves(cells: Sequence[Cell]) -> list[Curve]:
    return [
        Curve({**curve.place, "part": part}, curve.steps, curve.band, curve.runs)
        for part, name in _PARTS.items()
        for curve in curves_of(cells, name)
    ]
