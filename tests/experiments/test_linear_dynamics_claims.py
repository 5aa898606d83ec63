"""Claims on the dynamics of deep linear networks: small runs, wrong results, the claims whole."""

import jax
import numpy as np
import pytest
import xarray as xr

from gramdyn.experiments import CLAIMS, reproduce
from gramdyn.experiments import linear_adjacency as adjacency_claim
from gramdyn.experiments import linear_conservation as conservation_claim
from gramdyn.experiments import linear_convergence as convergence_claim
from gramdyn.experiments import linear_descent as descent_claim
from gramdyn.experiments import linear_dissipation as dissipation_claim
from gramdyn.kernels.linear import conserved_quantities

NAMES = (
    "linear-conservation",
    "linear-dissipation",
    "linear-adjacency",
    "linear-convergence",
    "linear-descent",
)
RUNS = 4


def sweep(children, steps):
    """Results as the store gives them: children of records (axes, values) and coordinates."""
    made = {}
    for name, (records, places) in children.items():
        data = xr.Dataset(records)
        runs = data.sizes["run"]
        places = {key: ("run", np.broadcast_to(value, runs)) for key, value in places.items()}
        status = data.get("status", xr.DataArray(np.zeros(runs, int), dims="run"))
        made[name] = data.drop_vars("status", errors="ignore").assign_coords(
            step=np.asarray(steps), status=status, **places
        )
    return xr.DataTree.from_dict(made)


def drifting(sizes, law, steps):
    """Drift law(size, time) of RUNS runs at each step size, over the hidden nodes."""
    sizes = np.repeat(sizes, RUNS)
    drift = law(sizes[:, None], np.asarray(steps) * sizes[:, None])[:, None] * [[[1.0], [0.5]]]
    loss = np.full((len(sizes), len(steps)), 1e-12)
    records = {
        "conserved_drift": (("run", "hidden", "step"), drift),
        "loss": (("run", "step"), loss),
    }
    return records, {"step_size": sizes}


SIZES, STEPS = (0.04, 0.02, 0.01, 0.005, 0.0025), (0, 50, 100, 200, 400, 800)


def conservation_trees(order=4, flow=1e-14, single=1e-5, increment=1e-15, decay=1e-14):
    """What the claim's results look like; every argument can spoil one of them."""
    laws = {
        "euler": lambda size, time: 0.4 * size * time,
        "rk4": lambda size, time: 5.0 * size**order * time,
        "midpoint": lambda size, time: 1e-15 * time,
    }
    steps = sweep(
        {f"method-{name}": drifting(SIZES, law, STEPS) for name, law in laws.items()}, STEPS
    )
    constant = lambda value: lambda size, time: value * (time > 0)  # noqa: E731
    flows = {
        f"method-{name}": drifting((0.05,), constant(flow), (0, 100, 200))
        for name in ("adaptive", "midpoint")
    }
    one = {"runs": drifting((0.01,), constant(single), (0, 1000, 4000))}
    exact = {
        "increment": xr.Dataset(
            {"gap": (("step_size", "run"), np.full((2, RUNS), increment))},
            {"step_size": [*conservation_claim.STEPS]},
        ),
        "decay": xr.Dataset(
            {"gap": (("decay", "run"), np.full((2, RUNS), decay))},
            {"decay": [*conservation_claim.DECAYS]},
        ),
    }
    flow_tree, single_tree = sweep(flows, (0, 100, 200)), sweep(one, (0, 1000, 4000))
    return [steps, flow_tree, single_tree, xr.DataTree.from_dict(exact)]


def dissipation_trees(leak=0.0, rise=0.0):
    times = np.linspace(0.0, 20.0, 11)
    loss = np.exp(-times) + rise * (times > 10)
    node = xr.Dataset(
        {
            "loss": (("run", "time"), np.tile(loss, (RUNS, 1))),
            "dissipated": (("run", "time"), np.tile(1.0 - loss + leak, (RUNS, 1))),
        },
        {"time": times},
    )
    return [xr.DataTree.from_dict({"layers-1": node, "layers-2": node})]


