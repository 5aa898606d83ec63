import subprocess
import sys

import numpy as np
import pytest

from gramdyn.report import summary_rows
from gramdyn.report.cells import cells_of, count_runs
from gramdyn.report.roles import Roles, as_number, choose_roles, extreme_cells, value_title
from gramdyn.store import open

KEYS = {"width", "depth", "runs", "failed", "missing", "loss_start", "loss_end", "loss_ratio"}


def test_rows_against_the_raw_arrays(tree):
    rows = summary_rows(tree)
    assert [(row["width"], row["depth"]) for row in rows] == [(4, 1), (4, 2), (8, 1), (8, 2)]
    for row in rows:
        data = tree[f"width-{row['width']}_depth-{row['depth']}"]
        loss = data["loss"].values.astype(np.float64)
        assert (row["runs"], row["failed"], row["missing"]) == (3, 0, 0)
        assert row["loss_end"] == np.median(loss[:, -1])
        assert row["loss_ratio"] == np.median(loss[:, -1] / loss[:, 0])
        assert row["flips"] == np.median(data["flips"].values.sum(axis=(1, 2)))
        top = data["top_eigenvalues"].values.astype(np.float64)
        assert row["top_eigenvalue_start"] == np.median(top[:, 0, 0])
        moved = data["kernel_movement"].values.astype(np.float64)
        assert row["kernel_movement"] == pytest.approx(np.mean(moved[:, -1]), rel=1e-14)
        assert row["step_size"] == np.median(data["step_size"].values)


def test_rows_are_plain_data(tree):
    values = [value for row in summary_rows(tree) for value in row.values()]
    assert {type(value) for value in values} <= {int, float, str, type(None)}


def test_what_was_not_recorded_is_none(made):
    rows = summary_rows(made(more=()).tree())
    assert set(rows[0]) >= KEYS
    assert all(row["flips"] is None and row["top_eigenvalue_end"] is None for row in rows)


def test_failed_runs_are_counted_and_left_out(made):
    tree = made(widths=(8,), depths=(1,), seeds=3).tree()
    tree["w8_d1"]["status"][0] = 2
    tree["w8_d1"]["loss"][0, 1:] = np.nan
    (row,) = summary_rows(tree)
    assert (row["runs"], row["failed"]) == (3, 1)
    assert row["loss_end"] == np.median(tree["w8_d1"]["loss"].values[1:, -1])


def test_runs_not_computed_yet_are_missing(made):
    tree = made(widths=(8,), depths=(1,), seeds=3).tree()
    tree["w8_d1"]["status"][1:] = -1
    (row,) = summary_rows(tree)
    assert (row["runs"], row["failed"], row["missing"]) == (1, 0, 2)
    assert count_runs(cells_of(tree)) == {"ok": 1, "failed": 0, "missing": 2}


def test_a_sweep_that_diverged_in_part(diverged):
    rows = summary_rows(open(diverged))
    assert len(rows) == 6
    for row in rows:
        failed = row["scheme.step_size"] == 1e6
        assert row["failed"] == (2 if failed else 0)
        assert (row["loss_end"] is None) == failed


def test_colour_is_the_width_and_panels_the_depth(tree):
    assert choose_roles(cells_of(tree)) == Roles("width", "depth", ())


def test_colour_is_the_numeric_axis_with_most_values(diverged):
    roles = choose_roles(cells_of(open(diverged)))
    assert roles == Roles("scheme.step_size", "weight_scale", ())


def test_seeds_of_the_data_are_repeats_too(made):
    tree = made(widths=(8,), depths=(1,), seeds=4).tree()
    node = tree["w8_d1"].to_dataset().assign_coords({"task.seed": ("run", np.arange(4))})
    tree["w8_d1"] = node
    (cell,) = cells_of(tree)
    assert cell.n_runs == 4


def test_the_narrowest_and_the_widest_of_the_deepest(tree):
    narrow, wide = extreme_cells(cells_of(tree), "layer_kernels")
    assert (narrow.place["width"], wide.place["width"]) == (4, 8)
    assert narrow.place["depth"] == wide.place["depth"] == 2


@pytest.mark.parametrize(
    ("value", "number"), [(3, 3.0), ("relative: 0.5", 0.5), ("relu", None), (True, None)]
)
def test_numbers_among_the_values_of_an_axis(value, number):
    assert as_number(value) == number


@pytest.mark.parametrize(
    ("value", "told"),
    [(5, "5"), (10808.0, "10808"), (1.23456e-7, "1.235e-07"), ("relative: 2", "relative 2")],
)
def test_values_in_words(value, told):
    assert value_title(value) == told


def test_the_table_needs_no_plotting_library():
    code = (
        "import gramdyn.report, gramdyn.report.table, sys; "
        "print([m for m in ('plotly', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
