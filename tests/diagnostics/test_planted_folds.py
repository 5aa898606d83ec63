"""Diagnostics of a planted map that look at every state, beside plain loops over all of them."""

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
from gramdyn.dynamics import GradientDescent, RungeKutta4, simulate, simulate_many
from gramdyn.models import init_network, thin_network, widen
from gramdyn.planted._points import gradient_of, loss_of
from gramdyn.systems import SquaredLoss, make_system
from gramdyn.systems.make import make_planted_system

FOLDS = ["phases", "imbalance_drift", "final_rate"]
STEPS, SEEDS = 700, 8  # past the last event from 1e-8, at 520
POPULATION = task_population(planted_map(n_inputs=100))


class Build(eqx.Module):
    """A run on the population of a x, from the scale sigma sqrt(|a|)."""

    signs: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, params):
        key, sigma, eta, size = params
        scale = sigma * jnp.sqrt(size)
        start = thin_network(key, 100.0, len(self.signs), sigma=scale, signs=self.signs)
        population = Population(size[None, None], jnp.asarray(100.0))
        return make_planted_system(start, population), GradientDescent(eta / size)


def runs_of(sigma, *, signs=(1, -1), eta=0.1, n_steps=STEPS, at=None, size=1.0):
    """Records of runs with |a| = size, one a seed."""
    keys = jax.random.split(jax.random.key(11), SEEDS)
    params = keys, *(jnp.full(SEEDS, one) for one in (sigma, eta, size))
    record = Record(["loss", "planted_weights", *FOLDS], at=at)
    run = simulate_many(Build(signs), params, n_steps, record)
    return {name: np.asarray(array) for name, array in run.records.items()}


@pytest.fixture(scope="module")
def tiny():
    return runs_of(1e-8)


@pytest.fixture(scope="module")
def large():
    return runs_of(0.1)


def events(rows, turned, target, angle):
    """Steps of the events, the phase at each step and the steps near 1/4, by a plain loop."""
    a = target[0]
    square, found, phases, near = a @ a, np.full(4, np.inf), [], []
    levels = loss_of(rows, turned, target) / square
    for t, (w, v, level) in enumerate(zip(rows, turned, levels, strict=True)):
        cosine = np.abs(w @ a) / np.linalg.norm(w, axis=1) / np.sqrt(square)
        aligned = np.all(cosine >= np.cos(angle)) and np.all(v[:, 0] * (w @ a) > 0)
        for i, came in enumerate([aligned, level <= 0.375, level <= 0.01, level <= 1e-12]):
            found[i] = min(found[i], t) if came else found[i]
        phases.append(2 if found[2] <= t else int(found[0] <= t))
        near.append(abs(level - 0.25) < 5e-3)
    return found, phases, np.cumsum(near)


