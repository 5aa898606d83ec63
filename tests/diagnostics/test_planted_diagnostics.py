"""Diagnostics of a planted map at one time, each from recorded weights written out in NumPy."""

import typing

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn import planted
from gramdyn._errors import InputError
from gramdyn.data import gaussian, planted_map, task_population
from gramdyn.data.planted_map import Population
from gramdyn.diagnostics import Record, make_diagnostic
from gramdyn.diagnostics.planted import KINDS
from gramdyn.dynamics import GradientDescent, simulate
from gramdyn.models import init_network, thin_network, widen
from gramdyn.planted._points import gradient_of, loss_of
from gramdyn.planted.classify import Kind, kind_rules
from gramdyn.systems import SquaredLoss, make_system
from gramdyn.systems.make import make_planted_system

ANY = [
    *("loss", "planted_weights", "population_loss", "gains", "target_angles", "neuron_angles"),
    *("imbalance", "pairing"),
]
SINGLE = ["strengths", "group_sums", "stationary"]
SIZE = 1.7  # |a|, so that a unit forgotten shows
BELOW = 0.35
SETS = ("global", "half fit +", "half fit -", "plateau")
# Both sides are sums of some ten terms of order one, in float64.
CLOSE = {"rtol": 1e-12, "atol": 1e-13}


def trained(kind, n_outputs):
    """Records of a run, every step saved, and the planted map in the columns of its weights."""
    values = (SIZE, 0.6)[:n_outputs]
    task = planted_map(
        n_inputs=6, n_outputs=n_outputs, singular_values=values, samples_per_input=5.0
    )
    start = thin_network(jax.random.key(3), 6, 4, n_outputs, law="xavier", sigma=0.8)
    if kind == "thin":
        system = make_planted_system(start, task_population(task))
    else:
        start = widen(start, 6)
        system = make_system(start, task, loss=SquaredLoss("mean"), coordinates=kind)
    names = [*ANY, make_diagnostic("success", below=BELOW), *(SINGLE if n_outputs == 1 else [])]
    run = simulate(system, GradientDescent(0.1), 40, Record(names))
    found = {name: np.asarray(array) for name, array in run.records.items()}
    return found, np.eye(n_outputs, found["hidden_rows"].shape[-1]) * np.array(values)[:, None]


@pytest.fixture(scope="module", params=["thin", "weights", "gram"])
def single(request):
    return trained(request.param, 1)


@pytest.fixture(scope="module", params=[("thin", 1), ("gram", 1), ("thin", 2), ("weights", 2)])
def every(request):
    return trained(*request.param)


def point(hidden, readout, target):
    """The population system that stands at a point."""
    k, n_outputs = np.shape(readout)
    start = thin_network(jax.random.key(0), 10, k, n_outputs)
    weights = [jnp.asarray(hidden), jnp.asarray(np.transpose(readout))]
    places = lambda net: [layer.weight for layer in net.layers]  # noqa: E731
    start = eqx.tree_at(places, start, weights)
    return make_planted_system(start, Population(np.asarray(target), np.asarray(10.0)))


def seen(system, *names):
    """Arrays of diagnostics at t = 0."""
    run = simulate(system, GradientDescent(1e-3), 1, Record(names, at=[0]))
    return {name: np.asarray(array)[0] for name, array in run.records.items()}


def relu_map(rows, turned, inputs):
    return np.maximum(inputs @ rows.T, 0.0) @ turned


def norms(array):
    return np.linalg.norm(array, axis=-1)


def test_losses(every) -> None:
    found, target = every
    rows, turned = found["hidden_rows"], found["readout_rows"]
    loss = loss_of(rows, turned, target)
    np.testing.assert_allclose(found["population_loss"], loss, **CLOSE)
    odd = np.einsum("tkc,tkd->tcd", turned, rows) / 2 - target
    np.testing.assert_allclose(found["odd_loss"], np.sum(odd**2, axis=(1, 2)) / 2, **CLOSE)
    np.testing.assert_allclose(found["even_loss"], loss - found["odd_loss"], **CLOSE)
    learnt = loss < BELOW * np.sum(target**2)
    np.testing.assert_array_equal(found["success"], learnt)
    assert 0 < np.sum(learnt) < len(learnt)  # both answers were asked for


