"""Digits: accuracy in noise at four layers, trainability at thirty-two."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import above, below
from gramdyn.experiments.structured_models import Model, draw_dots, layered, medians, n_trained
from gramdyn.report.axes import dress, new_figure

STEPS = (0.003, 0.01)
SPECTRAL, BLOCK = "kind: spectral, bound: 2.0", "kind: block, blocks: 4"
BESIDE = "kind: bottleneck, rank: 4"

# Trained numbers in brackets; beside them another program's medians at noise 0, 0.5 and 1, with the
# better of the two steps.
DENSE = layered("dense (6634)", "dense", "none", ".974, .868, .583")
ORTHOGONAL = layered("orthogonal (4522)", "orthogonal", "none", ".984, .906, .619")
SHALLOW = (
    DENSE,
    Model("dense, width 29 (5665)", 1, {"width": 29}, ".973, .867, .574"),
    Model("dense, width 25 (4485)", 1, {"width": 25}),
    Model("dense, width 22 (3684)", 1, {"width": 22}, ".971, .859, .551"),
    ORTHOGONAL,
    layered("orthogonal and bottleneck (5566)", "orthogonal", BESIDE, ".980, .901, .637"),
    layered("spectral, bound 2 (6634)", SPECTRAL, "none", ".978, .887, .589"),
    Model("identity and dense, 1/√L (6766)", 2, {}, ".980, .833, .497"),
    layered("circulant and bottleneck (3710)", "circulant", BESIDE, ".971, .850, .552"),
    layered("block and bottleneck", BLOCK, BESIDE, ".971, .873, .567"),
    layered("low rank and diagonal", "lowrank_diag", "none", ".969, .843, .522"),
    layered("shaped and bottleneck", "shaped", BESIDE, ".973, .850, .560"),
)
CONTROL = Model("dense (6634)", 1, {"width": 32})

# Layers, inputs, width and outputs of the configuration, which a test holds to it.
DEEP_SIZES = (32, 64, 24, 10)
DEEP_DENSE = Model("dense", 3, {"pathway": "dense"}, ".890")
DEEP_ORTHOGONAL = Model("orthogonal", 3, {"pathway": "orthogonal"}, ".972")
DEEP_RESIDUAL = Model("identity and dense, 1/√L", 5, {"alpha": "depth"}, ".974")
DEEP = (
    DEEP_DENSE,
    DEEP_ORTHOGONAL,
    Model("low rank and diagonal", 3, {"pathway": "lowrank_diag"}, ".742"),
    Model("circulant and bottleneck", 4, {"pathway": "circulant"}, ".969"),
    Model("shaped and bottleneck", 4, {"pathway": "shaped"}, ".901"),
    DEEP_RESIDUAL,
    Model("identity and dense, gain from 0", 5, {"alpha": "rezero"}, ".980"),
)


def _clean(model: Model, trees: Sequence[xr.DataTree], step: float) -> np.ndarray:
    return model.runs(trees, **{"scheme.step_size": step}).read("heldout_accuracy")


def _best(model: Model, trees: Sequence[xr.DataTree]) -> float:
    """The better median over steps."""
    return max(float(np.median(_clean(model, trees, step))) for step in STEPS)


def _all(model: Model, trees: Sequence[xr.DataTree], step: float) -> np.ndarray:
    """Accuracy at noise 0, 0.5 and 1, shape (runs, 3)."""
    runs = model.runs(trees, **{"scheme.step_size": step})
    return np.column_stack([runs.read("heldout_accuracy"), runs.read("noisy_accuracy")])


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Accuracy of every model, every run a dot: four layers in noise 0.5, thirty-two without."""
    figure = new_figure(11.6, 4.8)
    left, right = figure.subplots(1, 2)
    draw_dots(left, SHALLOW, STEPS, lambda model, step: _all(model, trees, step)[:, 1])
    draw_dots(right, DEEP, STEPS, lambda model, step: _clean(model, trees, step))
    dress(left, "4 layers: accuracy in noise 0.5", "", "")
    dress(right, "32 layers: accuracy", "", "")
    left.legend(**LEGEND, loc="lower left")
    return figure


@claim(
    "structured-digits",
    source="2508.02126",
    statement="isometric paths make 32 layers trainable with half of the parameters",
    configs=(
        "structured-digits",
        "structured-digits-matched",
        "structured-digits-residual",
        "structured-digits-deep",
        "structured-digits-deep-beside",
        "structured-digits-deep-residual",
    ),
    records=("heldout_accuracy", "loss"),
    draw=draw,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Thirty-two layers, then four; every model at every step, and the control of less fitting."""
    best = {model.name: _best(model, trees) for model in DEEP}
    rows = [
        above(f"32 layers, {DEEP_ORTHOGONAL.name}", best[DEEP_ORTHOGONAL.name], 0.955),
        above(f"32 layers, {DEEP_RESIDUAL.name}", best[DEEP_RESIDUAL.name], 0.955),
        below(f"32 layers, {DEEP_DENSE.name}", best[DEEP_DENSE.name], 0.93),
    ]
    counts = [n_trained(*DEEP_SIZES, pathway=kind) for kind in ("orthogonal", "dense")]
    what = f"32 layers, numbers of orthogonal, {counts[0]}, over those of dense"
    rows.append(below(what, counts[0] / counts[1], 0.55))
    gap = _best(ORTHOGONAL, trees) - _best(DENSE, trees)
    rows.append(above("4 layers, orthogonal over dense", gap, -0.005))
    for model in DEEP:
        text = "; ".join(medians(_clean(model, trees, step)) for step in STEPS)
        what = f"32 layers, {model.name}, steps {STEPS[0]}; {STEPS[1]}"
        rows.append(Row(what, f"elsewhere {model.elsewhere}", text, None))
    for model in SHALLOW:
        text = "; ".join(medians(_all(model, trees, step)) for step in STEPS)
        beside = f"elsewhere {model.elsewhere}" if model.elsewhere else "no claim"
        rows.append(Row(f"4 layers, {model.name}: noise 0 / 0.5 / 1", beside, text, None))
    return [*rows, _control(trees)]


def _control(trees: Sequence[xr.DataTree]) -> Row:
    """The free network where it fits the training set as the orthogonal one does at its end."""
    step = STEPS[0]
    at = {"scheme.step_size": step}
    wanted = float(np.median(ORTHOGONAL.runs(trees, **at).read("loss")))
    runs = CONTROL.runs(trees, **at)
    losses, noisy = runs.read("loss", None), runs.read("noisy_accuracy", None)
    stops = np.argmax(losses <= wanted, axis=1)
    found = noisy[np.arange(len(runs)), :, stops]
    what = f"dense stopped at the loss of orthogonal, {told(wanted)}: noise 0.5 / 1"
    return Row(what, "elsewhere .894, .601", medians(found), None)