def compare_events(found, target, angle):
    for seed, (rows, turned) in enumerate(
        zip(found["hidden_rows"], found["readout_rows"], strict=True)
    ):
        wanted, phases, near = events(rows, turned, target, angle)
        np.testing.assert_array_equal(found["phase_steps"][seed, -1], wanted)
        np.testing.assert_array_equal(found["phase"][seed], phases)
        np.testing.assert_array_equal(found["plateau_steps"][seed], near)
        for t in (0, 70, len(rows) // 2):  # what has not come yet is not told
            told = np.where(wanted <= t, wanted, np.inf)
            np.testing.assert_array_equal(found["phase_steps"][seed, t], told)


def test_events_by_a_loop(tiny, large) -> None:
    for found in (tiny, large):
        compare_events(found, np.eye(1, 3), 0.1)
        assert np.all(np.isfinite(found["phase_steps"][:, -1]))
    assert np.any(tiny["plateau_steps"][:, -1] > 0)


def test_another_angle_and_units() -> None:
    """|a| = 2.3, where levels are in units of |a|^2."""
    found = runs_of(1e-4, size=2.3)
    compare_events(found, 2.3 * np.eye(1, 3), 0.1)
    wide = make_diagnostic("phases", angle=0.5)
    start = thin_network(jax.random.key(0), 100.0, 2, sigma=1e-4, signs=(1, -1))
    system = make_planted_system(start, POPULATION)
    run = simulate(system, GradientDescent(0.1), 200, Record(["planted_weights", wide]))
    rows, turned = np.asarray(run["hidden_rows"]), np.asarray(run["readout_rows"])
    wanted = events(rows, turned, np.eye(1, 3), 0.5)[0]
    np.testing.assert_array_equal(run["phase_steps"][-1], wanted)


def test_saved_times_change_nothing(tiny) -> None:
    at = [0, 37, 300, 301]
    few = runs_of(1e-8, at=at)
    names = [
        *("phase_steps", "phase", "plateau_steps", "largest_drift", "imbalance_drift"),
        "final_rate",
    ]
    for name in names:
        wanted = tiny[name][:, [*at, STEPS]]
        # Another program may round otherwise; steps are whole.
        np.testing.assert_allclose(few[name], wanted, rtol=1e-9, atol=1e-15, err_msg=name)


def test_times_of_the_theory(tiny) -> None:
    """Seed by seed: alignment and growth from the start alone."""
    start = tiny["hidden_rows"][:, 0], tiny["readout_rows"][:, 0]
    aligned, _, grown, _ = tiny["phase_steps"][:, -1].T
    wanted = planted.alignment_steps(*start, np.eye(1, 3), 0.1)
    # The first whole step, so up to one later.
    assert np.all((aligned - wanted >= -0.5) & (aligned - wanted < 2))
    wanted = planted.growth_steps(planted.early_strengths(*start, np.eye(1, 3)), 0.1)
    assert np.all((grown - wanted >= -0.5) & (grown - wanted < 2))


def test_what_never_comes() -> None:
    """Equal signs: at 1/4 for good. A network of zeros: not even aligned."""
    found = runs_of(1e-8, signs=(1, 1))
    compare_events(found, np.eye(1, 3), 0.1)
    aligned, plateau, *never = found["phase_steps"][:, -1].T
    assert np.all(np.isfinite([aligned, plateau]))
    assert np.all(np.isinf(never))
    assert np.all(found["phase"][:, -1] == 1)
    assert np.all(found["plateau_steps"][:, -1] > 200)
    assert np.all(np.isnan(found["final_rate"]))
    start = thin_network(jax.random.key(0), 100, 2)
    start = jax.tree.map(lambda leaf: 0.0 * leaf if eqx.is_inexact_array(leaf) else leaf, start)
    run = simulate(
        make_planted_system(start, POPULATION), GradientDescent(0.1), 5, Record(["phases"])
    )
    assert np.all(np.isinf(run["phase_steps"]))


def test_alignment_asks_for_the_sign() -> None:
    """Both rows on the line from the start, and v_2 = -p_2 / 2 takes 11 steps to turn."""
    start = thin_network(jax.random.key(0), 100, 2)
    weights = jnp.asarray([[-1e-6, 0.0, 0.0], [1e-6, 0.0, 0.0]]), jnp.asarray([[-1e-6, -0.5e-6]])
    places = lambda net: [layer.weight for layer in net.layers]  # noqa: E731
    system = make_planted_system(eqx.tree_at(places, start, list(weights)), POPULATION)
    run = simulate(system, GradientDescent(0.1), 30, Record(["phases"]))
    # v = (v + p)(1.05)^t / 2 + (v - p)(0.95)^t / 2 is above 0 once (1.05 / 0.95)^t > 3.
    wanted = np.ceil(np.log(3) / np.log(1.05 / 0.95))
    assert run["phase_steps"][-1, 0] == wanted == 11


def test_several_outputs_have_losses_alone() -> None:
    start = thin_network(jax.random.key(1), 10, 4, 2, sigma=0.5)
    task = planted_map(n_inputs=10, n_outputs=2, singular_values=(2.0, 1.0))
    system = make_planted_system(start, task_population(task))
    run = simulate(system, GradientDescent(0.1), 300, Record(["loss", "phases"]))
    steps, loss = np.asarray(run["phase_steps"][-1]), np.asarray(run["loss"])
    np.testing.assert_array_equal(steps[:2], np.inf)
    assert steps[2] == np.flatnonzero(loss <= 0.01 * 5.0)[0]
    assert run["plateau_steps"][-1] == 0


def on_samples(coordinates, ratio=4.0, n_steps=250, of=FOLDS, eta=0.1):
    task = planted_map(n_inputs=10, samples_per_input=ratio, singular_values=(1.3,))
    start = thin_network(jax.random.key(2), 10, 2, sigma=1e-2, signs=(1, -1))
    system = make_system(widen(start, 10), task, loss=SquaredLoss("mean"), coordinates=coordinates)
    run = simulate(system, GradientDescent(eta), n_steps, Record(["planted_weights", *of]))
    return {name: np.asarray(array)[None] for name, array in run.records.items()}, task


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
def test_samples_allow_the_angle_of_their_noise(coordinates) -> None:
    found, _ = on_samples(coordinates)
    compare_events(found, 1.3 * np.eye(1, 10), 1.5 * np.arctan(np.sqrt(2 / 4)))
    assert np.isfinite(found["phase_steps"][0, -1, 0])


def test_many_samples_allow_the_usual_angle() -> None:
    found, _ = on_samples("weights", ratio=600.0, n_steps=100)
    assert 1.5 * np.arctan(np.sqrt(2 / 600)) < 0.1
    compare_events(found, 1.3 * np.eye(1, 10), 0.1)


def sample_gradient(rows, turned, task):
    pre = task.inputs @ rows.T
    residual = (np.maximum(pre, 0) @ turned - task.targets) / len(pre)
    return ((residual @ turned.T) * (pre > 0)).T @ task.inputs, np.maximum(pre, 0).T @ residual


def compare_drift(found, gradient, eta):
    """Drift from the weights; its law, step by step, from gradients of the host."""
    rows, turned = found["hidden_rows"][0], found["readout_rows"][0]
    own = planted.imbalance(rows, turned)
    np.testing.assert_allclose(found["imbalance_drift"][0], own - own[0], rtol=0, atol=1e-14)
    largest = np.maximum.accumulate(np.max(np.abs(own - own[0]), axis=1))
    np.testing.assert_allclose(found["largest_drift"][0], largest, rtol=0, atol=1e-14)
    slopes = [gradient(w, v) for w, v in zip(rows[:-1], turned[:-1], strict=True)]
    steps = [planted.imbalance_increment(*slope, eta) for slope in slopes]
    np.testing.assert_allclose(own[1:] - own[0], np.cumsum(steps, axis=0), rtol=0, atol=1e-12)
    assert largest[-1] > 1e-5  # there was a drift to explain
    gap = found["imbalance_gap"][0]
    assert np.all(np.diff(gap) >= 0)
    assert gap[-1] < 1e-12


def test_drift_and_its_law() -> None:
    """|a| = 2.3 and a large start; on samples the gradient is theirs."""
    found = runs_of(0.5, signs=(1, -1, 1, -1), n_steps=400, size=2.3)
    target = 2.3 * np.eye(1, 5)
    compare_drift(found, lambda w, v: gradient_of(w, v, target), 0.1 / 2.3)
    for coordinates in ("weights", "gram"):
        found, task = on_samples(coordinates, eta=0.2)
        compare_drift(found, lambda w, v, task=task: sample_gradient(w, v, task), 0.2)


def test_drift_halves_with_the_step() -> None:
    """Over a time of 100 it is of the order of eta, to 2 % (page of the theory: 0.5 +- 0.02)."""
    last = [
        runs_of(0.5, signs=(1, -1, 1, -1), eta=eta, n_steps=round(100 / eta), at=[0])
        for eta in (0.1, 0.05)
    ]
    ratio = np.median(last[1]["largest_drift"][:, -1] / last[0]["largest_drift"][:, -1])
    assert ratio == pytest.approx(0.5, abs=0.02)


def test_the_gap_shows_a_broken_law() -> None:
    """A memory whose law is off by 1e-3 in one neuron tells just that, and keeps it."""
    drift = make_diagnostic("imbalance_drift")
    system = make_planted_system(thin_network(jax.random.key(0), 100, 2), POPULATION)
    fields = system.fields(system.initial_state())
    memory = drift.start(fields, GradientDescent(0.1))
    assert drift.look(memory, fields).gap == 0
    broken = eqx.tree_at(lambda one: one.law, memory, memory.law + jnp.asarray([0.0, 1e-3]))
    after = drift.look(broken, fields)
    assert float(after.gap) == pytest.approx(1e-3)


@pytest.mark.parametrize(
    "scheme",
    [GradientDescent(0.1, momentum=0.5), GradientDescent(0.1, weight_decay=0.1), RungeKutta4(0.1)],
)
def test_drift_is_for_descent(scheme) -> None:
    system = make_planted_system(thin_network(jax.random.key(0), 100, 2), POPULATION)
    with pytest.raises(InputError, match="be gradient descent for imbalance_drift") as told:
        simulate(system, scheme, 5, Record(["imbalance_drift"]))
    assert "\n" not in str(told.value)


def fitted_rate(loss):
    """Factor of the root of the loss a step, by a line through its logarithm."""
    inside = np.flatnonzero((loss < 1e-8) & (loss >= 1e-13))
    return np.exp(np.polyfit(inside, np.log(loss[inside]), 1)[0] / 2)


@pytest.mark.parametrize(("name", "rate", "room"), [("tiny", 0.9, 1e-3), ("large", 0.95, 2e-3)])
def test_final_rates(name, rate, room, request) -> None:
    """Along a 1 - eta, across it 1 - eta / 2, which a start of 1e-8 does not show."""
    found = request.getfixturevalue(name)
    np.testing.assert_allclose(found["final_rate"][:, -1], rate, rtol=0, atol=room)
    for loss, told in zip(found["loss"], found["final_rate"], strict=True):
        inside = np.flatnonzero((loss < 1e-8) & (loss >= 1e-13))
        first, last = inside[0], inside[-1]
        assert len(inside) == last - first + 1
        by_ends = (loss[last] / loss[first]) ** (0.5 / (last - first))
        assert told[-1] == pytest.approx(by_ends, rel=1e-12)
        assert told[-1] == pytest.approx(fitted_rate(loss), abs=2e-4)
        assert np.all(np.isnan(told[: first + 1]))
        assert np.all(np.isfinite(told[first + 1 :]))
        assert np.all(told[last:] == told[-1])


def test_rates_in_units_of_the_map(tiny) -> None:
    """The window is one of loss / |a|^2, and a window of one state has no rate."""
    found = runs_of(1e-8, size=2.3)
    # Rounding of 1e-16 in a loss of 1e-13, through a root over some 110.
    np.testing.assert_allclose(found["final_rate"], tiny["final_rate"], rtol=0, atol=2e-5)
    one = make_diagnostic("final_rate", below=1.05e-10, until=1e-10)
    key = jax.random.split(jax.random.key(11), SEEDS)[0]
    start = thin_network(key, 100.0, 2, sigma=1e-8, signs=(1, -1))
    system = make_planted_system(start, POPULATION)
    run = simulate(system, GradientDescent(0.1), STEPS, Record([one], every=STEPS))
    assert np.all(np.isnan(run["final_rate"]))  # a state shrinks the loss by 0.81
    assert np.isfinite(tiny["final_rate"][0, -1])


def test_refused_options() -> None:
    for angle in (0.0, -0.1, 1.6):
        with pytest.raises(InputError, match="angle"):
            make_diagnostic("phases", angle=angle)
    for options in ({"below": 1e-13}, {"until": 0.0}, {"below": 1e-3, "until": 1e-2}):
        with pytest.raises(InputError, match=r"below|until"):
            make_diagnostic("final_rate", **options)


@pytest.mark.parametrize("name", FOLDS)
def test_ordinary_networks_are_refused(name) -> None:
    network = init_network(jax.random.key(0), 3, (4,), 1)
    system = make_system(network, gaussian(n_samples=5, n_inputs=3))
    with pytest.raises(InputError, match=f"`{name}` reads PlantedView"):
        simulate(system, GradientDescent(0.1), 1, Record([name]))
