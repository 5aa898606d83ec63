"""Pictures: what moves the fields of each layer, and which layers the residual decays by."""

from collections.abc import Sequence

from gramdyn.report.cells import Cell
from gramdyn.report.curves import Curve, after_start, curves_along
from gramdyn.report.lines import LineLook, curve_picture
from gramdyn.report.picture import Picture
from gramdyn.report.roles import Roles, cell_a_panel, told_networks
from gramdyn.report.styles import Styles

# Records in the order of their rows, and what the vertical axis of the row says.
_ROWS = {
    "transport_share": "<i>z</i>: from below",
    "pullback_share": "<i>q</i>: from above",
    "flip_current": "<i>q</i>: by flips",
}
# Panels side by side.
_LIMIT = 4


def draw_currents(cells: Sequence[Cell]) -> Picture | None:
    """Shares of transport, pullback and flips in the movement of the fields, layer by layer."""
    there = [cell for cell in cells if any(map(cell.has, _ROWS))]
    # In a single hidden layer nothing is carried and no flip is felt.
    deep = [cell for cell in there if cell.node.data.sizes["hidden"] > 1] or there
    facet, chosen = cell_a_panel(deep, _LIMIT)
    curves = [curve for name in _ROWS for curve in _share_curves(chosen, name)]
    if not curves:
        return None
    styles = Styles(curves, Roles("hidden", facet, row="share"))
    titles = tuple(_ROWS[name] for name in styles.rows)
    return curve_picture(
        curves,
        styles,
        LineLook("share", log=False, from_zero=True, band=False, row_titles=titles),
        name="currents",
        title="Who moves the fields",
        text="Each row is a share, from 0 to 1: of the movement of z that layers below cause, not "
        "the layer's own learning; of the smooth movement of q that layers above cause by moving, "
        "not the next layer by learning; of the whole movement of q, since the saved step before, "
        "that mask flips cause. Median over seeds, a colour a layer, no line where a share is 0 "
        "throughout." + told_networks(chosen, deep, facet),
        law="d<i>z</i><sup>l</sup>/d<i>t</i> = &sum;<sub>k&lt;l</sub> Γ<sup>lk</sup> (own "
        "learning of layer <i>k</i>) + own learning: operators Γ carry the movement of "
        "lower layers up. <i>q</i><sup>l</sup> = ∂<i>f</i>/∂<i>h</i><sup>l</sup> obeys a like law "
        "downwards between flips, and jumps where a mask above flips.",
    )


def draw_decay_share(cells: Sequence[Cell]) -> Picture | None:
    """Share of each trained layer in the residual's decay over time."""
    there = [cell for cell in cells if cell.has("decay_share")]
    facet, chosen = cell_a_panel(there, _LIMIT)
    curves = curves_along(chosen, "decay_share", "layer")
    if not curves:
        return None
    return curve_picture(
        curves,
        Styles(curves, Roles("layer", facet)),
        LineLook("share in the decay", log=False, from_zero=True, band=False),
        name="decay_share",
        title="Which layers the residual decays by",
        text="Share of each trained layer's kernel in the speed at which the residual shrinks; the "
        "shares of a network sum to 1. Median over seeds, a colour a layer."
        + told_networks(chosen, there, facet),
        law="d<i>r</i>/d<i>t</i> = &minus;<i>s</i> &sum;<sub>l</sub> <i>K</i><sup>l</sup><i>r</i>: "
        "the share of layer <i>l</i> is <i>r</i><sup>T</sup><i>K</i><sup>l</sup><i>r</i> / "
        "<i>r</i><sup>T</sup><i>K r</i>.",
    )


def _share_curves(cells: Sequence[Cell], name: str) -> list[Curve]:
    curves = curves_along(cells, name, "hidden", share=name)
    # Before the first step nothing has flipped.
    return after_start(curves) if name == "flip_current" else curves
