"""Gram coordinates and weight coordinates are one trajectory, and W^1 can be rebuilt."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.reference import count_flips, numpy_descent, plain, random_network

from gramdyn.data import gaussian, make_task
from gramdyn.diagnostics import Record
from gramdyn.dynamics import GradientDescent, RungeKutta4, simulate
from gramdyn.models import Dense, GramDense, Network, init_network, relu
from gramdyn.systems import NetworkSystem, SquaredLoss, make_system
from gramdyn.systems.gram import choose_coordinates

# Rounding of two orders of the same sums, over hundreds of steps through dozens of mask flips.
ATOL = 1e-12


def first_pre(fields):
    """Preactivations of the first layer."""
    return fields.traces[0].pre


def _run(system: NetworkSystem, scheme, n_steps: int):
    return simulate(system, scheme, n_steps, Record(["residual", "flips", first_pre]))


def _both(network: Network, task, scheme, n_steps: int, **options):
    systems = {
        name: make_system(network, task, coordinates=name, **options)
        for name in ("weights", "gram")
    }
    results = {name: _run(system, scheme, n_steps) for name, system in systems.items()}
    for result in results.values():
        assert int(result.status) == 0
    for name in ("residual", "first_pre"):
        np.testing.assert_allclose(
            results["gram"][name], results["weights"][name], rtol=0, atol=ATOL
        )
    np.testing.assert_array_equal(results["gram"]["flips"], results["weights"]["flips"])
    back = systems["gram"].network(results["gram"].state)
    there = systems["weights"].network(results["weights"].state)
    for mine, other in zip(back.layers, there.layers, strict=True):
        assert isinstance(mine, Dense)
        for found, wanted in zip(jax.tree.leaves(mine), jax.tree.leaves(other), strict=True):
            # W^1 is solved for: rounding times the condition of X, below 100 here
            np.testing.assert_allclose(found, wanted, rtol=0, atol=50 * ATOL)
    return results, there


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_gradient_descent_in_both_coordinates_and_by_hand(depth: int) -> None:
    """Exact fields, flips included: n = 8, d = 10, N = 24, 500 steps."""
    task = gaussian(n_samples=8, n_inputs=10, seed=1)
    network = init_network(jax.random.key(depth), 10, (24,) * depth)
    eta = 0.02
    results, there = _both(network, task, GradientDescent(eta), 500)
    wanted = numpy_descent(
        plain(network, "relu"), np.asarray(task.inputs), np.asarray(task.targets), 500, eta
    )
    np.testing.assert_allclose(
        results["weights"]["residual"], wanted["residual"], rtol=0, atol=ATOL
    )
    flips = np.stack([count_flips(pre) for pre in wanted["pre"]], axis=1)
    np.testing.assert_array_equal(results["weights"]["flips"][1:], flips)
    assert flips.sum() > 0
    for layer, (weight, _) in zip(there.layers, wanted["params"], strict=True):
        np.testing.assert_allclose(layer.weight, weight, rtol=0, atol=ATOL)


@pytest.mark.parametrize(
    ("activation", "law", "n_outputs", "trained", "reduction", "centred"),
    [
        ("relu", "standard", 2, True, "sum", False),
        ("leaky_relu", "ntk", 1, False, "mean", True),
        ("linear", "mean_field", 2, True, "sum", True),
    ],
)
def test_momentum_decay_and_bias(activation, law, n_outputs, trained, reduction, centred) -> None:
    task = gaussian(n_samples=8, n_inputs=10, n_outputs=n_outputs, seed=1)
    network = random_network(
        jax.random.key(0),
        10,
        (24, 12),
        n_outputs,
        activation=activation,
        parametrization=law,
        bias=True,
        train_readout=trained,
    )
    eta = 0.01 if reduction == "sum" else 0.05
    scheme = GradientDescent(eta, momentum=0.8, weight_decay=0.01)
    results, there = _both(network, task, scheme, 300, loss=SquaredLoss(reduction), centred=centred)
    assert (np.sum(results["gram"]["flips"]) > 0) == (activation != "linear")
    # and by hand; a centred target is the target plus the output at t = 0
    x, y = np.asarray(task.inputs), np.asarray(task.targets)
    y = y + np.asarray(network(jnp.asarray(x))) if centred else y
    wanted = numpy_descent(
        plain(network, activation),
        x,
        y,
        300,
        eta,
        momentum=0.8,
        decay=0.01,
        s=1.0 if reduction == "sum" else 1 / 8,
        trained=[True, True, trained],
    )
    np.testing.assert_allclose(
        results["weights"]["residual"], wanted["residual"], rtol=0, atol=ATOL
    )
    for layer, (weight, bias) in zip(there.layers, wanted["params"], strict=True):
        np.testing.assert_allclose(layer.weight, weight, rtol=0, atol=ATOL)
        if bias is not None:
            np.testing.assert_allclose(layer.bias, bias, rtol=0, atol=ATOL)


def test_runge_kutta_in_both_coordinates() -> None:
    task = gaussian(n_samples=8, n_inputs=10, seed=1)
    network = random_network(jax.random.key(3), 10, (24, 12), bias=True, train_readout=True)
    results, _ = _both(network, task, RungeKutta4(0.03), 300)
    assert np.sum(results["gram"]["flips"]) > 0


@pytest.mark.parametrize("decay", [None, 0.05])
@pytest.mark.parametrize(
    ("n", "d", "rank", "bias"),
    [(6, 9, 6, False), (6, 9, 6, True), (12, 4, 4, True), (8, 9, 3, False), (8, 9, 3, True)],
    ids=["n<d", "n<d bias", "n>d bias", "rank 3", "rank 3 bias"],
)
def test_first_weights_are_rebuilt(n: int, d: int, rank: int, bias: bool, decay) -> None:
    """Inputs that span the space, or do not: what no input sees stays, but for the decay."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d)) / np.sqrt(d)
    task = make_task(x, rng.normal(size=(n, 1)))
    network = random_network(
        jax.random.key(1), d, (10,), activation="relu", parametrization="ntk", bias=bias
    )
    scheme = GradientDescent(0.02, momentum=None if decay is None else 0.5, weight_decay=decay)
    _, there = _both(network, task, scheme, 100)
    moved = np.asarray(there.layers[0].weight) - np.asarray(network.layers[0].weight)
    assert np.abs(moved).max() > 1e-2
    # without decay the movement lies in the span of the inputs (closed form)
    if decay is None:
        outside = np.eye(d) - np.linalg.pinv(x) @ x
        assert np.abs(moved @ outside).max() < 1e-12


