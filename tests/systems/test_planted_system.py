"""Both layers on a planted map: population in thin coordinates, samples in both coordinates."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.planted_starts import drawn

import gramdyn as gd
from gramdyn import InputError
from gramdyn.data import Population
from gramdyn.kernels.planted_gram import gram_step
from gramdyn.models import Dense, Network, linear, relu, widen
from gramdyn.planted import gradient_of, hessian_matrix, loss_of, thin
from gramdyn.systems import (
    NetworkSystem,
    PlantedSystem,
    SampledSystem,
    SquaredLoss,
    make_planted_system,
)


def network_of(hidden, readout):
    layers = (
        Dense(jnp.asarray(hidden), None, None, relu()),
        Dense(jnp.asarray(readout).T, None, None, linear()),
    )
    return Network(layers)


def system_of(hidden, readout, planted_map=None):
    c = np.shape(readout)[1]
    target = np.eye(c) if planted_map is None else planted_map
    return make_planted_system(network_of(hidden, readout), Population(target, np.asarray(50.0)))


def plain_descent(hidden, readout, target, eta, steps, momentum=0.0, decay=0.0):
    """Descent by the page's formulas in NumPy, with momentum and weight decay."""
    rows, turned = np.array(hidden), np.array(readout)
    moves = [np.zeros_like(rows), np.zeros_like(turned)]
    for _ in range(steps):
        slopes = gradient_of(rows, turned, target)
        for i, (slope, part) in enumerate(zip(slopes, (rows, turned), strict=True)):
            moves[i] = momentum * moves[i] - slope - decay * part
        rows, turned = rows + eta * moves[0], turned + eta * moves[1]
    return rows, turned


def end_of(system, scheme, steps):
    run = gd.simulate(system, scheme, steps, gd.Record(["planted_weights"], every=steps))
    return np.asarray(run["hidden_rows"][-1]), np.asarray(run["readout_rows"][-1])


