"""Moment coordinates are weight and Gram coordinates of a linear network, layer by layer."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.data import gaussian, linear_map, make_task, task_moments
from gramdyn.diagnostics import Record
from gramdyn.dynamics import GradientDescent, Optax, RungeKutta4, simulate
from gramdyn.kernels.linear import layer_map_velocities
from gramdyn.models import Network, init_network, linear
from gramdyn.systems import MomentSystem, NetworkSystem, SquaredLoss, make_system
from gramdyn.systems.losses import AbstractLoss
from gramdyn.systems.make import make_moment_system

# n, d, C; widths; law; whether the readout trains; reduction
CASES = (
    ((7, 4, 3), (5,), "standard", True, "sum"),
    ((7, 4, 2), (5, 3), "unscaled", False, "mean"),
    ((3, 6, 2), (4, 5, 3), "ntk", True, "mean"),  # n < d: Sxx is singular
    ((8, 5, 2), (6, 2), "mean_field", False, "sum"),
    ((6, 5, 3), (2, 4), "mean_field", True, "mean"),
    ((9, 2, 1), (3, 3), "tied", True, "sum"),
)
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))


@functools.cache
def made(case):
    """Systems of one network in all three coordinates, and the task."""
    (n, d, c), widths, law, trained, reduction = case
    rng = np.random.default_rng(n)
    task = make_task(rng.normal(size=(n, d)) / np.sqrt(d), rng.normal(size=(n, c)))
    network = init_network(
        jax.random.key(n),
        d,
        widths,
        c,
        activation=linear(),
        parametrization=law,
        train_readout=trained,
        weight_scale=0.8,
        output_scale=1.1,
    )
    make = lambda how: make_system(  # noqa: E731
        network, task, loss=SquaredLoss(reduction), coordinates=how
    )
    return task, {how: make(how) for how in ("weights", "gram", "moments")}


def close(found, wanted, tolerance=1e-12):
    size = max(float(np.abs(np.asarray(wanted)).max()), 1e-2)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * size)


@by_case
def test_layer_kernels_on_the_residual_are_the_motion_of_the_map(case) -> None:
    """The Gram hierarchy with every mask 1 is the product law, layer by layer."""
    task, systems = made(case)
    (n, _, _), widths, _, trained, reduction = case
    scale = 1.0 if reduction == "sum" else 1 / n

    @eqx.filter_jit
    def found(weights, gram, moments):
        networks = [one.fields(one.initial_state()) for one in (weights, gram)]
        laws = [
            scale * jnp.einsum("lmcne,ne->lmc", one.layer_kernels, one.residual) for one in networks
        ]
        fields = moments.fields(moments.initial_state())
        shares = layer_map_velocities(fields.weights, fields.error)
        layers = moments.start.layers
        factors = [1.0 if one.scale is None else one.scale**2 for one in layers]
        kept = [f * x for one, f, x in zip(layers, factors, shares, strict=True) if one.trainable]
        return laws, jnp.stack(kept), fields.loss, [one.loss for one in networks]

    laws, shares, loss, losses = found(*systems.values())
    assert len(shares) == len(widths) + trained
    on_samples = np.einsum("nd,lcd->lnc", task.inputs, shares)
    for law, other in zip(laws, losses, strict=True):
        for one, wanted in zip(law, on_samples, strict=True):
            close(one, -wanted)
        close(other, loss)
    assert np.abs(on_samples).max(axis=(1, 2)).min() > 1e-3


@by_case
def test_velocity_stiffness_and_gradient_are_those_of_the_network(case) -> None:
    task, systems = made(case)

    @eqx.filter_jit
    def found(system):
        state = system.initial_state()
        fields = system.fields(state)
        return system.velocity(state), system.stiffness(fields)

    @eqx.filter_jit
    def gradient_of(system):
        """By autodiff of the loss of the data, none of the network's own laws."""
        rest, scale = system.start.partition()[1], system.loss.scale(task.n_samples)

        def loss(state):
            outputs = eqx.combine(state, rest)(system.inputs)
            return 0.5 * scale * jnp.sum((outputs - system.targets) ** 2)

        return jax.grad(loss)(system.initial_state())

    velocity, stiffness = found(systems["moments"])
    gradient = gradient_of(systems["weights"])
    assert jax.tree.structure(velocity) == jax.tree.structure(gradient)
    for one, slope in zip(*map(jax.tree.leaves, (velocity, gradient)), strict=True):
        close(one, -slope)
    square = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient))
    np.testing.assert_allclose(seen_of(systems["moments"])["gradient_square"], square, rtol=1e-12)
    for how in ("weights", "gram"):
        np.testing.assert_allclose(stiffness, found(systems[how])[1], rtol=1e-11)