def test_the_loss_that_trains_on_the_population() -> None:
    """And on samples it is another one."""
    found, _ = trained("thin", 2)
    np.testing.assert_array_equal(found["loss"], found["population_loss"])
    found, _ = trained("weights", 2)
    assert np.all(np.abs(found["loss"] - found["population_loss"]) > 1e-3)


def test_gains_and_imbalance(every) -> None:
    found, target = every
    rows, turned = found["hidden_rows"], found["readout_rows"]
    signed = turned[..., 0] if len(target) == 1 else norms(turned)
    np.testing.assert_allclose(found["gains"], signed * norms(rows), **CLOSE)
    np.testing.assert_allclose(found["imbalance"], planted.imbalance(rows, turned), **CLOSE)


def test_angles(every) -> None:
    """By projections on the span of B and by the arc cosine."""
    found, target = every
    rows = found["hidden_rows"]
    flat = rows.reshape(-1, rows.shape[-1])
    along = (target.T @ np.linalg.lstsq(target.T, flat.T, rcond=None)[0]).T
    wanted = np.arctan2(norms(flat - along), norms(along)).reshape(found["target_angles"].shape)
    np.testing.assert_allclose(found["target_angles"], wanted, **CLOSE)
    units = rows / norms(rows)[..., None]
    wanted = np.arccos(np.clip(np.einsum("tid,tjd->tij", units, units), -1, 1))
    same = np.eye(rows.shape[1], dtype=bool)
    # The arc cosine of 1 - eps is 1e-8; these angles are larger than 0.1.
    np.testing.assert_allclose(found["neuron_angles"][:, ~same], wanted[:, ~same], rtol=1e-12)
    assert not np.any(found["neuron_angles"][:, same])


def test_pairing_is_that_of_the_host(every) -> None:
    found, _ = every
    wanted = planted.pairing(found["hidden_rows"], found["readout_rows"])
    np.testing.assert_allclose(found["pair_cosine"], wanted.cosine, **CLOSE)
    np.testing.assert_allclose(found["pair_readout_cosine"], wanted.readout_cosine, **CLOSE)
    np.testing.assert_allclose(found["pair_mismatch"], wanted.mismatch, rtol=1e-11)
    np.testing.assert_allclose(found["pair_overlap"], wanted.overlap, **CLOSE)
    np.testing.assert_allclose(found["paired"], wanted.mutual.mean(axis=-1), **CLOSE)


def test_strengths_and_group_sums(single) -> None:
    found, target = single
    rows, turned = found["hidden_rows"], found["readout_rows"]
    wanted = planted.early_strengths(rows, turned, target)
    np.testing.assert_allclose(found["strengths"], wanted, **CLOSE)
    for w, v, told in zip(rows, turned[..., 0], found["group_sums"], strict=True):
        up = sum((v[i] * w[i] for i in range(4) if v[i] > 0), np.zeros(w.shape[1]))
        down = sum((-v[i] * w[i] for i in range(4) if v[i] < 0), np.zeros(w.shape[1]))
        gap = max(np.linalg.norm(up - target[0]), np.linalg.norm(down + target[0]))
        np.testing.assert_allclose(told, gap / SIZE, **CLOSE)


