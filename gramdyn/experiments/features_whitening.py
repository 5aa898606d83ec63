"""Steps reduced to what moves the weight Grams train as well; the rest of them does not train."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from gramdyn.dynamics.whitening import gram_whitening
from gramdyn.experiments.numbers import told
from gramdyn.experiments.pictures import LEGEND, colours_of, plot_band
from gramdyn.experiments.registry import Row, claim
from gramdyn.experiments.rows import above, below
from gramdyn.experiments.runs import Runs
from gramdyn.report.axes import dress, new_figure

# Mean accuracy held out, in another program's run of the recipe on a split of its own.
ELSEWHERE = {"none": 0.9729, "newton_schulz": 0.9702, "svd": 0.9693, "rotation": 0.7364}
NAMES = {
    "none": "as they are",
    "svd": "Gram part, exact",
    "newton_schulz": "Gram part, Newton-Schulz",
    "rotation": "rotation alone",
}


def measure() -> xr.DataTree:
    """What one whitened step does to the Gram of a random layer, in both precisions."""
    import optax

    found = {}
    for dtype in (jnp.float32, jnp.float64):
        with jax.enable_x64(True), jax.default_matmul_precision("highest"):
            keys = jax.random.split(jax.random.key(0), 2)
            weight, gradient = (jax.random.normal(key, (256, 256), dtype) for key in keys)
            whitened = gram_whitening(optax.sgd(0.1))
            state = whitened.init(weight)
            step, _ = whitened.update(gradient, state, weight)
            still, _ = whitened.update(0.0 * gradient, state, weight)
            wanted, after = weight - 0.1 * gradient, weight + step
            gap = jnp.max(jnp.abs(after.T @ after - wanted.T @ wanted))
            name = jnp.dtype(dtype).name
            found[f"gap_{name}"] = float(gap / jnp.max(jnp.abs(wanted.T @ wanted)))
            found[f"still_{name}"] = float(jnp.max(jnp.abs(still)) / jnp.max(jnp.abs(weight)))
    return xr.DataTree(xr.Dataset(found))


def draw(trees: Sequence[xr.DataTree]) -> Figure:
    """Accuracy held out and loss over the steps."""
    runs = Runs.of(trees[0])
    figure = new_figure(9.6, 3.4)
    left, right = figure.subplots(1, 2)
    dress(left, "Accuracy held out", "step", "")
    dress(right, "Loss", "step", "")
    right.set_yscale("log")
    for name, colour in colours_of(NAMES).items():
        chosen = runs.where(**{"scheme.whitening": name})
        for axes, record in ((left, "heldout_accuracy"), (right, "loss")):
            plot_band(axes, chosen.steps(), chosen.read(record, None), colour, NAMES[name])
    left.legend(**LEGEND, loc="lower right")
    return figure


@claim(
    "features-whitening",
    source="2605.06258",
    statement="steps reduced to what moves the weight Grams train as well as the steps themselves",
    configs=("features-whitening",),
    records=("loss", "heldout_accuracy"),
    draw=draw,
    measure=measure,
)
def compare(trees: Sequence[xr.DataTree]) -> list[Row]:
    """Accuracies held out, the control, and the Gram after one step."""
    runs = Runs.of(trees[0])
    means = {}
    rows = []
    for name, theirs in ELSEWHERE.items():
        found = runs.where(**{"scheme.whitening": name}).read("heldout_accuracy")
        means[name] = float(np.mean(found))
        what = f"accuracy held out, {NAMES[name]}"
        rows.append(Row(what, f"elsewhere {theirs:.3f}", f"{means[name]:.4f}", None))
    gap = abs(means["svd"] - means["none"])
    rows.append(below("between exact and plain steps", gap, 0.015))
    rows.append(above("exact over rotation alone", means["svd"] - means["rotation"], 0.1))
    loss = [
        float(np.mean(runs.where(**{"scheme.whitening": name}).read("loss")))
        for name in ("none", "svd", "rotation")
    ]
    told_loss = ", ".join(map(told, loss))
    rows.append(
        Row("loss: plain, exact, rotation alone", "elsewhere 0.045, -, 1.92", told_loss, None)
    )
    step = trees[1].to_dataset()
    # rounding of sums of 256 products and of a singular value decomposition
    for name, bound in (("float32", 1e-5), ("float64", 1e-12)):
        rows.append(below(f"Gram after an exact step, {name}", step[f"gap_{name}"], bound))
        rows.append(
            below(f"step for no gradient over weights, {name}", step[f"still_{name}"], bound)
        )
    return rows
