"""How claims are tested: they hold, they draw, and a spoilt record makes a row fail."""

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from gramdyn.experiments import CLAIMS, reproduce
from gramdyn.experiments.reproduce import _results

Spoil = tuple[int, str, Callable[[Any], Any] | None]


def spoilt(tree, name, change):
    """The results with one record changed; of the first group alone where nothing is said how."""
    tree = tree.copy(deep=True)
    nodes = [node for node in tree.children.values() if name in node.data_vars]
    for node in nodes if change else nodes[:1]:
        change_one = change or (lambda x: x + 1e-6)
        node[name] = node[name].copy(data=change_one(np.asarray(node[name])))
    return tree


def check_claim(name, folder, changes, spoil: Spoil):
    """Every row holds, the figure shows something, and a spoilt record makes a row fail.

    Args:
        name: The claim.
        folder: Where it runs.
        changes: Keys set in its configurations.
        spoil: Which result, which of its arrays, and what becomes of it.
    """
    outcome = reproduce(name, folder, changes=changes)
    assert outcome.figure.stat().st_size > 10_000
    assert [row for row in outcome.rows if row.holds is False] == []
    assert sum(row.holds is True for row in outcome.rows) >= 2
    claim, (place, record, change) = CLAIMS[name], spoil
    trees = [_results(where) for where in outcome.folders]
    if claim.measure is not None:
        trees.append(xr.open_datatree(folder / "measured", engine="zarr", consolidated=False))
    assert not any(row.holds is False for row in claim.compare(trees))
    trees[place] = spoilt(trees[place].load(), record, change)
    assert any(row.holds is False for row in claim.compare(trees))
