"""Feature learning in the report: linearity by layer, weight Grams, accuracy, from the store."""

import numpy as np
import pytest
from support.folders import run_as_from_the_terminal

from gramdyn.report.cells import cells_of
from gramdyn.report.features import draw_answers, draw_gram_gap, draw_linearity
from gramdyn.report.page import draw_pictures
from gramdyn.store import open

CONFIG = """
task: {kind: digits, classes: [0, 1, 2], n_samples: 20, n_heldout: 10, one_hot: true}
network: {width: 6, depth: 2, activation: gelu, readout: trained, bias: true}
coordinates: weights
loss: {kind: cross_entropy, reduction: mean}
scheme: {kind: gradient_descent, step_size: 0.5, n_steps: 20}
record: {every: 10, of: [loss, accuracy, heldout_accuracy, target_linearity, gram_virtual]}
runtime: {devices: 1, padding: never}
sweep:
  seed: {count: 3}
  network.depth: [1, 2]
"""
NAMES = {"accuracy", "target_linearity", "gram_gap"}


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """Two depths, three seeds."""
    folder = tmp_path_factory.mktemp("features") / "run"
    return run_as_from_the_terminal(CONFIG, folder)


def medians(tree, name, depth):
    """Medians over the seeds of one depth, steps last, from the store itself."""
    for node in tree.children.values():
        here = np.asarray(node["depth"]) == depth
        if here.any():
            return np.median(np.asarray(node[name])[here], axis=0)
    raise AssertionError(depth)


@pytest.mark.parametrize(
    ("draw", "record", "axis"),
    [(draw_linearity, "linearity", "hidden"), (draw_gram_gap, "gram_gap", "layer")],
)
def test_curves_are_medians_of_each_layer(features, draw, record, axis):
    picture = draw(cells_of(features))
    for depth in (1, 2):
        wanted = medians(features, record, depth)
        rows = [row for row in picture.rows if row["depth"] == depth]
        layers = list(dict.fromkeys(row[axis] for row in rows))
        assert len(layers) == len(wanted)
        for layer, values in zip(layers, wanted, strict=True):
            found = [row["median"] for row in rows if row[axis] == layer]
            np.testing.assert_allclose(found, values, rtol=1e-6)


def test_accuracies_are_those_of_both_sets(features):
    picture = draw_answers(cells_of(features))
    for samples, record in (("trained on", "accuracy"), ("held out", "heldout_accuracy")):
        found = [
            row["median"] for row in picture.rows if (row["samples"], row["depth"]) == (samples, 2)
        ]
        np.testing.assert_allclose(found, medians(features, record, 2), rtol=1e-6)


def test_they_are_on_the_page_and_only_where_recorded(features, finished):
    assert {picture.name for picture in draw_pictures(features)} >= NAMES
    assert not NAMES & {picture.name for picture in draw_pictures(open(finished))}
