"""Pictures: how the modes of a linear target are learned, and when, over an axis of the sweep."""

from collections.abc import Sequence

from gramdyn.report.against import times_picture
from gramdyn.report.cells import Cell
from gramdyn.report.curves import curves_along
from gramdyn.report.lines import LineLook, curve_picture
from gramdyn.report.picture import Picture
from gramdyn.report.roles import Roles, at_the_smallest, cell_a_panel, told_networks
from gramdyn.report.styles import Styles

_LIMIT = 6
_LAW = (
    "A mode is a singular triplet (&sigma;, u, v) of the target. Along balanced weights its "
    "strength <i>s</i> obeys d<i>s</i>/d<i>t</i> = "
    "<i>L</i> <i>s</i><sup>2 &minus; 2/<i>L</i></sup> (&sigma; &minus; <i>s</i>), "
    "<i>L</i> = depth + 1 layers"
)


def draw_modes(cells: Sequence[Cell]) -> Picture | None:
    """Strength of each mode over its sigma, over time; of starts of many scales the smallest."""
    there = at_the_smallest([cell for cell in cells if cell.has("learned_modes")])
    facet, chosen = cell_a_panel(there, _LIMIT)
    curves = curves_along(chosen, "learned_modes", "mode")
    if not curves:
        return None
    return curve_picture(
        curves,
        Styles(curves, Roles("mode", facet)),
        LineLook("strength over singular value", log=False),
        name="learned_modes",
        title="Modes of the target over time",
        text="Strength of each singular mode of the target in the network's map, over its singular "
        "value: 1 once it is learned, and about 0 before from a small start. A mode whose value is "
        "0 is shown over the largest value. Line: median over seeds, a colour a mode, the "
        "largest value first. Band: 10 to 90 % of them." + told_networks(chosen, there, facet),
        law=f"{_LAW}.",
    )


def draw_mode_times(cells: Sequence[Cell]) -> Picture | None:
    """When each mode is learned against the numeric axis with the most values, by depth."""
    return times_picture(
        cells,
        "mode_times",
        "mode",
        down="time",
        name="mode_times",
        title="Time to learn each mode",
        text="Time, steps times step size, at which a mode first reaches the share of its "
        "singular value that the record asks for. Line: median over seeds, a colour a mode. Band: "
        "10 to 90 % of them, on the solid lines. A line ends where half of the runs did not learn "
        "the mode in the time they had, and where half had learned it from the start.",
        law=f"{_LAW}: from a small start it waits for a time of the order of "
        "log(1/<i>s</i>)/(2&sigma;) for two layers, and of "
        "<i>s</i><sup>&minus;(1 &minus; 2/<i>L</i>)</sup>/((<i>L</i> &minus; 2) &sigma;) for more, "
        "where <i>s</i> is of the order of scale<sup><i>L</i></sup>.",
    )
