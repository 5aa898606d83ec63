"""Planted maps in the report: seeds that learn, events, losses and neurons, and the summary."""

import numpy as np
import pytest
import scipy.stats
from support.folders import run_as_from_the_terminal

from gramdyn.report import summary_rows
from gramdyn.report.cells import Cell, Node, cells_of
from gramdyn.report.events import draw_events
from gramdyn.report.neurons import draw_gains, draw_target_angles
from gramdyn.report.page import draw_pictures
from gramdyn.report.population import draw_population_loss
from gramdyn.report.success import draw_success, draw_success_phase, wilson_interval

CONFIG = """
task: {kind: planted_map, n_inputs: 10}
network: {width: 2, depth: 1, readout: trained, init: chi}
coordinates: thin
loss: {reduction: mean}
scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 400}
precision: float64
record: {every: 50, of: [population_loss, success, phases, gains, target_angles]}
runtime: {devices: 1}
sweep:
  seed: {count: 9}
  task.n_inputs: [10, 1000]
  network.weight_scale: [1.0e-6, 1.0e-3, 0.1]
"""
PICTURES = {"success", "success_phase", "events", "population_loss", "gains", "target_angles"}
DRAWERS = (
    *(draw_success, draw_success_phase, draw_events),
    *(draw_population_loss, draw_gains, draw_target_angles),
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Two numbers of inputs, three scales, nine seeds of which some learn the map."""
    folder = tmp_path_factory.mktemp("planted") / "run"
    return run_as_from_the_terminal(CONFIG, folder)


def raw(tree, record, **place):
    """A record of the runs at a place, from the store itself."""
    data = tree["runs"].to_dataset()
    here = np.ones(data.sizes["run"], bool)
    for name, value in place.items():
        here &= data[name].values == value
    return data[record].values[here]


def place_of(row):
    return {name: row[name] for name in ("task.n_inputs", "weight_scale")}


def failing(cell, lost):
    """The cell with some of its runs failed; `lost` are places among them."""
    data = cell.node.data.copy()
    status = data["status"].values.copy()
    status[cell.runs[lost]] = 1
    return Cell(cell.place, Node("runs", data.assign_coords(status=("run", status))), cell.runs)


@pytest.mark.parametrize(("count", "total"), [(0, 5), (3, 20), (20, 20), (1, 1), (500, 1000)])
def test_wilson_intervals_are_those_of_scipy(count, total):
    wanted = scipy.stats.binomtest(count, total).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(wilson_interval(count, total), wanted, rtol=1e-13, atol=1e-15)


def test_shares_are_those_of_the_store_with_an_interval_around(planted):
    picture = draw_success(cells_of(planted))
    assert len(picture.rows) == 6
    for row in picture.rows:
        learnt = raw(planted, "success", **place_of(row))[:, -1]
        assert (row["learnt"], row["runs"]) == (learnt.sum(), 9)
        assert row["share"] == learnt.mean()
        assert 0 <= row["low"] <= row["share"] <= row["high"] <= 1
    shares = [row["share"] for row in picture.rows]
    assert 0 < min(shares) < 1
    lines = picture.figure.data
    assert [line.name for line in lines] == ["10", "1000"]
    for line in lines:
        rows = sorted(
            (r for r in picture.rows if str(r["task.n_inputs"]) == line.name),
            key=lambda r: r["weight_scale"],
        )
        np.testing.assert_array_equal(line.x, [1e-6, 1e-3, 0.1])
        np.testing.assert_array_equal(line.y, [r["share"] for r in rows])
        tops = np.asarray(line.y) + np.asarray(line.error_y.array)
        feet = np.asarray(line.y) - np.asarray(line.error_y.arrayminus)
        np.testing.assert_allclose(tops, [r["high"] for r in rows], rtol=1e-15)
        np.testing.assert_allclose(feet, [r["low"] for r in rows], rtol=0, atol=1e-16)
    layout = picture.figure.layout
    assert (layout.xaxis.title.text, layout.xaxis.type) == ("weight scale", "log")
    assert layout.legend.title.text == "inputs d"


def test_two_numeric_axes_make_a_plane_of_shares(planted):
    picture = draw_success_phase(cells_of(planted))
    (heat,) = [trace for trace in picture.figure.data if trace.type == "heatmap"]
    wanted = [
        [
            raw(planted, "success", **{"task.n_inputs": d, "weight_scale": scale})[:, -1].mean()
            for scale in (1e-6, 1e-3, 0.1)
        ]
        for d in (10, 1000)
    ]
    np.testing.assert_array_equal(np.asarray(heat.z, float), wanted)
    axis = picture.figure.layout.coloraxis
    assert (axis.cmin, axis.cmax) == (0, 1)
    assert picture.title == "Seeds that learn the map over weight scale and inputs d"


def test_failed_runs_have_not_learnt_and_all_failed_is_none_learnt(planted):
    cells = cells_of(planted)
    won = np.flatnonzero(cells[0].read("success")[:, -1])
    one = failing(cells[0], won[:1])
    gone = failing(cells[1], np.arange(9))
    rows = draw_success([one, gone]).rows
    assert [(row["learnt"], row["runs"]) for row in rows] == [(len(won) - 1, 9), (0, 9)]
    assert rows[1]["share"] == rows[1]["low"] == 0
    assert 0 < rows[1]["high"] < 0.5
    # Nothing else can be said of runs that failed.
    rest = [draw([failing(cell, np.arange(9)) for cell in cells]) for draw in DRAWERS[2:]]
    assert rest == [None] * 4


def test_events_are_quantiles_over_seeds_of_the_first_steps(planted):
    picture = draw_events(cells_of(planted))
    assert len(picture.rows) == 6 * 4
    names = ["aligned", "plateau", "grown", "refined"]
    for row in picture.rows:
        found = raw(planted, "phase_steps", **place_of(row))[:, names.index(row["event"]), -1]
        ordered = np.sort(found)
        assert row["median"] == ordered[4]
        assert ordered[0] <= row["q10"] <= ordered[4] <= row["q90"] <= ordered[8]
    lines = [t for t in picture.figure.data if t.mode == "lines+markers"]
    assert len(lines) == 4 * 2
    drawn = np.concatenate([np.asarray(line.y, float) for line in lines])
    told = np.array([row["median"] for row in picture.rows])
    kept = told[np.isfinite(told) & (told > 0)]
    np.testing.assert_array_equal(np.sort(drawn[np.isfinite(drawn)]), np.sort(kept))


def test_losses_are_medians_whose_parts_add_up(planted):
    picture = draw_population_loss(cells_of(planted))
    # A colour a scale, at the most inputs.
    assert {row["task.n_inputs"] for row in picture.rows} == {1000}
    for part, record in (("whole", "population_loss"), ("odd", "odd_loss"), ("even", "even_loss")):
        for scale in (1e-6, 1e-3, 0.1):
            place = {"task.n_inputs": 1000, "weight_scale": scale}
            wanted = np.median(raw(planted, record, **place), axis=0)
            rows = [r for r in picture.rows if (r["part"], r["weight_scale"]) == (part, scale)]
            np.testing.assert_array_equal([r["median"] for r in rows], wanted)


@pytest.mark.parametrize(
    ("draw", "record"), [(draw_gains, "gains"), (draw_target_angles, "target_angles")]
)
def test_neurons_are_lines_of_single_runs_at_the_smallest_start(planted, draw, record):
    picture = draw(cells_of(planted))
    found = raw(planted, record, **{"task.n_inputs": 10, "weight_scale": 1e-6})
    assert {row["seed"] for row in picture.rows} == set(range(6))
    for seed in range(6):
        for neuron in (1, 2):
            rows = [r for r in picture.rows if (r["seed"], r["neuron"]) == (seed, neuron)]
            np.testing.assert_array_equal([r["median"] for r in rows], found[seed, neuron - 1])


def test_all_are_on_the_page_and_the_table_tells_what_was_learnt(planted):
    assert {picture.name for picture in draw_pictures(planted)} >= PICTURES
    for row in summary_rows(planted):
        place = place_of(row)
        assert row["learnt"] == raw(planted, "success", **place)[:, -1].mean()
        losses = np.median(raw(planted, "population_loss", **place), axis=0)
        assert (row["population_loss_start"], row["population_loss_end"]) == (losses[0], losses[-1])


def test_without_the_records_there_is_no_picture_and_no_column(tree):
    assert [draw(cells_of(tree)) for draw in DRAWERS] == [None] * 6
    assert "learnt" not in summary_rows(tree)[0]


def test_at_one_place_there_is_no_axis_but_neurons_and_losses(planted):
    one = cells_of(planted)[:1]
    assert [draw(one) is None for draw in DRAWERS] == [True, True, True, False, False, False]
