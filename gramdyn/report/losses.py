"""Picture: loss against step, beside the loss with a constant kernel where that is recorded."""

from collections.abc import Sequence

from gramdyn.report.cells import Cell
from gramdyn.report.curves import curves_of, rows_of
from gramdyn.report.lines import BAND_TEXT, LineLook, Reference, draw_curves
from gramdyn.report.picture import Picture
from gramdyn.report.roles import widest_cells
from gramdyn.report.styles import Styles

# What the loss may be held against: the first of these that is recorded, and what it is called.
_REFERENCES = {"limit_loss": "infinite width", "linear_loss": "linearised at t = 0"}
_REFERENCE_TEXT = {
    "limit_loss": "the loss of a network of infinite width from the same residual",
    "linear_loss": "the loss of the network linearised at t = 0, its kernel held as it began",
}


def draw_loss(cells: Sequence[Cell], styles: Styles) -> Picture | None:
    """Loss against step on log axes, median and 10-90 % band over seeds."""
    curves = curves_of(cells, "loss")
    if not curves:
        return None
    record = next((name for name in _REFERENCES if any(cell.has(name) for cell in cells)), None)
    references = _references(cells, styles, record) if record else []
    rows = [{**row, "curve": "loss"} for row in rows_of(curves)]
    for one in references:
        rows += [{**row, "curve": _REFERENCES[record or ""]} for row in one.curve.rows()]
    return Picture(
        name="loss",
        title="Loss",
        text=f"{BAND_TEXT} Both axes are logarithmic; step 0 stands at the left edge. Failed runs "
        "are left out." + _reference_text(record),
        law="Residuals obey d<i>r</i>/d<i>t</i> = &minus;<i>s K r</i> with <i>K</i> the tangent "
        "kernel: the loss falls as fast as the kernel is large along the residual.",
        figure=draw_curves(curves, styles, LineLook("loss"), references),
        rows=rows,
    )


def _reference_text(record: str | None) -> str:
    if record is None:
        return ""
    return f" Dashed: {_REFERENCE_TEXT[record]}; median over the runs of the widest networks."


def _references(cells: Sequence[Cell], styles: Styles, record: str) -> list[Reference]:
    """The record of the widest networks: in the colour of the writing if it is alone in its panel.

    Where a panel holds several, of depths or scales, each has the colour of its networks.
    """
    curves = curves_of(widest_cells(cells, record), record)
    panels = [styles.facet(curve.place) for curve in curves]
    found = []
    for curve, panel in zip(curves, panels, strict=True):
        if panels.count(panel) == 1:
            found.append(Reference(curve, _REFERENCES[record], None))
        else:
            name = f"{styles.label(curve.place)}, {_REFERENCES[record]}"
            found.append(Reference(curve, name, styles.colour(curve.place)))
    return found
