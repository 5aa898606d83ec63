"""Claims: their sweeps end to end, and comparisons that can fail."""

import re

import numpy as np
import pytest
import xarray as xr

from gramdyn import InputError
from gramdyn.experiments import CLAIMS, find_claim, reproduce
from gramdyn.experiments.numbers import by_axis, quantiles, spread, told
from gramdyn.experiments.reproduce import config_file
from gramdyn.plan import load_config

STEPS = np.array([0, 10, 20])


def tree_of(nodes, **config):
    """Results as the store gives them: from (axis, value) to records of (dims, array)."""
    made = {}
    for (axis, value), records in nodes.items():
        runs = len(next(iter(records.values()))[1])
        data = xr.Dataset({name: xr.DataArray(a, dims=d) for name, (d, a) in records.items()})
        made[f"{axis}-{value}"] = data.assign_coords(
            {
                axis: ("run", np.full(runs, value)),
                "status": ("run", np.zeros(runs, int)),
                "step": STEPS,
            }
        )
        if "closure" in data.dims:
            names = ["exact"] if data.sizes["closure"] == 1 else list(ERRORS)
            made[f"{axis}-{value}"] = made[f"{axis}-{value}"].assign_coords(closure=names)
    found = xr.DataTree.from_dict(made)
    found.attrs = {"config": config}
    return found


def constant(value, *shape):
    """An array that grows to a value at the last saved step, 3 runs of which one differs a bit."""
    runs = np.array([1.0, 1.0, 1.01]).reshape(3, *[1] * (len(shape) + 1))
    grown = np.linspace(0.0, 1.0, len(STEPS))
    return runs * np.broadcast_to(value, shape)[None, ..., None] * grown


ERRORS = {"flips_omitted": 0.035, "frozen": 0.06, "dropped": 0.23}


def closure_tree(width, depths, factor=1.0, exact=1e-15):
    from gramdyn.experiments.closure_depth import REFERENCE

    nodes = {}
    for depth in depths:
        known = REFERENCE.get((width, depth))
        values = np.array([np.mean(known[n]) if known else exact for n in ERRORS])
        values[0] *= factor if depth > 1 else 1.0
        error = constant(values, len(ERRORS))
        nodes["depth", depth] = {"closure_error": (("run", "closure", "step"), error)}
    return tree_of(nodes, network={"width": width})


def closure_trees(**broken):
    return [closure_tree(24, (1, 2, 3, 4), **broken), closure_tree(512, (2, 3, 4))]


def gap_tree(name, depths, gap):
    nodes = {}
    for depth in depths:
        nodes["depth", depth] = {
            name: (("run", "closure", "step"), constant(gap, 1)),
            "flips": (("run", "hidden", "step"), constant(7.0, depth)),
        }
    return tree_of(nodes, network={"width": 8}, task={"n_samples": 4})


def share_tree(carried=0.5, leaked=0.0):
    nodes = {}
    for depth in (1, 2, 3, 4):
        layer = np.arange(1, depth + 1)
        free = {
            "transport_share": layer == 1,
            "pullback_share": layer > depth - 2,
            "flip_current": layer == depth,
        }
        nodes["depth", depth] = {
            name: (("run", "hidden", "step"), constant(np.where(none, leaked, carried), depth))
            for name, none in free.items()
        }
    return tree_of(nodes, network={"readout": "fixed"})


def width_tree(names, slope):
    nodes = {}
    for width in (64, 256, 1024):
        value = 3.0 * width**slope
        found = {name: (("run", "step"), constant(value) + 0.01 * value) for name in names}
        if "limit_distance" in names:  # that one is read at the start
            found["limit_distance"] = (("run", "step"), np.full((3, len(STEPS)), value))
        nodes["width", width] = found
    return tree_of(nodes)


LIMITS = ("limit_distance", "limit_error", "linear_error", "loss", "limit_loss")
# What a claim's results look like where it holds, and where one number is off.
CASES = {
    "closure-one-layer": (
        [gap_tree("field_gap", (1,), 1e-14)] * 2,
        [gap_tree("field_gap", (1,), 1e-6), gap_tree("field_gap", (1,), 1e-14)],
    ),
    "exact-fields": (
        [gap_tree("residual_gap", (1, 2, 3, 4), 1e-14)],
        [gap_tree("residual_gap", (1, 2, 3, 4), 1e-6)],
    ),
    "closure-depth": (closure_trees(), closure_trees(factor=20.0)),
    "operators-depth": ([share_tree()], [share_tree(leaked=1e-9)]),
    "lazy-limit": (
        [width_tree(["kernel_movement"], -0.6)],
        [width_tree(["kernel_movement"], -0.2)],
    ),
    "infinite-width": ([width_tree(LIMITS, -0.5)], [width_tree(LIMITS, -1.0)]),
}


def test_every_claim_has_a_case_a_source_and_its_configurations():
    # Other families of claims have cases in files of their own.
    apart = ("features-", "linear-", "planted-", "structured-", "vae-")
    assert CASES.keys() == {name for name in CLAIMS if not name.startswith(apart)}
    for claim in CLAIMS.values():
        assert re.fullmatch(r"arXiv \d{4}\.\d{4,5}|derived here", claim.told_source)
        for name in claim.configs:
            assert load_config(config_file(name))


