"""Picture: loss of the population of a planted map over time, with its odd and even part."""

from collections.abc import Sequence

from gramdyn.report.cells import Cell
from gramdyn.report.curves import Curve, curves_of
from gramdyn.report.lines import BAND_TEXT, LineLook, curve_picture
from gramdyn.report.picture import Picture
from gramdyn.report.roles import Roles, at_ends, choose_roles, varying
from gramdyn.report.styles import Styles

_PARTS = {"whole": "population_loss", "odd": "odd_loss", "even": "even_loss"}


def draw_population_loss(cells: Sequence[Cell]) -> Picture | None:
    """A panel for the loss and each of its two parts, a colour a value of an axis."""
    there = [cell for cell in cells if cell.has("population_loss")]
    colour = choose_roles(there).colour
    rest = tuple(name for name in varying(there) if name != colour)
    curves = _curves(at_ends(there, rest))
    told = " Of the axes shown by dashes both ends are drawn." if rest else ""
    return curve_picture(
        curves,
        Styles(curves, Roles(colour, "part", rest)),
        LineLook("loss of the population"),
        name="population_loss",
        title="Loss of the population over time",
        text=f"1/2 E |f(x) &minus; B x|&sup2; over all inputs x, and its parts. {BAND_TEXT}{told}",
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