def test_stationary_is_that_of_the_host(single) -> None:
    """Distances as losses of the difference of two networks, by the formulas of the host."""
    found, target = single
    rows, turned = found["hidden_rows"], found["readout_rows"]
    ends = np.broadcast_to(np.stack([target[0], -target[0]]), (len(rows), 2, target.shape[1]))
    for i, part in enumerate([(1, -1), (1, 0), (0, -1), (0, 0)]):
        rest = np.broadcast_to(-np.array(part, float)[:, None], (len(rows), 2, 1))
        both = np.concatenate([rows, ends], axis=1), np.concatenate([turned, rest], axis=1)
        wanted = np.sqrt(2 * loss_of(*both, 0 * target)) / SIZE
        np.testing.assert_allclose(found["stationary_distance"][:, i], wanted, rtol=1e-11)
    slopes = sum(np.sum(part**2, axis=(1, 2)) for part in gradient_of(rows, turned, target))
    size = sum(np.sum(part**2, axis=(1, 2)) for part in (rows, turned))
    # With |a| = 1 weights are those over the root of |a|, and slopes those over its power 3/2.
    wanted = np.sqrt(slopes) / SIZE**1.5 / (1 + np.sqrt(size / SIZE))
    np.testing.assert_allclose(found["relative_gradient"], wanted, rtol=1e-11)
    codes = [KINDS[code] for code in found["stationary_kind"]]
    assert codes == list(planted.kinds(rows, turned, target))


def test_distances_by_monte_carlo() -> None:
    rng = np.random.default_rng(5)
    hidden, readout = rng.normal(size=(3, 4)), rng.normal(size=(3, 1))
    found = seen(point(hidden, readout, [[-SIZE]]), "stationary")["stationary_distance"]
    n = 400_000
    x = rng.normal(size=(n, 4))
    ax, out = -SIZE * x[:, 0], relu_map(hidden, readout, x)[:, 0]
    for told, g in zip(
        found, [ax, np.maximum(ax, 0), -np.maximum(-ax, 0), np.zeros(n)], strict=True
    ):
        squares = ((out - g) / SIZE) ** 2
        z = (squares.mean() - told**2) / (squares.std() / np.sqrt(n))
        assert abs(z) < 4  # four standard errors


def _members():
    """Points with the kind that they have by construction, and their set."""
    a = -SIZE * np.eye(1, 4)
    rest = np.random.default_rng(2).normal(size=(3, 4))
    g, dead = SIZE, {"n_dead": 1}
    return [
        (*planted.global_minimum([1.0, g - 1.0], [-g], a), "global_min", 0),
        (*planted.global_minimum([g + 1.0, -1.0], [-g], a, [0.3, 2, 1]), "global_min", 0),
        (*planted.half_fit([0.5, 0.7, g - 1.2], a), "spurious_min", 1),
        (*planted.half_fit([-0.5, -0.7, 1.2 - g], a, opposite=True), "spurious_min", 2),
        (*planted.half_fit([g + 1.0, -0.4, -0.6], a), "nonstrict_saddle", 1),
        (*planted.half_fit([-g - 1, 0.4, 0.6], a, opposite=True), "nonstrict_saddle", 2),
        (*planted.half_fit([0.7, g - 0.7], a, **dead), "half_fit_escapable", 1),
        (*planted.half_fit([g + 1.0, -1.0], a, **dead), "half_fit_escapable", 1),
        (*planted.plateau(rest, a), "plateau", 3),
        (np.zeros((3, 4)), np.zeros((3, 1)), "plateau", 3),
    ]


@pytest.mark.parametrize(("hidden", "readout", "kind", "place"), _members())
def test_members_of_stationary_sets(hidden, readout, kind, place) -> None:
    found = seen(point(hidden, readout, [[-SIZE]]), "stationary")
    assert KINDS[found["stationary_kind"]] == kind
    assert planted.classify(hidden, readout, -SIZE * np.eye(1, 4)).kind == kind
    # The root of what rounding leaves of a sum of order one.
    assert found["stationary_distance"][place] < 1e-7
    assert found["relative_gradient"] < 1e-14
    others = np.delete(found["stationary_distance"], place)
    # sqrt(E relu(u.x)^2) = sqrt(1/2) between neighbouring sets, 1 across.
    assert np.min(others) == pytest.approx(np.sqrt(0.5), rel=1e-7)
    assert np.max(others) == pytest.approx(1.0, rel=1e-7)
    moved = seen(point(hidden + 0.01, readout + 0.02, [[-SIZE]]), "stationary")
    assert KINDS[moved["stationary_kind"]] == "not_stationary"


