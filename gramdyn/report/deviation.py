"""Picture: how far finite networks are from those of infinite width, against the width."""

from collections.abc import Sequence

from gramdyn.report.cells import Cell
from gramdyn.report.ladders import (
    LADDER_TEXT,
    Measure,
    at_start,
    draw_ladders,
    greatest,
    ladders_of,
)
from gramdyn.report.picture import Picture

MEASURES = (
    Measure("limit_distance", "kernel_distance", "kernel at step 0: distance", pick=at_start),
    Measure("limit_error", "residual_distance", "residual: largest distance", pick=greatest),
)


def draw_deviation(cells: Sequence[Cell]) -> Picture | None:
    """Distance of the kernel and of the residual from their limits against width, with slopes."""
    groups = [ladders for ladders in (ladders_of(cells, one) for one in MEASURES) if ladders]
    if not groups:
        return None
    return Picture(
        name="deviation",
        title="Deviation from infinite width",
        text="How far networks are from their limit of infinite width, where the kernel is known "
        "and does not move. One panel: the tangent kernel before training, its distance from the "
        "limit's relative to the limit's norm. The other: the residual, its largest distance at "
        "any saved step from that of the limit, relative to its norm at step 0. "
        + LADDER_TEXT.format(when=""),
        law="The residual obeys d<i>r</i>/d<i>t</i> = &minus;<i>s</i> &sum;<sub>l</sub> "
        "<i>K</i><sup>l</sup> <i>r</i>; at infinite width every <i>K</i><sup>l</sup> is a constant "
        "of the initial law. With NTK parametrisation a kernel before training is a mean over "
        "neurons, so it is off by a power &minus;1/2 of the width.",
        figure=draw_ladders(groups),
        rows=[row for group in groups for ladder in group for row in ladder.rows()],
    )
