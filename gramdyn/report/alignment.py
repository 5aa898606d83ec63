"""Picture: alignment of the tangent kernel with the targets."""

from collections.abc import Sequence

from gramdyn.report.cells import Cell
from gramdyn.report.curves import curves_of
from gramdyn.report.lines import BAND_TEXT, LineLook, curve_picture
from gramdyn.report.picture import Picture
from gramdyn.report.styles import Styles


def draw_alignment(cells: Sequence[Cell], styles: Styles) -> Picture | None:
    """Kernel-target alignment over time."""
    return curve_picture(
        curves_of(cells, "alignment"),
        styles,
        LineLook("alignment", log=False),
        name="alignment",
        title="Alignment of the kernel with the targets",
        text=f"{BAND_TEXT} It rises where training turns the kernel towards the targets, and "
        "stays put in the lazy regime.",
        law="<i>A</i> = <i>y</i><sup>T</sup> <i>K y</i> / (|<i>K</i>|<sub>F</sub> |<i>y</i>|²), "
        "the cosine between <i>K</i> and <i>y y</i><sup>T</sup>.",
    )