@pytest.mark.parametrize(
    ("size", "kind"), [(1.2e-3, "half_fit_escapable"), (1.5e-3, "spurious_min")]
)
def test_how_small_a_dead_neuron_is(size, kind) -> None:
    """Below 1e-3 sqrt(|a|) = 1.3e-3; along the ray that is fit, with v = 0, it is stationary."""
    hidden, readout = planted.half_fit([SIZE], -SIZE * np.eye(1, 3), n_dead=1)
    hidden[1, 0] = -size
    found = seen(point(hidden, readout, [[-SIZE]]), "stationary")
    assert KINDS[found["stationary_kind"]] == kind


def test_one_list_of_kinds() -> None:
    """Codes are stored in run folders: their order is part of the format."""
    assert typing.get_args(Kind) == KINDS
    assert (
        *("not_stationary", "global_min", "half_fit_escapable", "nonstrict_saddle"),
        *("spurious_min", "plateau", "other"),
    ) == KINDS
    one = np.ones(1)
    rules = kind_rules(np.zeros(()), np.asarray(0.1), one, one)
    assert tuple(rules) == KINDS[:-1]
    assert not any(rules.values())  # a stationary point at another level is "other"
    assert not any(kind_rules(np.nan, np.nan, np.nan * one, one).values())


def test_pairs_of_unlike_sizes() -> None:
    rng = np.random.default_rng(4)
    hidden, readout, _ = planted.paired_minimum(
        rng.normal(size=(2, 6)), rng.normal(size=(2, 2)), [0.5, 3.0]
    )
    found = seen(point(hidden, readout, np.eye(2)), "pairing")
    np.testing.assert_allclose(found["pair_cosine"], -1, rtol=1e-15)
    np.testing.assert_allclose(found["pair_readout_cosine"], -1, rtol=1e-15)
    np.testing.assert_allclose(found["pair_mismatch"], 0, atol=1e-14)
    assert found["paired"] == 1
    cosine = hidden[0] @ hidden[1] / np.prod(norms(hidden[:2]))
    assert found["pair_overlap"] == pytest.approx(abs(cosine), rel=1e-13)


def test_a_partner_that_prefers_another() -> None:
    """Rows at 0, 170 and 200 degrees: the last one's partner is the first, whose is the second."""
    turn = np.deg2rad([0.0, 170.0, 200.0])
    hidden = np.pad(np.stack([np.cos(turn), np.sin(turn)], axis=1), ((0, 0), (0, 2)))
    found = seen(point(hidden, [[1.0], [-2.0], [-4.0]], [[1.0]]), "pairing")
    wanted = np.cos(np.deg2rad([170.0, 170.0, 160.0]))
    np.testing.assert_allclose(found["pair_cosine"], wanted, rtol=1e-14)
    np.testing.assert_allclose(found["pair_mismatch"], [0.5, 1.0, 3.0], rtol=1e-14)
    assert found["paired"] == pytest.approx(2 / 3)
    assert found["pair_overlap"] == pytest.approx(np.cos(np.deg2rad(30)), rel=1e-14)


@pytest.mark.parametrize("size", [0.3, 1e-6, 1e-12])
def test_small_angles_to_a_map_without_full_rank(size) -> None:
    """B of rank one in two outputs and off the axes: the span is a line. Lengths do not matter."""
    along = np.array([0.6, 0.8, 0, 0, 0, 0])
    off = np.array([[0, 0, 1.0, 0, 0, 0], [0.8, -0.6, 0, 0, 0, 0]])
    rows = np.array([[2.0], [1e-8]]) * (np.cos(size) * along + np.sin(size) * off)
    hidden = np.concatenate([rows, -rows])
    found = seen(point(hidden, np.ones((4, 2)), np.outer([1.0, -2.0], [0.6, 0.8])), "target_angles")
    # The parts are exact to eps of the row.
    np.testing.assert_allclose(found["target_angles"], size, rtol=0, atol=1e-15)