@eqx.filter_jit
def seen_of(system):
    fields = system.fields(system.initial_state())
    return {
        "gradient_square": fields.gradient_square,
        "map": fields.map,
        "strengths": fields.mode_strengths,
        "white_map": fields.white_map,
        "excess": fields.excess_loss,
    }


@by_case
def test_what_the_fields_show_of_the_map(case) -> None:
    task, systems = made(case)
    system = systems["moments"]
    seen = seen_of(system)
    whole = functools.reduce(
        lambda below, layer: np.asarray(layer.matrix()) @ below,
        system.start.layers,
        np.eye(case[0][1]),
    )
    close(seen["map"], whole)
    scale = 1.0 if case[4] == "sum" else 1 / case[0][0]
    moments = task_moments(task, scale)
    white = whole @ moments.input_root
    close(seen["white_map"], white)
    strengths = [u @ white @ v for u, v in zip(moments.left.T, moments.right.T, strict=True)]
    close(seen["strengths"], strengths)
    loss = 0.5 * scale * np.sum((task.inputs @ whole.T - task.targets) ** 2)
    np.testing.assert_allclose(seen["excess"] + moments.floor, loss, rtol=1e-13)


SCHEMES = {
    "descent": (CASES[0], GradientDescent(0.02), ("weights", "gram")),
    "momentum and decay": (
        CASES[2],
        GradientDescent(0.05, momentum=0.9, weight_decay=0.02),
        ("weights", "gram"),
    ),
    "momentum, fixed readout": (CASES[3], GradientDescent(0.05, momentum=0.8), ("gram",)),
    "decay, fixed readout": (CASES[1], GradientDescent(0.05, weight_decay=0.1), ("weights",)),
    "RK4": (CASES[4], RungeKutta4(0.2), ("weights", "gram")),
    "Adam": (CASES[5], Optax("adam", 0.01), ("weights",)),
}


def trained_arrays(system, result):
    return jax.tree.leaves(system.network(result.state))


@pytest.mark.parametrize("name", SCHEMES)
def test_trajectories_are_those_of_the_network(name) -> None:
    case, scheme, others = SCHEMES[name]
    _, systems = made(case)
    record = Record(["loss"])
    mine = simulate(systems["moments"], scheme, 80, record)
    assert mine["loss"][-1] < 0.97 * mine["loss"][0]
    for how in others:
        result = simulate(systems[how], scheme, 80, record)
        np.testing.assert_allclose(mine["loss"], result["loss"], rtol=1e-12)
        pairs = [trained_arrays(systems[how], result), trained_arrays(systems["moments"], mine)]
        for wanted, found in zip(*pairs, strict=True):
            close(found, wanted)


def test_what_no_input_sees_stays() -> None:
    """n < d: W_1 off the span of the inputs is frozen."""
    task, systems = made(CASES[2])
    system = systems["moments"]
    end = system.network(simulate(system, GradientDescent(0.1), 50, Record(["loss"])).state)
    moved = np.asarray(end.layers[0].weight - system.start.layers[0].weight)
    outside = np.eye(6) - np.linalg.pinv(task.inputs) @ task.inputs
    assert np.abs(moved).max() > 1e-2
    assert np.abs(moved @ outside).max() < 1e-14


def test_one_layer_is_linear_regression() -> None:
    """Depth 0: T - Pi shrinks by (1 - eta Sxx) a step."""
    task = gaussian(n_samples=9, n_inputs=4, n_outputs=2, seed=1)
    network = init_network(
        jax.random.key(0), 4, (), 2, activation=linear(), train_readout=True, output_scale=2.0
    )
    loss = SquaredLoss("mean")
    system = make_system(network, task, loss=loss, coordinates="moments")
    end = system.network(simulate(system, GradientDescent(0.5), 30, Record(["loss"])).state)
    moments = task_moments(task, 1 / 9)
    factor = np.linalg.matrix_power(np.eye(4) - 0.5 * moments.input_moment, 30)
    gap = (np.asarray(network.layers[0].weight) - moments.target) @ factor
    close(end.layers[0].weight, moments.target + gap)


