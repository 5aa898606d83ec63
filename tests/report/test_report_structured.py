"""Structured layers in the report: condition, loss and accuracy over depth, from the store."""

import itertools

import numpy as np
import pytest
import xarray as xr
from support.folders import run_as_from_the_terminal

from gramdyn.report.cells import cells_of
from gramdyn.report.page import draw_pictures
from gramdyn.report.structured import draw_conditioning, draw_final_accuracy, draw_final_loss
from gramdyn.store import open

# Four programs.
CONFIG = """
task: {kind: spirals, n_samples: 12, n_inputs: 4, n_heldout: 9}
network: {kind: enriched, width: 5, depth: 1, activation: tanh, readout: trained}
coordinates: weights
loss: {reduction: mean}
scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 4}
record: {every: 4, of: [loss, heldout_accuracy, conditioning]}
precision: float64
runtime: {devices: 1}
sweep:
  seed: {count: 2}
  network.depth: [1, 2]
  network.pathway: [dense, circulant]
"""
NAMES = {"conditioning", "loss_by_depth", "accuracy_by_depth"}
DRAWN = [
    (draw_conditioning, "log_condition", 0),
    (draw_final_loss, "loss", -1),
    (draw_final_accuracy, "heldout_accuracy", -1),
]
AXES = ("width", "depth", "pathway", "scheme.step_size")
ISOMETRY, SEEDS = 1e-16, 3


@pytest.fixture
def made():
    """Two widths, depths, pathways, step sizes: free chains lose, isometries keep condition."""
    places = list(itertools.product((5, 6), (2, 30), ("dense", "orthogonal"), (0.1, 0.2)))
    rng = np.random.default_rng(0)
    return xr.DataTree.from_dict({f"g{i}": node(place, rng) for i, place in enumerate(places)})


def node(place, rng):
    depth, pathway = place[1:3]
    share = (1 + np.arange(SEEDS))[:, None]
    condition = 0.1 * depth * share if pathway == "dense" else np.full_like(share, ISOMETRY, float)
    later = rng.uniform(0.1, 0.9, (3, SEEDS, 1))
    records = {
        "log_condition": np.concatenate([condition, condition + later[0]], axis=1),
        "loss": np.concatenate([1 + 0 * later[1], later[1]], axis=1),
        "heldout_accuracy": np.concatenate([0 * later[2], later[2]], axis=1),
    }
    along = {name: np.full(SEEDS, value) for name, value in zip(AXES, place, strict=True)}
    along |= {"seed": np.arange(SEEDS), "status": np.zeros(SEEDS, int)}
    coords = {name: ("run", values) for name, values in along.items()}
    data = {name: (("run", "step"), values) for name, values in records.items()}
    return xr.Dataset(data, {**coords, "step": [0, 9]})


def raw(tree, record, **place):
    """A record of the runs at a place, from the store itself."""
    found = []
    for node in tree.children.values():
        here = np.ones(node.sizes["run"], bool)
        for name, value in place.items():
            here &= np.asarray(node[name]) == value
        found += list(np.asarray(node[record])[here])
    return np.asarray(found)


@pytest.mark.parametrize(("draw", "record", "time"), DRAWN)
def test_lines_are_medians_over_seeds(made, draw, record, time):
    picture = draw(cells_of(made))
    # The step size makes no difference at the start, so that picture has one line for both.
    assert len(picture.rows) == (8 if time == 0 else 16)
    for row in picture.rows:
        values = raw(made, record, **{name: row[name] for name in AXES})[:, time]
        assert len(values) == row["runs"] == SEEDS
        np.testing.assert_allclose(row["median"], np.median(values), rtol=1e-12)
    lines = {(trace.xaxis, trace.name) for trace in picture.figure.data if trace.name}
    assert len(lines) == (4 if time == 0 else 8)
    assert {trace.xaxis for trace in picture.figure.data} == {"x", "x2"}


def test_isometries_are_drawn_at_the_foot_and_dead_units_nowhere(made):
    for one in made.children.values():
        if one["pathway"][0] == "orthogonal" and one["depth"][0] == 30:
            one["log_condition"] = one["log_condition"] * np.inf
    picture = draw_conditioning(cells_of(made))
    lines = [trace for trace in picture.figure.data if trace.name == "orthogonal"]
    assert len(lines) == 2
    for line in lines:
        np.testing.assert_array_equal(line.y, [0.05, np.nan])
    # Bands too: an axis down to rounding would flatten all else.
    finite = [np.asarray(trace.y, float) for trace in picture.figure.data if trace.y is not None]
    assert min(np.nanmin(y) for y in finite if np.any(np.isfinite(y))) >= 0.05
    seen = {row["median"] for row in picture.rows if row["pathway"] == "orthogonal"}
    assert seen == {ISOMETRY, np.inf}


def test_an_axis_that_matters_at_the_start_has_lines_of_its_own(made):
    for one in made.children.values():
        one["log_condition"] = one["log_condition"] + one["scheme.step_size"]
    assert len(draw_conditioning(cells_of(made)).rows) == 16


def test_they_are_on_the_page_and_only_where_structures_differ(tmp_path, finished):
    tree = run_as_from_the_terminal(CONFIG, tmp_path / "run")
    pictures = {picture.name: picture for picture in draw_pictures(tree)}
    assert pictures.keys() >= NAMES
    for draw, record, time in DRAWN:
        for row in draw(cells_of(tree)).rows:
            place = {name: row[name] for name in ("depth", "pathway")}
            wanted = np.median(raw(tree, record, **place)[:, time])
            np.testing.assert_allclose(row["median"], wanted, rtol=1e-12)
    assert not NAMES & {picture.name for picture in draw_pictures(open(finished))}