@pytest.mark.parametrize("name", CASES)
def test_a_claim_holds_where_its_numbers_do_and_fails_where_one_is_off(name):
    good, bad = CASES[name]
    assert all(row.holds is not False for row in CLAIMS[name].compare(good))
    assert any(row.holds for row in CLAIMS[name].compare(good))
    assert any(row.holds is False for row in CLAIMS[name].compare(bad))


@pytest.mark.parametrize("name", CASES)
def test_its_figure_shows_something(name):
    figure = CLAIMS[name].draw(CASES[name][0])
    assert figure.axes
    assert all(axes.lines for axes in figure.axes)
    figure.canvas.draw()  # nothing warns: warnings are errors here


def test_float32_is_judged_by_the_median():
    for precision, gap, holds in (("float64", 1e-6, False), ("float32", 1e-3, True)):
        tree = gap_tree("residual_gap", (1, 2), gap)
        tree.attrs["precision"] = precision
        assert all(row.holds is holds for row in CLAIMS["exact-fields"].compare([tree]))


def test_operators_must_be_at_work_where_the_law_has_one():
    rows = CLAIMS["operators-depth"].compare([share_tree(carried=0.0)])
    assert sum(row.holds is False for row in rows) == 15  # 6 for z, 3 for q, 6 for flips


def test_closure_rows_without_reference_are_information():
    tree = closure_tree(24, (1, 2))
    tree.attrs["config"]["network"]["width"] = 32
    rows = CLAIMS["closure-depth"].compare([tree])
    assert [row.holds for row in rows] == [True, None, None, None, True, True]


SMALL = ["sweep.seed={count: 2}", "sweep.task.seed={count: 1}", "scheme.n_steps=40"]


def test_reproducing_runs_compares_draws_and_goes_on(tmp_path):
    changes = [*SMALL, "sweep.network.depth=[1, 2]", "record.every=20"]
    outcome = reproduce("exact-fields", tmp_path, changes=changes)
    assert outcome.holds
    assert [row.what.split(":")[0] for row in outcome.rows] == ["depth 1", "depth 2"]
    assert outcome.figure.stat().st_size > 10_000
    again = reproduce("exact-fields", tmp_path, changes=changes)
    assert again.rows == outcome.rows  # the same folder, nothing computed again


def test_an_unknown_claim_or_change_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(InputError, match="Unknown claim `closure-dept`; did you mean `closure-d"):
        find_claim("closure-dept")
    with pytest.raises(InputError, match="no_such_key"):
        reproduce("lazy-limit", tmp_path / "out", changes=["network.no_such_key=1"])
    assert not (tmp_path / "out").exists()


def test_numbers_by_axis_leave_failed_runs_out():
    tree = tree_of({("depth", 1): {"loss": (("run", "step"), constant(2.0))}})
    tree["depth-1"]["status"][1] = 2
    found = by_axis(tree, "loss", "depth")
    np.testing.assert_array_equal(found[1], [2.0, 2.02])


def test_quantiles_of_infinite_errors_are_values_of_runs():
    values = np.array([1.0, 2.0, np.inf])
    np.testing.assert_array_equal(quantiles(values, (0.0, 0.5, 1.0)), [1.0, 2.0, np.inf])
    assert spread(values).endswith("3 runs)")
    assert told(-0.00012) == "\N{MINUS SIGN}0.00012"


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", CASES)
def test_the_claim_itself(name, tmp_path):
    outcome = reproduce(name, tmp_path)
    assert outcome.holds, "\n".join(map(str, outcome.rows))


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("exact-fields", "record.of=[loss]", "reads residual_gap, flips, exact, which the changed"),
        (
            "closure-depth",
            "record.of=[{name: closure_error, closures: [frozen]}]",
            "reads flips_omitted, dropped, which the changed",
        ),
    ],
)
def test_a_change_that_leaves_out_what_a_claim_reads_is_refused(name, change, told, tmp_path):
    with pytest.raises(InputError, match=told):
        reproduce(name, tmp_path / "out", changes=[*SMALL, change])
    assert not (tmp_path / "out").exists()


def test_where_no_run_comes_through_there_is_one_line(tmp_path):
    changes = [*SMALL, "scheme.step_size=1000", "sweep.network.depth=[2]", "record.every=20"]
    with pytest.raises(InputError, match=r"No run of group .* came through"):
        reproduce("exact-fields", tmp_path, changes=changes)


def test_one_width_has_no_slope():
    tree = width_tree(LIMITS, -0.5)
    for name in ("width-256", "width-1024"):
        del tree[name]
    rows = CLAIMS["infinite-width"].compare([tree])
    assert [row.measured for row in rows[1::2]] == ["one width: no slope"] * 3
    assert all(row.holds is None for row in rows)
    assert CLAIMS["infinite-width"].draw([tree]).axes


def test_with_a_trained_readout_one_more_layer_has_an_operator():
    tree = share_tree()
    tree.attrs["config"]["network"] = {"readout": "trained"}
    rows = CLAIMS["operators-depth"].compare([tree])
    # The last layer but one of depth 2, 3, 4 must now be above 0, and this tree has 0 there.
    assert sum(row.holds is False for row in rows) == 3
