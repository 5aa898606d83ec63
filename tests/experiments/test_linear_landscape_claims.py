"""Claims on the landscape of deep linear networks: small runs, wrong results, the claims whole."""

from functools import cache

import numpy as np
import pytest
import xarray as xr

from gramdyn import InputError
from gramdyn.deep_linear import classify, follow, mode_solution, product, whole_map
from gramdyn.deep_linear.samples import FAMILIES, random_critical_point
from gramdyn.experiments import CLAIMS, reproduce
from gramdyn.experiments import linear_escape as escape_claim
from gramdyn.experiments import linear_plateaus as plateau_claim
from gramdyn.experiments import linear_saddles as saddle_claim
from gramdyn.experiments.linear_flows import flow_from, map_of, white_moments

MEASURED = ("linear-riccati", "linear-hessian", "linear-saddles", "linear-escape", "linear-data")
NAMES = ("linear-plateaus", "linear-modes", *MEASURED)
SIGMA = np.array([3.0, 2.0, 1.0])


@cache
def measured(name):
    """What a claim computes, at reduced size where the whole takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saddle_claim, "_POINTS", 8)
        patch.setattr(saddle_claim, "TABLE", saddle_claim.TABLE[::4])
        patch.setattr(escape_claim, "_STARTS", 2)
        patch.setattr(escape_claim, "DELTAS", (0.2, 0.1))
        patch.setattr(escape_claim, "DEPTHS", (2, 3))
        return CLAIMS[name].measure()


def rows_of(name, tree):
    """Rows of the claim for results of the reduced size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saddle_claim, "TABLE", saddle_claim.TABLE[::4])
        patch.setattr(escape_claim, "DEPTHS", (2, 3))
        return CLAIMS[name].compare([tree])


@pytest.mark.parametrize("name", MEASURED)
def test_what_is_computed_bears_the_claim_out(name):
    rows = rows_of(name, measured(name))
    assert all(row.holds is not False for row in rows), "\n".join(map(str, rows))
    assert sum(row.holds is True for row in rows) >= 5


# A node of the results, one of its arrays, and what is added to one entry of it.
SPOILS = [
    ("linear-riccati", "wide", "flow", 1e-6),
    ("linear-riccati", "rank_one", "exact", 1e-6),
    ("linear-hessian", "4-5-2", "closed", 1e-8),
    ("linear-hessian", "3-3-3-3", "dense", 1e-8),
    ("linear-saddles", "table", "level", 1e-6),
    ("linear-saddles", "table", "kind", -1),
    ("linear-saddles", "table", "least", 1e-3),
    ("linear-saddles", "table", "inertia", 1),
    ("linear-saddles", "table", "rank_order", 1),
    ("linear-saddles", "table", "order", 0.1),
    ("linear-saddles", "table", "coefficient", 0.1),
    ("linear-saddles", "random", "kind", 4),
    ("linear-saddles", "random", "order", 9),
    ("linear-saddles", "random", "least", 9.0),
    ("linear-escape", "onto-2", "loss", 1e-6),
    ("linear-escape", "off-3", "loss", 1e-6),
    ("linear-escape", "off-3", "learned", 1e-2),
    ("linear-escape", "off-2", "coefficient", 1e-2),
    ("linear-escape", "times-3", "found", 1e-2),
    ("linear-data", "3-3-3", "gradient", 1e-6),
    ("linear-data", "3-3-3", "loss", 1e-6),
    ("linear-data", "3-4-4-3", "drift_own", 1e-6),
]


@pytest.mark.parametrize(("name", "node", "array", "change"), SPOILS)
def test_one_wrong_number_makes_a_row_fail(name, node, array, change):
    tree = measured(name).copy(deep=True)
    values = tree[node][array].values
    # The first strict saddle of the random points, so that its kind and sign matter.
    place = (-1,) * values.ndim
    if node == "random":
        place = (int(np.flatnonzero(tree[node]["kind"].values == 2)[0]),)
    if node == "table" and array in ("order", "coefficient"):
        place = (int(np.flatnonzero(np.isfinite(values))[0]),)
    values[place] += change
    before, after = rows_of(name, measured(name)), rows_of(name, tree)
    assert all(row.holds is not False for row in before)
    assert any(row.holds is False for row in after)


