"""Picture: loss against step."""

from collections.abc import Sequence

from gramdyn.report.cells import Cell
from gramdyn.report.curves import curves_of, rows_of
from gramdyn.report.lines import LineLook, Styles, draw_curves
from gramdyn.report.picture import Picture


def draw_loss(cells: Sequence[Cell], styles: Styles) -> Picture | None:
    """Loss against step on log axes, median and 10-90 % band over seeds."""
    curves = curves_of(cells, "loss")
    if not curves:
        return None
    return Picture(
        name="loss",
        title="Loss",
        text="Line: median over seeds. Band: 10 to 90 % of them. Both axes are logarithmic; step 0 "
        "stands at the left edge. Failed runs are left out.",
        law="Residuals obey d<i>r</i>/d<i>t</i> = &minus;<i>s K r</i> with <i>K</i> the tangent "
        "kernel: the loss falls as fast as the kernel is large along the residual.",
        figure=draw_curves(curves, styles, LineLook("loss")),
        rows=rows_of(curves),
    )