def test_dead_and_broken_rows() -> None:
    hidden = np.array([[0, 0, 0, 0], [1.0, 1.0, 0, 0], [np.nan, 0, 0, 0]])
    system = point(hidden[:2, :3], [[0.5], [1.0]], [[1.0]])
    found = seen(system, "target_angles", "neuron_angles", "gains", "pairing", "stationary")
    np.testing.assert_allclose(found["target_angles"], [np.pi / 2, np.pi / 4], rtol=1e-15)
    np.testing.assert_allclose(found["gains"], [0, np.sqrt(2)], rtol=1e-15)
    assert found["neuron_angles"][0, 1] == pytest.approx(np.pi / 2)
    np.testing.assert_array_equal(found["pair_mismatch"], [1.0, np.inf])
    assert np.all(np.isfinite(found["stationary_distance"]))
    fields = point(hidden, np.ones((3, 1)), [[1.0]])
    fields = fields.fields(fields.initial_state())
    np.testing.assert_array_equal(np.isnan(fields.target_angles), [False, False, True])


def test_single_precision() -> None:
    """Every array is one of float32, and near that of float64."""
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(3, 4)), rng.normal(size=(3, 1))
    names = [*ANY, *SINGLE, "success"]
    wanted = seen(point(*weights, [[-SIZE]]), *names)
    found = seen(point(*(part.astype(np.float32) for part in weights), [[-SIZE]]), *names)
    for name, array in wanted.items():
        kind = np.float32 if array.dtype.kind == "f" else array.dtype
        assert found[name].dtype == kind, name
        # A diagonal angle aside, all are sums of some ten terms: ten times the precision.
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=2e-6, err_msg=name)


def test_scaling_leaves_what_has_no_unit() -> None:
    """(W, V, B) to (lam W, lam V, lam^2 B) with eta to eta / lam^2 is the same trajectory."""
    names = ["target_angles", "neuron_angles", "group_sums", "pairing", "stationary", "success"]
    rng = np.random.default_rng(6)
    hidden, readout = rng.normal(size=(3, 4)), rng.normal(size=(3, 1))
    runs = []
    for lam in (1.0, 1.37):
        system = point(lam * hidden, lam * readout, [[0.8 * lam**2]])
        runs.append(simulate(system, GradientDescent(0.1 / lam**2), 60, Record(names, every=20)))
    for name, array in runs[0].records.items():
        # Rounding of the start, carried along by 60 steps.
        np.testing.assert_allclose(runs[1][name], array, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", SINGLE)
def test_one_output_is_asked_for(name) -> None:
    system = point(np.ones((2, 4)), np.ones((2, 2)), np.eye(2))
    with pytest.raises(InputError, match=f"n_outputs.*be 1 for diagnostic `{name}`") as told:
        seen(system, name)
    assert "\n" not in str(told.value)


def test_other_refusals() -> None:
    with pytest.raises(InputError, match="be at least 2 for pairing"):
        seen(point(np.ones((1, 2)), np.ones((1, 1)), np.eye(1)), "pairing")
    with pytest.raises(InputError, match="below"):
        make_diagnostic("success", below=0.0)


@pytest.mark.parametrize("name", [*ANY[1:], *SINGLE, "success"])
def test_ordinary_networks_are_refused(name) -> None:
    network = init_network(jax.random.key(0), 3, (4,), 1)
    system = make_system(network, gaussian(n_samples=5, n_inputs=3))
    with pytest.raises(InputError, match=f"`{name}` reads PlantedView") as told:
        seen(system, name)
    assert "\n" not in str(told.value)
