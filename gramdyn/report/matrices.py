"""Pictures: layer kernels and co-activation of single runs, sorted by class."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from gramdyn.report.cells import Cell
from gramdyn.report.classes import classes_of
from gramdyn.report.heat import Block, draw_grid
from gramdyn.report.picture import Picture
from gramdyn.report.roles import extreme_cells, place_title, varying

_SHARED = (
    "Samples are sorted by class, thin lines part the classes. Left: at the first saved step. "
    "Right: at the last, on the same colours; 2 % of the entries may lie beyond them. "
)


def over_outputs(
    kernels: Num[np.ndarray, "2 layers n C n C"],
) -> Num[np.ndarray, "2 layers n n"]:
    """Kernels with the outputs averaged over: mean of K[mu, c, nu, c] over c."""
    return np.einsum("tlmcnc->tlmn", kernels) / kernels.shape[3]


def draw_layer_kernels(cells: Sequence[Cell], manifest: dict[str, Any]) -> Picture | None:
    """Layer kernels of the first seed, for the narrowest and the widest of the deepest networks."""
    chosen = extreme_cells(cells, "layer_kernels")
    if not chosen:
        return None
    blocks = [_block(cell, cells, "layer_kernels", manifest, over_outputs) for cell in chosen]
    several = chosen[0].node.data.sizes["output"] > 1
    return Picture(
        name="layer_kernels",
        title="Kernel of each layer",
        text=_SHARED + "One run each, the first seed. Blocks along the diagonal are samples of one "
        "class that move each other." + (" Averaged over the outputs." if several else ""),
        law="<i>K</i><sup>l</sup>[&mu;<i>c</i>, &nu;<i>e</i>] = "
        "<i>G</i><sup>l&minus;1</sup>[&mu;, &nu;] · "
        "<i>Q</i><sup>l</sup>[&mu;<i>c</i>, &nu;<i>e</i>]: the kernel of a layer is the Gram of "
        "what enters it times the Gram of its sensitivities.",
        figure=draw_grid(blocks, _layer_titles(blocks, "layer")),
        rows=_rows(chosen, blocks, "layer"),
    )


def draw_coactivation(cells: Sequence[Cell], manifest: dict[str, Any]) -> Picture | None:
    """Co-activation of the first seed, for the same two networks."""
    chosen = extreme_cells(cells, "coactivation")
    if not chosen:
        return None
    blocks = [_block(cell, cells, "coactivation", manifest) for cell in chosen]
    return Picture(
        name="coactivation",
        title="Co-activation",
        text=_SHARED + "One run each, the first seed. An entry is the share of a hidden layer's "
        "neurons that are active on both samples.",
        law="For ReLU the Gram of the sensitivities is a co-activation weighted by what comes "
        "after: training changes it only by mask flips and by the layers above.",
        figure=draw_grid(blocks, _layer_titles(blocks, "hidden layer")),
        rows=_rows(chosen, blocks, "hidden"),
    )


def kernel_block(cell: Cell, manifest: dict[str, Any]) -> Block:
    """Layer kernels of the first run of a cell."""
    return _block(cell, [cell], "layer_kernels", manifest, over_outputs)


def _block(
    cell: Cell,
    cells: Sequence[Cell],
    name: str,
    manifest: dict[str, Any],
    reduce: Callable[[np.ndarray], np.ndarray] = lambda matrices: matrices,
) -> Block:
    classes = classes_of(cell, manifest)
    matrices: Float[np.ndarray, "2 layers n n"] = classes.sort(reduce(cell.ends(name)))
    told = [place_title(cell.place, varying(cells)), f"seed {cell.first_seed}"]
    steps = cell.steps
    title = ", ".join(part for part in told if part)
    return Block(title, matrices, classes, (int(steps[0]), int(steps[-1])))


def _layer_titles(blocks: list[Block], word: str) -> list[str]:
    count = max(block.matrices.shape[1] for block in blocks)
    return [f"{word} {i + 1}" for i in range(count)]


def _rows(cells: list[Cell], blocks: list[Block], word: str) -> list[dict[str, Any]]:
    pairs = zip(cells, blocks, strict=True)
    return [row for cell, block in pairs for row in _of(cell, block, word)]


def _of(cell: Cell, block: Block, word: str) -> list[dict[str, Any]]:
    place = {**cell.place, "seed": cell.first_seed}
    samples = block.classes.order.tolist()
    starts, ends = block.matrices[0].tolist(), block.matrices[1].tolist()
    return [
        {**place, word: layer + 1, "sample": one, "sample_2": two, "start": s, "end": e}
        for layer, (start, end) in enumerate(zip(starts, ends, strict=True))
        for one, row, row_end in zip(samples, start, end, strict=True)
        for two, s, e in zip(samples, row, row_end, strict=True)
    ]