@pytest.mark.parametrize(("array", "value"), [("same_inertia", False), ("drift_white", 0.0)])
def test_other_inertia_or_a_conserved_white_quantity_makes_a_row_fail(array, value):
    tree = measured("linear-data").copy(deep=True)
    tree["3-3-3"][array].values[0] = value
    assert any(row.holds is False for row in rows_of("linear-data", tree))


@pytest.mark.parametrize("name", ["linear-riccati", "linear-hessian", "linear-data"])
def test_figures_of_what_is_computed_show_something(name):
    figure = CLAIMS[name].draw([measured(name)])
    assert all(axes.lines for axes in figure.axes)
    figure.canvas.draw()  # nothing warns: warnings are errors here


def test_the_map_of_saddles_has_a_mark_for_every_set():
    figure = CLAIMS["linear-saddles"].draw([])
    for axes in figure.axes:
        assert sorted(text.get_text().split("  ")[0] for text in axes.texts) == sorted(
            ["{}", "{1}", "{2}", "{3}", "{1,2}", "{1,3}", "{2,3}", "{1,2,3}"]
        )
    orders = [text.get_text() for text in figure.axes[1].texts]
    assert {"{}  m = 3", "{1}  m = 3", "{2}  m = 2", "{1,2,3}"} <= set(orders)
    figure.canvas.draw()


def plateau_tree(times, scales, *, factor=1.0, beyond=0.0, depth=1):
    """Results of `linear-plateaus` for given half-times, plateaus those of aligned modes."""
    times, levels = np.asarray(times), np.array([7.0, 2.5, 0.5, 0.0])
    loss = np.tile(levels, (len(times), 1))
    for stage in (1, 2):
        known = np.where(np.isfinite(times), times, 1e3)
        law = [plateau_claim._aligned_distance(row, SIGMA, stage) for row in known]
        loss[:, stage] -= 7 * (factor * np.array(law) + beyond)
    stages, steps = (("run", "stage", "step"), (len(times), 4, 2)), np.array([0, 10])
    data = {
        "loss": (("run", "step"), np.ones((len(times), 2))),
        "mode_times": (("run", "mode", "step"), np.repeat(times[..., None], 2, axis=-1)),
        "plateau_loss": (stages[0], np.broadcast_to(loss[..., None], stages[1])),
        "plateau_level": (stages[0], np.broadcast_to(levels[None, :, None], stages[1])),
    }
    count = len(times)
    places = {"depth": np.full(count, depth), "width": np.full(count, 3), "weight_scale": scales}
    places |= {"status": np.zeros(count, int), "seed": np.arange(count)}
    coords = {name: ("run", np.asarray(found)) for name, found in places.items()}
    tree = xr.DataTree.from_dict({"runs": xr.Dataset(data, {**coords, "step": steps})})
    tree.attrs = {"config": {"task": {"singular_values": [3, 2, 1]}, "scheme": {"step_size": 0.1}}}
    return tree


TIMES = [[4.8, 7.1, 15.7], [4.6, 7.8, 14.5], [2.4, 3.6, 8.0]]


def plateau_trees(factor=1.0, beyond=0.0, deep=0.0, lost=False):
    two = plateau_tree(TIMES, [1e-6, 1e-6, 1e-3], factor=factor, beyond=beyond)
    times = [[22.0, 50.0, 390.0], [25.0, 97.0, np.inf if lost else 225.0]]
    return [two, plateau_tree(times, [1e-2, 1e-2], beyond=deep, depth=2), two]


def test_plateaus_hold_where_they_are_near_and_fail_where_one_number_is_off():
    compare = CLAIMS["linear-plateaus"].compare
    assert all(row.holds is not False for row in compare(plateau_trees()))
    for spoilt in ({"factor": 1.5}, {"beyond": 0.01}, {"deep": 1e-3}, {"lost": True}):
        rows = compare(plateau_trees(**spoilt))
        assert any(row.holds is False for row in rows), spoilt


def test_order_of_learning_counts_only_runs_that_learned_all():
    rows = CLAIMS["linear-plateaus"].compare(plateau_trees())
    times = [[1.0, 2.0, 3.0], [2.0, 1.0, 3.0], [1.0, 2.0, np.inf]]
    tree = plateau_tree(np.array(TIMES), [0.03] * 3)
    tree["runs"]["mode_times"].values[:] = np.array(times)[..., None]
    rows = CLAIMS["linear-plateaus"].compare([*plateau_trees()[:2], tree])
    assert [row.measured for row in rows[-2:]] == ["2 of 3", "1 of 2"]
    assert [row.holds for row in rows[-2:]] == [None, None]