def adjacency_trees(**spoilt):
    gaps = ("layers_gap_white", "layers_gap_correlated", "autodiff_gap_white")
    gaps += ("autodiff_gap_correlated", "trajectory_gap")
    values = dict.fromkeys(gaps, 1e-15) | {"off_blocks": 0.0, "last_power": 0.0} | spoilt
    arrays = {name: (("run", "time"), np.full((RUNS, 3), value)) for name, value in values.items()}
    matrix = np.zeros((14, 14))
    node = xr.Dataset(arrays | {"matrix": (("row", "column"), matrix)}, {"time": [0.0, 1.0, 2.0]})
    return [xr.DataTree.from_dict({"layers-1": node, "layers-3": node})]


def convergence_trees(left=0.0, tied=False, failed=False):
    """Runs of 3-4-3 and 4-2-4; `left` of the gap stays in one run."""
    trees, steps = [], (0, 100, 20000)
    for hidden, size, kept in ((4, 3, 3), (2, 4, 2)):
        values = np.array([1.5, 1.0, 0.999 if tied else 0.8, 0.5])[:size]
        minimum = 0.5 * np.sum(values[kept:] ** 2)
        excess = np.tile(minimum + np.array([2.0, 1e-3, 1e-12]), (RUNS, 1))
        excess[-1, -1] += left
        status = np.zeros(RUNS, int)
        status[-1] = 2 if failed else 0
        records = {"excess_loss": (("run", "step"), excess), "status": ("run", status)}
        places = {"width": hidden, "depth": 1, "step_size": 0.02, "task_index": 0}
        tree = sweep({"runs": (records, places)}, steps)
        node = tree["runs"].to_dataset()
        node["targets"] = (("task", "sample", "output"), np.diag(values)[None])
        trees.append(xr.DataTree.from_dict({"runs": node}))
    return trees


def descent_trees(quick=1e-30, above=0.04, layers=(1, 3)):
    trees = []
    for one in layers:
        eta = 2 / (one * 2.0 ** (2 - 2 / one))
        shares = np.repeat([0.5, 0.98, 1.02], RUNS)
        last = np.select([shares < 0.9, shares < 1], [quick, 1e-7], above)
        excess = np.stack([np.ones(len(shares)), last], axis=1)
        places = {"depth": one - 1, "step_size": shares * eta}
        tree = sweep({"runs": ({"excess_loss": (("run", "step"), excess)}, places)}, (0, 3000))
        node = tree["runs"].to_dataset()
        node["targets"] = (("task", "sample", "output"), np.diag([2.0, 1.0])[None])
        trees.append(xr.DataTree.from_dict({"runs": node}))
    return trees


