"""Picture: how far the fields alone, cut by a closure, are from the run."""

from collections.abc import Sequence

from gramdyn.report.cells import Cell
from gramdyn.report.curves import after_start, curves_along
from gramdyn.report.lines import LineLook, curve_picture
from gramdyn.report.picture import Picture
from gramdyn.report.roles import at_ends, choose_roles
from gramdyn.report.styles import Styles

# An error of 1 is as large as the residual itself; far above it there is nothing to see.
_TOP = 10.0
# Systems as exact as this differ from the run by rounding only.
_ROUNDING = 1e-10
_WORDS = {
    "exact": "nothing is cut",
    "flips_omitted": "<i>q</i> does not jump where masks flip",
    "frozen": "no jumps, and the weights inside the operators stay as they began",
    "dropped": "no jumps and no operators, so each layer feels only its own learning",
}
_CUTS = {
    "order": "no jumps, and no operators through more weight matrices than {}",
    "expansion": "no jumps, and operators are kept to power {} of the weights' movement",
}


def draw_closure_error(cells: Sequence[Cell]) -> Picture | None:
    """Error of each closure over time: median and 10-90 % band over seeds."""
    curves = after_start(curves_along(cells, "closure_error", "closure"))
    if not curves:
        return None
    roles = choose_roles(curves, colour="closure")
    curves = at_ends(curves, roles.dash)
    styles = Styles(curves, roles)
    return curve_picture(
        curves,
        styles,
        LineLook("closure error", top=_TOP, rounding=_ROUNDING),
        name="closure_error",
        title="Closure error",
        text="Beside each run its fields are stepped alone, by laws from which a closure cuts "
        "something. Error: distance of the residual so found from the run's own, over all steps "
        "so far, relative to the run's; 1 means that nothing of the run is foretold. Line: median "
        "over seeds, which ends where half of the closed systems have blown up. Band: 10 to 90 % "
        "of them." + (" Of the axes shown by dashes both ends are drawn." if roles.dash else ""),
        law="The preactivations <i>z</i><sup>l</sup> move by transport through operators from the "
        "layers below and by their own learning; <i>q</i><sup>l</sup> = "
        "∂<i>f</i>/∂<i>h</i><sup>l</sup> moves smoothly by operators from above and by learning, "
        "and jumps where masks flip. " + _told(list(styles.colours)),
    )


def _told(names: list[str]) -> str:
    """What each closure does, as HTML; unknown names are passed over."""
    known = [(name, _meaning(name)) for name in names]
    return "; ".join(f"<b>{name}</b>: {words}" for name, words in known if words) + "."


def _meaning(name: str) -> str:
    if name in _WORDS:
        return _WORDS[name]
    cuts = [cut.rpartition("-") for cut in name.split("_")]
    if not all(key in _CUTS and number.isdigit() for key, _, number in cuts):
        return ""
    return ", ".join(_CUTS[key].format(number) for key, _, number in cuts)
