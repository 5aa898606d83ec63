"""Modes of a linear target: over time, when each is learned, how many at the end."""

import numpy as np
import pytest

from gramdyn.plan import parse_config
from gramdyn.report import summary_rows
from gramdyn.report.cells import cells_of
from gramdyn.report.modes import draw_mode_times, draw_modes
from gramdyn.report.page import draw_pictures
from gramdyn.store import open
from gramdyn.sweep import run_sweep

CONFIG = """
task: {kind: linear_map, n_inputs: 3, n_outputs: 2, singular_values: [2, 1]}
network: {width: 4, depth: 1, activation: linear, readout: trained, parametrization: unscaled}
coordinates: moments
scheme: {kind: gradient_flow, method: rk4, step_size: 0.05, n_steps: 200}
record: {every: 20, of: [loss, learned_modes, mode_times]}
runtime: {devices: 1}
sweep:
  seed: {count: 5}
  network.width: [3, 5]
  network.depth: [1, 2]
  network.weight_scale: [0.01, 0.1, 0.5]
"""


@pytest.fixture(scope="module")
def modes(tmp_path_factory):
    """Two widths, depths, three scales; three layers learn nothing in time from small starts."""
    folder = tmp_path_factory.mktemp("modes") / "run"
    run_sweep(parse_config(CONFIG), folder)
    return open(folder)


def test_times_are_quantiles_over_seeds_and_lines_end_where_half_did_not_learn(modes):
    cells = cells_of(modes)
    picture = draw_mode_times(cells)
    rows = {(r["width"], r["depth"], r["weight_scale"], r["mode"]): r for r in picture.rows}
    assert len(rows) == 2 * 2 * 3 * 2
    for cell in cells:
        raw = cell.read("mode_times")[:, :, -1]
        for mode in (1, 2):
            row = rows[(*(cell.place[k] for k in ("width", "depth", "weight_scale")), mode)]
            ordered = np.sort(raw[:, mode - 1])
            assert row["median"] == ordered[2]
            assert ordered[0] <= row["q10"] <= ordered[2] <= row["q90"] <= ordered[4]
    assert rows[5, 2, 0.01, 1]["median"] == np.inf
    lines = [t for t in picture.figure.data if t.mode == "lines+markers"]
    assert len(lines) == 2 * 2 * 2
    drawn = np.concatenate([np.asarray(line.y, float) for line in lines])
    told = np.array([row["median"] for row in picture.rows])
    np.testing.assert_array_equal(np.sort(drawn[np.isfinite(drawn)]), np.sort(told[told < np.inf]))
    assert picture.figure.layout.xaxis.title.text == "weight scale"


def test_modes_over_time_are_medians(modes):
    picture = draw_modes(cells_of(modes))
    (cell,) = [
        c for c in cells_of(modes) if c.place == {"width": 5, "depth": 2, "weight_scale": 0.01}
    ]
    wanted = np.median(cell.read("learned_modes")[:, 0], axis=0)
    found = [row["median"] for row in picture.rows if row["depth"] == 2 and row["mode"] == 1]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    # The smallest start is drawn, in which nothing is learned at first.
    assert abs(found[0]) < 0.01


def test_both_are_on_the_page_and_the_table_counts_them(modes):
    names = [picture.name for picture in draw_pictures(modes)]
    assert {"mode_times", "learned_modes"} <= set(names)
    row = next(r for r in summary_rows(modes) if (r["depth"], r["weight_scale"]) == (1, 0.5))
    assert row["modes_learned"] == 2


def test_without_the_records_or_an_axis_there_is_no_picture(modes, tree):
    assert draw_modes(cells_of(tree)) is None
    assert draw_mode_times(cells_of(tree)) is None
    assert draw_mode_times(cells_of(modes)[:1]) is None