# What holds, and each way to spoil it with the number of rows that must fail.
MAKERS = {
    "linear-conservation": conservation_trees,
    "linear-dissipation": dissipation_trees,
    "linear-adjacency": adjacency_trees,
    "linear-convergence": convergence_trees,
    "linear-descent": descent_trees,
}
SPOILT = [
    ("linear-conservation", {"order": 3}, 5),  # limits and ratios of Runge-Kutta
    ("linear-conservation", {"flow": 1e-9}, 2),
    ("linear-conservation", {"flow": np.nan}, 2),
    ("linear-conservation", {"single": 1e-3}, 1),
    ("linear-conservation", {"increment": 1e-11}, 2),
    ("linear-conservation", {"decay": 1e-9}, 2),
    ("linear-dissipation", {"leak": 1e-8}, 2),
    ("linear-dissipation", {"leak": np.nan}, 2),
    ("linear-dissipation", {"rise": 1e-3}, 2),
    ("linear-adjacency", {"layers_gap_correlated": 1e-11}, 2),
    ("linear-adjacency", {"autodiff_gap_white": 1e-11}, 2),
    ("linear-adjacency", {"trajectory_gap": 1e-11}, 2),
    ("linear-adjacency", {"off_blocks": 1e-300}, 2),
    ("linear-adjacency", {"last_power": 1e-300}, 2),
    ("linear-convergence", {"left": 1e-7}, 2),
    ("linear-convergence", {"left": -1e-7}, 2),  # below the minimum is no convergence either
    ("linear-convergence", {"failed": True}, 2),
    ("linear-descent", {"quick": 1e-9}, 2),
    ("linear-descent", {"above": 1e-20}, 2),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_claim_holds_where_its_numbers_do(name):
    rows = CLAIMS[name].compare(MAKERS[name]())
    assert all(row.holds is not False for row in rows), [row for row in rows if not row.holds]
    assert any(row.holds for row in rows)


@pytest.mark.parametrize(("name", "how", "count"), SPOILT)
def test_a_wrong_number_makes_its_rows_fail(name, how, count):
    rows = CLAIMS[name].compare(MAKERS[name](**how))
    assert sum(row.holds is False for row in rows) == count, rows


@pytest.mark.parametrize("name", NAMES)
def test_its_figure_shows_something(name):
    figure = CLAIMS[name].draw(MAKERS[name]())
    assert all(axes.has_data() for axes in figure.axes)
    figure.canvas.draw()  # nothing warns: warnings are errors here


def test_nearly_tied_modes_of_a_bottleneck_are_judged_at_the_end_alone():
    rows = CLAIMS["linear-convergence"].compare(convergence_trees(tied=True))
    assert [row.holds for row in rows] == [True, True, None]
    assert "0.001 apart" in rows[1].what


def test_a_run_that_oscillates_or_diverges_counts_as_not_converging():
    tree = descent_trees(layers=(2,))[0]
    tree["runs"]["status"][-1] = 2
    tree["runs"]["excess_loss"][-1] = np.nan
    _, found = descent_claim.ends(tree)
    assert sorted(found[1.02][0]) == ["bounded"] * (RUNS - 1) + ["diverged"]
    row = descent_claim.compare([tree])[-1]
    assert row.holds
    assert row.measured.startswith("0 converged, 3 bounded, 1 diverged")


def test_a_small_sweep_of_descent_ends_as_claimed(tmp_path):
    outcome = reproduce("linear-descent", tmp_path, changes=["sweep.seed={count: 4}"])
    assert outcome.holds, "\n".join(map(str, outcome.rows))
    assert outcome.figure.stat().st_size > 10_000


def test_dissipation_of_a_small_flow():
    with jax.enable_x64(True):
        node = dissipation_claim.flow_of((3, 4, 3), runs=2)
    assert float(node["dissipated"][0, -1]) > 0.5
    assert dissipation_claim.imbalance(node).max() < 1e-11
    assert all(row.holds for row in dissipation_claim._rows("2", node))


def test_one_matrix_and_the_layers_are_one_flow():
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        node = adjacency_claim.check_flow((3, 2, 4), runs=2)
    assert all(row.holds for row in adjacency_claim._rows(2, node))
    blocks = np.asarray(node["matrix"])
    # Trained: the two modes that the narrow layer holds, nothing of the third.
    learnt = blocks[5:, 3:5] @ blocks[3:5, :3]
    np.testing.assert_allclose(learnt[:3], np.diag([2.0, 1.2, 0.0]), atol=1e-3)


def test_the_increments_of_all_steps_are_the_drift():
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        gap = float(conservation_claim._increment_gap(jax.random.key(3), 0.02))
    assert gap < 1e-13


def test_decay_shrinks_what_is_conserved():
    with jax.enable_x64(True):
        inner = conservation_claim.linear_system(jax.random.key(1), (3, 4, 2), (1.0, 0.5), 0.5)
        system = conservation_claim.Decaying(inner, 0.3)
        state = system.initial_state()
        weights = lambda state: inner.fields(state).weights  # noqa: E731
        rate = jax.jvp(
            lambda state: conserved_quantities(weights(state)), (state,), (system.velocity(state),)
        )[1]
        now = conserved_quantities(weights(state))
    for one, value in zip(rate, now, strict=True):
        np.testing.assert_allclose(one, -0.6 * np.asarray(value), atol=1e-13)


def test_minimum_of_a_bottleneck_leaves_the_modes_that_do_not_fit():
    (_, wide), (_, narrow) = (
        convergence_claim._minima(tree["runs"]) for tree in convergence_trees()
    )
    assert np.all(np.isinf(wide))
    np.testing.assert_allclose(narrow, 0.2)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_the_claim_itself(name, tmp_path):
    outcome = reproduce(name, tmp_path)
    assert outcome.holds, "\n".join(map(str, outcome.rows))
