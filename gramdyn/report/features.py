"""Pictures: how linear in the features the targets are, weight Grams, and answers held out."""

from collections.abc import Sequence

from gramdyn.report.cells import Cell
from gramdyn.report.curves import Curve, curves_along, curves_of
from gramdyn.report.lines import LineLook, curve_picture
from gramdyn.report.picture import Picture
from gramdyn.report.roles import Roles, cell_a_panel, told_networks
from gramdyn.report.styles import Styles

# Panels side by side.
_LIMIT = 4
_ANSWERS = {"trained on": "accuracy", "held out": "heldout_accuracy"}


def draw_linearity(cells: Sequence[Cell]) -> Picture | None:
    """Target Linearity of each hidden layer over time, a panel a value of an axis."""
    return _draw_layers(
        cells,
        ("linearity", "hidden"),
        LineLook("Target Linearity", log=False, band=False),
        name="target_linearity",
        title="Target Linearity by layer",
        text="Share of the targets' variance that an affine map of a hidden layer's activations "
        "gives, on the training set. Median over seeds, a colour a layer. Features that know "
        "nothing have rank / (n \N{MINUS SIGN} 1) on average, `linearity_null` in the results.",
        law="TL = 1 &minus; min<sub>B,c</sub> |<i>Y</i> &minus; <i>H B</i> &minus; "
        "1 c<sup>T</sup>|² / |<i>Y</i> &minus; mean|². A linear layer can only lose of it.",
    )


def draw_gram_gap(cells: Sequence[Cell]) -> Picture | None:
    """How far the next changes of weight Gram and virtual covariance are apart, by layer."""
    return _draw_layers(
        cells,
        ("gram_gap", "layer"),
        LineLook("relative gap", band=False),
        name="gram_gap",
        title="Weight Gram and virtual covariance",
        text="Difference of the changes that the next step makes in a layer's weight Gram and in "
        "the covariance of its inputs had these followed their loss gradients, over that of the "
        "Gram. Median over seeds, a colour a layer.",
        law="&Delta;<i>M</i> &minus; &Delta;<i>VC</i> = &eta;² (<i>g</i><sup>T</sup><i>g</i> "
        "&minus; <i>G</i><sup>T</sup><i>G</i>): alike to first order in the step.",
    )


def _draw_layers(
    cells: Sequence[Cell], record: tuple[str, str], look: LineLook, *, text: str, **words: str
) -> Picture | None:
    """A record along an axis of layers, a colour each, a panel a value of an axis of the sweep."""
    name, axis = record
    there = [cell for cell in cells if cell.has(name)]
    if not there:
        return None
    facet, chosen = cell_a_panel(there, _LIMIT)
    curves = curves_along(chosen, name, axis)
    told = text + told_networks(chosen, there, facet)
    return curve_picture(curves, Styles(curves, Roles(axis, facet)), look, text=told, **words)


def draw_answers(cells: Sequence[Cell]) -> Picture | None:
    """Accuracy over time, on the training set and held out."""
    there = [cell for cell in cells if cell.has("accuracy") or cell.has("heldout_accuracy")]
    if not there:
        return None
    facet, chosen = cell_a_panel(there, _LIMIT)
    curves = [
        Curve({**curve.place, "samples": samples}, curve.steps, curve.band, curve.runs)
        for samples, name in _ANSWERS.items()
        for curve in curves_of(chosen, name)
    ]
    return curve_picture(
        curves,
        Styles(curves, Roles("samples", facet)),
        LineLook("accuracy", log=False),
        name="accuracy",
        title="Accuracy",
        text="Share of samples whose largest output is that of their class; line: median over "
        "seeds, band: 10 to 90 %." + told_networks(chosen, there, facet),
    )