def test_rebuilding_at_the_start_gives_the_start() -> None:
    task = gaussian(n_samples=5, n_inputs=7, seed=1)
    network = random_network(jax.random.key(1), 7, (4,), parametrization="ntk", bias=True)
    system = make_system(network, task, coordinates="gram")
    back = system.network(system.initial_state())
    np.testing.assert_allclose(back.layers[0].weight, network.layers[0].weight, atol=1e-13)
    np.testing.assert_allclose(back.layers[0].bias, network.layers[0].bias, atol=1e-13)


def test_inputs_that_all_vanish() -> None:
    """No direction is seen: the weights stay where they are."""
    network = init_network(jax.random.key(1), 3, (4,))
    system = make_system(network, make_task(np.zeros((2, 3)), np.ones((2, 1))), coordinates="gram")
    result = _run(system, GradientDescent(0.1), 3)
    back = system.network(result.state)
    np.testing.assert_array_equal(back.layers[0].weight, network.layers[0].weight)


def test_choice_of_coordinates() -> None:
    assert choose_coordinates(12, 10) == "gram"
    assert choose_coordinates(13, 10) == "weights"
    network = init_network(jax.random.key(0), 10, (4,))
    for n, wanted in ((12, "gram"), (13, "weights")):
        system = make_system(network, gaussian(n_samples=n, n_inputs=10))
        assert system.coordinates == wanted
        assert isinstance(system.start.layers[0], GramDense) == (wanted == "gram")
        assert system.exact_for == {"gram": "linear", "weights": "any"}[wanted]


@pytest.mark.parametrize("bias", [False, True])
def test_ntk_descent_is_standard_descent_with_a_rate_for_each_layer(bias: bool) -> None:
    """Weights times a multiplier c trained at eta move as weights without it trained at eta c^2."""
    task = gaussian(n_samples=8, n_inputs=10, seed=1)
    network = random_network(
        jax.random.key(4), 10, (16, 12), parametrization="ntk", bias=bias, train_readout=True
    )
    eta = 0.05
    result = _run(make_system(network, task), GradientDescent(eta), 200)
    params, scales, slope = plain(network, "relu")
    folded = [(scale * weight, b) for scale, (weight, b) in zip(scales, params, strict=True)]
    wanted = numpy_descent(
        (folded, [1.0] * 3, slope),
        np.asarray(task.inputs),
        np.asarray(task.targets),
        200,
        eta,
        trained=[True] * 3,
        rates=[scale**2 for scale in scales],
    )
    np.testing.assert_allclose(result["residual"], wanted["residual"], rtol=0, atol=ATOL)


@pytest.mark.slow
def test_depth_one_closes_on_the_preactivations() -> None:
    """n = 32, d = 200, N = 256, 2000 steps at eta = 0.5 / lambda_max: theory, section 6.

    The closed integrator, in numpy on (z, r) with G^0 alone, against both coordinates.
    """
    n, n_steps = 32, 2000
    task = gaussian(n_samples=n, n_inputs=200, seed=0)
    network = init_network(jax.random.key(0), 200, (256,), activation=relu())
    x, y = np.asarray(task.inputs), np.asarray(task.targets)
    gram, a = x @ x.T, np.asarray(network.layers[1].weight)
    z = x @ np.asarray(network.layers[0].weight).T
    mask = 1.0 * (z > 0)
    kernel = gram * ((mask * a**2) @ mask.T)
    eta = 0.5 / np.linalg.eigvalsh(kernel)[-1]
    closed, losses = [z], []
    for _ in range(n_steps):
        mask = 1.0 * (z > 0)
        residual = (mask * z) @ a.T - y
        losses.append(0.5 * np.sum(residual**2))
        z = z - eta * gram @ (residual * mask * a)
        closed.append(z)
    closed = np.stack(closed)
    # Below a loss of 1e-18 units on their kink move by less than the rounding of z, and which way
    # they flip is chance; z itself agrees all the same.
    until = int(np.argmax(np.array(losses) < 1e-18))
    flips = count_flips(closed)[:until]
    for coordinates in ("weights", "gram"):
        system = make_system(network, task, coordinates=coordinates)
        result = _run(system, GradientDescent(float(eta)), n_steps)
        worst = float(np.abs(np.asarray(result["first_pre"]) - closed).max())
        print(f"{coordinates}: max |z - z closed| = {worst:.1e}, {flips.sum()} mask flips")
        assert worst <= 1e-12
        np.testing.assert_array_equal(result["flips"][1 : until + 1, 0], flips)
        assert flips.sum() > 1000


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_momentum_at_every_depth(depth) -> None:
    task = gaussian(n_samples=8, n_inputs=10, seed=1)
    network = random_network(jax.random.key(depth), 10, (24,) * depth, 1)
    results, _ = _both(network, task, GradientDescent(0.005, momentum=0.5), 500)
    assert np.sum(results["gram"]["flips"]) > 0
