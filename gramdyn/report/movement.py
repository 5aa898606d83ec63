"""Pictures: how far the tangent kernel moves, over time and against the width."""

from collections.abc import Sequence

from gramdyn.report.cells import Cell
from gramdyn.report.curves import after_start, curves_of
from gramdyn.report.ladders import LADDER_TEXT, Measure, at_end, draw_ladders, ladders_of
from gramdyn.report.lines import LineLook, curve_picture
from gramdyn.report.picture import Picture
from gramdyn.report.roles import axis_title
from gramdyn.report.styles import Styles

MOVEMENT = Measure(
    "kernel_movement", "movement", "relative kernel movement at the end", pick=at_end
)


def draw_movement_by_width(cells: Sequence[Cell]) -> Picture | None:
    """Relative movement at the last saved step against width, with the fitted slope."""
    ladders = ladders_of(cells, MOVEMENT)
    if not ladders:
        return None
    return Picture(
        name="movement_by_width",
        title="Kernel movement against width",
        text=LADDER_TEXT.format(when=", at the last saved step"),
        law="|<i>K</i>(<i>T</i>) &minus; <i>K</i>(0)|<sub>F</sub> / |<i>K</i>(0)|<sub>F</sub> "
        "falls with the width in the lazy regime, and stays of order one where features are "
        "learned.",
        figure=draw_ladders([ladders]),
        rows=[row for ladder in ladders for row in ladder.rows()],
    )


def draw_movement(cells: Sequence[Cell], styles: Styles) -> Picture | None:
    """Relative movement of the tangent kernel over time."""
    axis = axis_title(styles.roles.colour) if styles.roles.colour else "colour"
    return curve_picture(
        after_start(curves_of(cells, "kernel_movement")),
        styles,
        LineLook("relative kernel movement"),
        name="movement",
        title="Kernel movement",
        text="Distance of the tangent kernel from its start, relative to its norm there; median "
        f"and 10 to 90 % band over seeds, a colour for each {axis}.",
    )