def test_figure_of_plateaus_shows_something():
    figure = CLAIMS["linear-plateaus"].draw(plateau_trees())
    assert all(axes.lines for axes in figure.axes)
    figure.canvas.draw()


def test_plateau_of_aligned_modes_is_that_of_their_exact_solutions():
    half = np.array([4.8, 7.1, 15.7])
    looks = np.linspace(half[0], half[1], 4001)[1:-1]
    starts = SIGMA / (1 + np.exp(2 * SIGMA * half))
    pairs = zip(SIGMA.tolist(), starts.tolist(), strict=True)
    modes = np.stack([mode_solution(2, *pair, looks) for pair in pairs])
    speed = np.sum(2 * modes * (SIGMA[:, None] - modes) ** 2, axis=0)
    loss = 0.5 * np.sum((SIGMA[:, None] - modes) ** 2, axis=0)[np.argmin(speed)]
    found = plateau_claim._aligned_distance(half, SIGMA, 1)
    assert found == pytest.approx(abs(loss - 2.5) / 7, rel=1e-9)


SMALL = ["sweep.seed={count: 1}", "sweep.network.width=[3]", "sweep.network.depth=[0, 1]"]


def test_modes_are_followed_to_their_exact_solutions(tmp_path):
    outcome = reproduce("linear-modes", tmp_path, changes=SMALL)
    assert outcome.holds, "\n".join(map(str, outcome.rows))
    assert len(outcome.rows) == 6


def test_a_mode_that_strays_fails(tmp_path):
    # Euler steps of the same length are wrong by a part in a thousand.
    changes = [*SMALL, "scheme.method=euler", "record.every=1000"]
    outcome = reproduce("linear-modes", tmp_path, changes=changes)
    failed = [row.what for row in outcome.rows if row.holds is False]
    assert "L = 2: strength less exact one" in failed
    assert "L = 2: half-times" in failed


@pytest.mark.parametrize("method", ["rk4", "midpoint"])
def test_flow_from_given_weights_is_that_of_another_integrator(method):
    rng = np.random.default_rng(3)
    starts = [(0.5 * rng.normal(size=(4, 3)), 0.5 * rng.normal(size=(2, 4))) for _ in range(2)]
    target = rng.normal(size=(2, 3))
    flow = flow_from(
        starts,
        white_moments(target),
        step=0.01,
        n_steps=200,
        every=100,
        look=["loss", map_of],
        method=method,
    )
    np.testing.assert_allclose(flow.times, [0.0, 1.0, 2.0])
    for i, start in enumerate(starts):
        path = follow(start, target, 2.0, n_samples=3)
        ends = tuple(layer[i] for layer in flow.weights)
        # The midpoint rule is of second order: 1e-4 of the step squared.
        bound = 1e-8 if method == "rk4" else 1e-4
        np.testing.assert_allclose(flow.records["loss"][i], path.losses, atol=bound)
        np.testing.assert_allclose(flow.records["map"][i, -1], whole_map(ends), atol=1e-14)
        np.testing.assert_allclose(whole_map(ends), whole_map(path.weights), atol=bound)


@pytest.mark.parametrize("family", FAMILIES)
def test_random_points_are_critical_and_learned_what_they_say(family):
    rng = np.random.default_rng(7)
    for index in range(40):
        point = random_critical_point(rng, family, 2 + index % 3, top=index % 2 == 0)
        found = classify(point.weights, point.target)
        assert found.kind != "not_critical"
        assert found.rank == len(point.chosen)
        sigma = np.array(FAMILIES[family])
        left = 0.5 * np.sum(np.delete(sigma, list(point.chosen)) ** 2)
        assert found.value == pytest.approx(left, abs=1e-12)
        assert product(point.weights, len(point.weights), 1).shape == point.target.shape


@pytest.mark.parametrize(("family", "n_layers"), [("generc", 3), ("generic", 1)])
def test_random_points_of_no_family_or_one_layer_are_refused(family, n_layers):
    with pytest.raises(InputError):
        random_critical_point(np.random.default_rng(0), family, n_layers)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_claim_itself(name, tmp_path):
    outcome = reproduce(name, tmp_path)
    assert outcome.holds, "\n".join(map(str, outcome.rows))
    assert outcome.figure.stat().st_size > 10_000