@pytest.mark.parametrize(("k", "c", "sigma"), [(2, 1, 1e-8), (5, 2, 0.5), (3, 3, 1.0)])
@pytest.mark.parametrize("extra", [{}, {"momentum": 0.5}, {"weight_decay": 0.01}])
def test_thin_run_is_the_one_of_all_inputs(k, c, sigma, extra):
    """40 inputs in plain NumPy, rotated; rounding of 500 steps, measured 3e-15."""
    rng = np.random.default_rng(k)
    hidden, readout = (
        sigma / np.sqrt(40) * rng.normal(size=(k, 40)),
        sigma * rng.normal(size=(k, c)),
    )
    target = np.diag(np.linspace(1, 2, c)) @ np.eye(c, 40)
    found = thin(hidden, target)
    system = system_of(found.hidden, readout, found.target[:, :c])
    rows, turned = end_of(system, gd.GradientDescent(0.1, **extra), 500)
    options = {"momentum": extra.get("momentum", 0.0), "decay": extra.get("weight_decay", 0.0)}
    wanted = plain_descent(hidden, readout, target, 0.1, 500, **options)
    np.testing.assert_allclose(found.widen(rows), wanted[0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(turned, wanted[1], rtol=0, atol=1e-13)


def test_flow_is_that_of_another_integrator():
    from scipy.integrate import solve_ivp

    rows, turned = (part[0] for part in drawn(1, 3, 2, 0.7))
    target = np.eye(2, 5)

    def velocity(_, flat):
        slopes = gradient_of(flat[:15].reshape(3, 5), flat[15:].reshape(3, 2), target)
        return -np.concatenate([part.ravel() for part in slopes])

    start = np.concatenate([rows.ravel(), turned.ravel()])
    wanted = solve_ivp(velocity, (0, 10), start, "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
    found = end_of(system_of(rows, turned), gd.RungeKutta4(0.01), 1000)
    np.testing.assert_allclose(np.concatenate([x.ravel() for x in found]), wanted, atol=1e-8)


@pytest.mark.parametrize(("k", "c"), [(2, 1), (4, 2), (9, 3)])
def test_stiffness_is_the_largest_eigenvalue_of_the_hessian(k, c):
    rows, turned = (part[0] for part in drawn(1, k, c, 1.0))
    system = system_of(rows, turned)
    found = system.stiffness(system.fields(system.initial_state()))
    wanted = np.linalg.eigvalsh(hessian_matrix(rows, turned, np.eye(c, c + k)))[-1]
    np.testing.assert_allclose(found, wanted, rtol=1e-7)


@pytest.mark.parametrize(("k", "c"), [(2, 1), (4, 2), (5, 3)])
def test_the_watched_loss_is_the_loss(k, c):
    """To rounding: status is decided by it in every step."""
    rows, turned = (part[0] for part in drawn(1, k, c, 1.3))
    system = system_of(rows, turned)
    fields = system.fields(system.initial_state())
    wanted = loss_of(rows, turned, np.eye(c, c + k))
    np.testing.assert_allclose([fields.watched_loss, fields.loss], wanted, rtol=0, atol=1e-14)


def test_gram_form_makes_the_same_steps():
    rows, turned = (part[0] for part in drawn(1, 4, 2, 0.5))
    target = jnp.eye(2, 6)
    state = jnp.asarray(rows @ rows.T), jnp.asarray(rows) @ target.T, jnp.asarray(turned)
    step = jax.jit(lambda state: gram_step(*state, jnp.eye(2), 0.1))
    for _ in range(300):
        state = step(state)
    rows, turned = end_of(system_of(rows, turned), gd.GradientDescent(0.1), 300)
    np.testing.assert_allclose(state[0], rows @ rows.T, atol=1e-12)
    np.testing.assert_allclose(state[1], rows @ target.T, atol=1e-12)
    np.testing.assert_allclose(state[2], turned, atol=1e-12)


@pytest.mark.parametrize(
    "second", [[1.0, 0, 0], [-1.0, 0, 0], [0, 0, 0], [1e-8, 0, 0], [1, 1e-8, 0], [-1, 1e-12, 0]]
)
def test_edges_of_the_angles_are_no_nan_and_dead_rows_stay(second):
    rows, turned = np.array([[1.0, 0, 0], second]), np.array([[0.5], [0.7]])
    system = system_of(rows, turned)
    fields = system.fields(system.initial_state())
    leaves = [*jax.tree.leaves(system.velocity(system.initial_state())), fields.loss]
    assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in [*leaves, system.stiffness(fields)])
    found = end_of(system, gd.GradientDescent(0.1), 50)
    if not any(second):
        np.testing.assert_array_equal(found[0][1], 0)
        assert found[1][1, 0] == 0.7


@pytest.mark.parametrize("sigma", [1e-8, 1e-16])
def test_float32_follows_float64_in_which_seeds_learn(sigma):
    """The same numbers, cast; the floor is some 1e-13 in place of 1e-17."""
    rows, turned = drawn(60, 2, 1, sigma)
    outcomes = []
    for dtype in (jnp.float32, jnp.float64):

        def build(start, dtype=dtype):
            network = network_of(start[0], start[1])
            return PlantedSystem(network, jnp.eye(1, dtype=dtype)), gd.GradientDescent(0.1)

        starts = tuple(jnp.asarray(part, dtype) for part in (rows, turned))
        run = gd.simulate_many(build, starts, 2500, gd.Record(["loss"], every=2500))
        outcomes.append(np.asarray(run["loss"][:, -1] < 1e-3))
        assert run["loss"].dtype == dtype
    np.testing.assert_array_equal(*outcomes)
    assert 0.3 < outcomes[0].mean() < 0.7


def test_refusals():
    rows, turned = (part[0] for part in drawn(1, 2, 1, 1.0))
    with pytest.raises(InputError, match="Gram and thin coordinates"):
        gd.simulate(system_of(rows, turned), gd.Optax("adam", 0.1), 2, gd.Record(["loss"]))
    with pytest.raises(InputError, match="have 2 outputs like the map"):
        system_of(rows, turned, np.eye(2))
    with pytest.raises(InputError, match="have 3 inputs, in thin coordinates"):
        system_of(rows[:, :2], turned)
    deep = gd.init_network(jax.random.key(0), 3, (2, 2), train_readout=True)
    with pytest.raises(InputError, match="be one layer of ReLU and a readout"):
        make_planted_system(deep, Population(np.eye(1), np.asarray(5.0)))


def sampled(coordinates, task, network):
    return gd.make_system(network, task, loss=SquaredLoss("mean"), coordinates=coordinates)


@pytest.fixture
def task():
    return gd.planted_map(n_inputs=12, n_outputs=2, samples_per_input=2.5, seed=1).cast("float64")


def test_samples_in_both_coordinates_and_their_rows(task):
    """2000 steps, flips on the way: 1e-10 of the issue, 1e-14 seen."""
    network = widen(gd.thin_network(jax.random.key(0), 12, 5, 2, sigma=0.3), 12)
    record = gd.Record(["planted_weights", "residual", "flips", "population_loss"], every=200)
    runs = []
    for coordinates in ("weights", "gram"):
        system = sampled(coordinates, task, network)
        assert isinstance(system, SampledSystem)
        runs.append(gd.simulate(system, gd.GradientDescent(0.1), 2000, record))
    for name in ("hidden_rows", "readout_rows", "residual", "population_loss"):
        np.testing.assert_allclose(runs[0][name], runs[1][name], atol=1e-10)
    assert int(np.sum(runs[0]["flips"])) > 0
    rows, turned = (np.asarray(runs[0][name][3]) for name in ("hidden_rows", "readout_rows"))
    found = runs[0]["population_loss"][3]
    np.testing.assert_allclose(found, loss_of(rows, turned, np.eye(2, 12)), rtol=1e-12)


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
def test_gradient_rows_are_those_of_autodiff(task, coordinates):
    network = widen(gd.thin_network(jax.random.key(0), 12, 5, 2, law="xavier"), 12)
    state, rest = network.partition()
    inputs, targets = jnp.asarray(task.inputs), jnp.asarray(task.targets)
    loss = lambda s: jnp.sum((eqx.combine(s, rest)(inputs) - targets) ** 2) / (2 * len(inputs))  # noqa: E731
    slopes = [layer.weight for layer in jax.grad(loss)(state).layers]
    system = sampled(coordinates, task, network)
    found = system.fields(system.initial_state()).gradient_rows
    np.testing.assert_allclose(found[0], slopes[0], atol=1e-14)
    np.testing.assert_allclose(found[1], slopes[1].T, atol=1e-14)


def test_other_networks_on_the_task_are_ordinary_systems(task):
    deep = gd.init_network(jax.random.key(0), 12, (4, 4), 2, train_readout=True)
    fixed = gd.init_network(jax.random.key(0), 12, (4,), 2)
    both = gd.init_network(jax.random.key(0), 12, (4,), 2, train_readout=True)
    assert type(gd.make_system(deep, task)) is NetworkSystem
    assert type(gd.make_system(fixed, task)) is NetworkSystem
    assert type(gd.make_system(both, task, centred=True)) is NetworkSystem
    assert type(gd.make_system(both, task)) is SampledSystem
    with pytest.raises(InputError, match="PlantedView"):
        gd.simulate(gd.make_system(deep, task), gd.GradientDescent(0.1), 2, gd.Record(["gains"]))
