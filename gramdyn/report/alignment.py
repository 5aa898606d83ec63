"""Picture: alignment of the tangent kernel with the targets."""

from collections.abc import Sequence

from gramdyn.report.cells import Cell
from gramdyn.report.curves import curves_of, rows_of
from gramdyn.report.lines import LineLook, Styles, draw_curves
from gramdyn.report.picture import Picture


def draw_alignment(cells: Sequence[Cell], styles: Styles) -> Picture | None:
    """Kernel-target alignment over time."""
    curves = curves_of(cells, "alignment")
    if not curves:
        return None
    return Picture(
        name="alignment",
        title="Alignment of the kernel with the targets",
        text="Line: median over seeds. Band: 10 to 90 % of them. It rises where training turns the "
        "kernel towards the targets, and stays put in the lazy regime.",
        law="<i>A</i> = <i>y</i><sup>T</sup> <i>K y</i> / (|<i>K</i>|<sub>F</sub> |<i>y</i>|²), "
        "the cosine between <i>K</i> and <i>y y</i><sup>T</sup>.",
        figure=draw_curves(curves, styles, LineLook("alignment", log=False)),
        rows=rows_of(curves),
    )
