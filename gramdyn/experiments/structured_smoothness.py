"""How smoothly structured networks train: identity paths most, orthogonal ones at small steps."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, MARKERS, colours_of
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import above, below, count, near
from gramdyn.experiments.structured_models import Model
from gramdyn.report.axes import dress, new_figure

# Steps as shares of 2 / (s lambda_max); a relative step of 2 c is that share c.
SHARES = (0.25, 0.5, 1.0, 1.5)
N_RUNS = 8


def _path(name: str, pathway: str, elsewhere: str) -> Model:
    return Model(name, 0, {"pathway": pathway}, elsewhere)


# Rises at each share in another program's runs of the recipe.
DENSE = _path("dense", "dense", "1.05, 1.16, 1.06, one in four diverges")
ORTHOGONAL = _path("orthogonal", "orthogonal", "0.00, 2.58, 11.9, 49.8")
RESIDUAL = Model("identity and dense, 1/√L", 2, {"alpha": "depth"}, "0, 0, 0.34, 0.76")
MODELS = (
    DENSE,
    ORTHOGONAL,
    Model("orthogonal and bottleneck", 1, {}, "0.44, 2.80, 4.25, 7.9"),
    _path("circulant", "circulant", "1.18, 1.38, half diverge, all"),
    _path("low rank and diagonal", "lowrank_diag", "0.48, 1.66, 2.35, 4.2"),
    _path("spectral, bound 2", "kind: spectral, bound: 2.0", "0.62, 0.66, 0.89, 1.46"),
    RESIDUAL,
    Model("identity and dense, gain from 0", 2, {"alpha": "rezero"}, "0, 0, 0.68, 1.54"),
)


def _read(model: Model, trees: Sequence[xr.DataTree], share: float, name: str) -> np.ndarray:
    """A record at the start and at the end, of the runs that came through, shape (runs, 2)."""
    runs = model.runs(trees, **{"scheme.step_size.relative": 2 * share})
    return runs.read(name, None).reshape(len(runs), -1) if len(runs) else np.empty((0, 2))


def _rise(model: Model, trees: Sequence[xr.DataTree], share: float) -> np.ndarray:
    return _read(model, trees, share, "loss_rise")[:, -1]


def _growth(model: Model, trees: Sequence[xr.DataTree], share: float) -> np.ndarray:
    """lambda_max at the end over that at the start."""
    values = _read(model, trees, share, "top_eigenvalues")
    return values[:, -1] / values[:, 0]


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Rises and final sharpness of every model against the share."""
    figure = new_figure(10.6, 4.2)
    left, right = figure.subplots(1, 2)
    for k, colour in colours_of(range(len(MODELS))).items():
        model = MODELS[k]
        good = [c for c in SHARES if len(_rise(model, trees, c))]
        style = {"color": colour, "marker": MARKERS[k % len(MARKERS)], "ms": 4.5, "lw": 1.4}
        # A rise of 0 is drawn at the lower edge.
        rises = [max(float(np.median(_rise(model, trees, c))), 1e-2) for c in good]
        left.plot(good, rises, label=model.name, **style)
        right.plot(good, [c * np.median(_growth(model, trees, c)) for c in good], **style)
    left.set_yscale("log")
    right.axhline(1.0, color="black", linewidth=0.8)
    dress(left, "rise of ln loss over its fall", "step, share of 2 / λ at the start", "")
    dress(right, "step times sharpness at the end", "step, share of 2 / λ at the start", "")
    left.legend(**LEGEND | {"fontsize": 7.5}, loc="lower right")
    return figure


@claim(
    "structured-smoothness",
    source="2508.02126",
    statement="identity paths train most smoothly; orthogonal ones are no smoother than free ones",
    configs=(
        "structured-smoothness",
        "structured-smoothness-beside",
        "structured-smoothness-residual",
    ),
    records=("loss_rise", "top_eigenvalues", "loss"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Sharpening of the free network up to the edge; the residual one; all at every step."""
    rows = []
    for share in SHARES[:3]:
        edge = share * float(np.median(_growth(DENSE, trees, share)))
        rows.append(near(f"dense, share {share}: share times sharpness", edge, 1.0, 0.1, 3))
    rows.append(below("residual, share 0.25: sharpness", _growth(RESIDUAL, trees, 0.25).max(), 1.3))
    still = _rise(RESIDUAL, trees, 0.25)
    rows.append(count("residual, share 0.25: runs that never rise", still == 0))
    came = [len(_rise(RESIDUAL, trees, share)) for share in SHARES]
    rows.append(count("residual: runs that come through, by share", np.array(came) == N_RUNS))
    for share in (0.5, 1.0):
        pair = [np.median(_rise(model, trees, share)) for model in (ORTHOGONAL, DENSE)]
        what = f"orthogonal over dense, share {share}: rise"
        rows.append(above(what, float(pair[0] / pair[1]), 1.0))
    for model in MODELS:
        rises = ", ".join(_told(_rise(model, trees, share)) for share in SHARES)
        what = f"{model.name}: rise by share"
        rows.append(Row(what, f"elsewhere {model.elsewhere}", rises, None))
        losses = [_read(model, trees, share, "loss")[:, -1] for share in SHARES]
        best = min(float(np.median(one)) for one in losses if len(one))
        rows.append(Row(f"{model.name}: least final loss", "no claim", told(best), None))
    return rows


def _told(rises: np.ndarray) -> str:
    """The median, and how many came through where not all did."""
    if not len(rises):
        return "none comes through"
    median = told(float(np.median(rises)))
    return median if len(rises) >= N_RUNS else f"{median} ({len(rises)} come through)"