def test_what_it_says_of_itself() -> None:
    system = made(CASES[0])[1]["moments"]
    assert isinstance(system, MomentSystem)
    assert (system.coordinates, system.exact_for) == ("moments", "any")
    # 3 products of C rows with each of the 2 matrices, one each with Sxx and its root
    assert system.step_flops() == 2 * 3 * (3 * (5 * 4 + 3 * 5) + 2 * 4 * 4)
    task = linear_map(n_inputs=4, n_outputs=3, singular_values=(2.0,))
    white = make_system(system.start, task, coordinates="moments")
    assert white.moments.input_moment is None
    assert white.step_flops() == 2 * 3 * 3 * (5 * 4 + 3 * 5)
    assert all(isinstance(made(CASES[0])[1][how], NetworkSystem) for how in ("weights", "gram"))


def test_white_and_identity_spelt_out_are_one_system() -> None:
    task = linear_map(n_inputs=4, n_outputs=3, singular_values=(2.0, 1.0), rotate=True)
    network = made(CASES[0])[1]["moments"].start
    found = []
    for moments in (task_moments(task), task_moments(task).with_moment()):
        system = make_moment_system(network, moments)
        result = simulate(system, GradientDescent(0.05), 20, Record(["loss"]))
        found.append((result["loss"], result.state.layers[0].weight))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-13)


def test_it_takes_the_dtype_of_the_network() -> None:
    network = init_network(
        jax.random.key(0), 4, (5,), 3, activation=linear(), dtype=jnp.float32, train_readout=True
    )
    task = gaussian(n_samples=6, n_inputs=4, n_outputs=3)
    system = make_system(network, task, coordinates="moments")
    fields = system.fields(system.initial_state())
    seen = (system, fields.loss, fields.velocity(), fields.mode_strengths, fields.gradient_square)
    assert {leaf.dtype for leaf in jax.tree.leaves(seen)} == {jnp.dtype("float32")}


class CubicLoss(AbstractLoss):
    """Not squared."""

    reduction: str = eqx.field(static=True, default="sum")

    def value(self, outputs, targets):
        return jnp.sum(jnp.abs(outputs - targets) ** 3) / 3

    def residual(self, outputs, targets):
        return (outputs - targets) * jnp.abs(outputs - targets)


LINEAR = "`network` must be linear without biases for moment coordinates, but is "


@pytest.mark.parametrize(
    ("network", "task", "options", "told"),
    [
        ({"activation": None}, {}, {}, LINEAR + r".*'relu'"),
        ({"bias": True}, {}, {}, LINEAR + r".*bias True"),
        ({}, {}, {"centred": True}, "`centred` must be false for moment coordinates, but is True"),
        ({}, {}, {"loss": CubicLoss()}, "`loss` must be squared for moment coordinates, but is "),
        ({}, {"n_inputs": 3}, {}, r"inputs and outputs \(3, 2\) like the task, but is \(4, 2\)"),
        ({}, {"n_outputs": 1}, {}, r"inputs and outputs \(4, 1\) like the task, but is \(4, 2\)"),
        ({"train_readout": False, "widths": ()}, {}, {}, r"`widths` must hold one whole number"),
    ],
)
def test_refusals(network, task, options, told) -> None:
    network = {"activation": linear(), "widths": (5,)} | network
    with pytest.raises(InputError, match=told) as caught:
        make_system(
            init_network(jax.random.key(0), 4, network.pop("widths"), 2, **network),
            gaussian(**{"n_samples": 6, "n_inputs": 4, "n_outputs": 2} | task),
            coordinates="moments",
            **options,
        )
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_network_in_gram_coordinates_or_without_anything_to_train_is_refused() -> None:
    _, systems = made(CASES[0])
    moments = task_moments(made(CASES[0])[0])
    with pytest.raises(InputError, match=LINEAR + r".*'GramDense'"):
        make_moment_system(systems["gram"].start, moments)
    layers = systems["moments"].start.layers
    frozen = Network(tuple(dataclasses.replace(layer, trainable=False) for layer in layers))
    with pytest.raises(InputError, match="`network` must train, all of one dtype"):
        make_moment_system(frozen, moments)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_excess_loss_of_a_fit_is_never_below_zero(dtype) -> None:
    """Fewer whitened samples than inputs: what no input sees stays of order one in Pi."""
    task = gaussian(n_samples=6, n_inputs=9, n_outputs=2, whiten=True)
    network = init_network(
        *(jax.random.key(0), 9, (4,), 2),
        activation=linear(),
        train_readout=True,
        dtype=np.dtype(dtype).type,
    )
    system = make_system(network, task, coordinates="moments")
    record = Record(["excess_loss"], every=100)
    found = simulate(system, GradientDescent(0.02), 3000, record)["excess_loss"]
    assert np.all(found >= 0)
    assert found[-1] < 1e-2 * np.finfo(dtype).eps  # the square of what float32 or float64 leaves
