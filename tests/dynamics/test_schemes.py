"""Each scheme against a loop in numpy or optax, a closed form, or its own order."""

import itertools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from support.linear_system import DecayFields, decay, exact
from support.reference import numpy_descent, outputs, plain, random_network, squared_loss

from gramdyn._errors import InputError
from gramdyn.data import gaussian, linear_map
from gramdyn.diagnostics import Instant, Record
from gramdyn.dynamics import (
    SCHEMES,
    Adaptive,
    GradientDescent,
    Optax,
    Relative,
    RungeKutta4,
    Status,
    euler,
    known_optimisers,
    simulate,
)
from gramdyn.models import init_network, linear
from gramdyn.systems import SquaredLoss, make_system

N, D = 6, 5


def state_of(fields):
    """The state of a linear decay."""
    return fields.x


STATE = Instant("state_of", state_of, needs=DecayFields)
# Start and end alone, whatever the number of steps: one program for all of them.
END, LAST = Record([STATE], at=(0,)), Record(["residual"], at=(0,))


def _task(n_outputs: int = 2):
    return gaussian(n_samples=N, n_inputs=D, n_outputs=n_outputs, seed=3)


def _network(**options):
    return random_network(jax.random.key(1), D, (9, 7), 2, bias=True, train_readout=True, **options)


def _by_hand(network, n_steps: int, eta: float, **options) -> np.ndarray:
    task = _task()
    return numpy_descent(
        plain(network, "relu"),
        np.asarray(task.inputs),
        np.asarray(task.targets),
        n_steps,
        eta,
        trained=[True] * 3,
        **options,
    )["residual"]


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
@pytest.mark.parametrize(
    ("momentum", "decay_rate"), [(None, None), (0.9, None), (None, 0.02), (0.7, 0.02)]
)
def test_gradient_descent_is_the_loop_in_numpy(momentum, decay_rate, coordinates: str) -> None:
    network = _network()
    system = make_system(network, _task(), coordinates=coordinates)
    scheme = GradientDescent(0.01, momentum, decay_rate)
    result = simulate(system, scheme, 150, Record(["residual", "loss"]))
    wanted = _by_hand(network, 150, 0.01, momentum=momentum or 0.0, decay=decay_rate or 0.0)
    # rounding over 150 steps
    np.testing.assert_allclose(result["residual"], wanted, rtol=0, atol=1e-13)
    np.testing.assert_allclose(result["loss"], 0.5 * np.sum(wanted**2, (1, 2)), rtol=1e-11)


def test_momentum_zero_and_decay_zero_change_nothing() -> None:
    system, record = make_system(_network(), _task()), Record(["residual"])
    one = simulate(system, GradientDescent(0.01), 50, record)
    other = simulate(system, GradientDescent(0.01, 0.0, 0.0), 50, record)
    # 0 * m + d is d, but another program
    np.testing.assert_allclose(other["residual"], one["residual"], rtol=0, atol=1e-13)


def test_heavy_ball_on_a_quadratic_has_its_closed_form() -> None:
    """x'' = (1 + m - eta a) x' - m x on each eigendirection: a two-term recursion."""
    system = decay()
    eta, m = 0.3, 0.8
    result = simulate(system, GradientDescent(eta, m), 40, Record([STATE]))
    values, vectors = np.linalg.eigh(np.asarray(system.matrix))
    now = before = vectors.T @ np.asarray(system.start)
    for step in range(41):
        np.testing.assert_allclose(vectors.T @ result["state_of"][step], now, rtol=0, atol=1e-12)
        now, before = (1 + m - eta * values) * now - m * before, now


def test_optax_sgd_is_gradient_descent() -> None:
    record = Record(["residual"])
    for coordinates in ("weights", "gram"):
        system = make_system(_network(), _task(), coordinates=coordinates)
        mine = simulate(system, GradientDescent(0.01, 0.9), 100, record)
        theirs = simulate(system, Optax("sgd", 0.01, (("momentum", 0.9),)), 100, record)
        # the same recursion, m' = momentum m + g and x' = x - eta m'
        np.testing.assert_allclose(theirs["residual"], mine["residual"], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "options"), [("adam", ()), ("adamw", (("weight_decay", 0.1),)), ("rmsprop", ())]
)
def test_optax_by_name_is_a_loop_with_autodiff(name: str, options: tuple) -> None:
    network, task = _network(parametrization="ntk"), _task()
    system = make_system(network, task, coordinates="weights", loss=SquaredLoss("mean"))
    # optax itself mixes dtypes (a power of its int32 counter), so its loop is not strict
    with jax.numpy_dtype_promotion("standard"):
        result = simulate(system, Optax(name, 0.02, options), 60, Record(["residual"]))
        params, scales, slope = plain(network, "relu")
        params = jax.tree.map(jnp.asarray, params)
        transformation = getattr(optax, name)(0.02, **dict(options))
        memory = transformation.init(params)
        x, y = jnp.asarray(task.inputs), jnp.asarray(task.targets)

        @jax.jit
        def step(params, memory):
            gradient = jax.grad(squared_loss)(params, scales, slope, x, y, 1 / N)
            updates, memory = transformation.update(gradient, memory, params)
            return optax.apply_updates(params, updates), memory

        for t in range(61):
            wanted = outputs(params, scales, slope, x) - y
            # Adam divides by the root of the squared gradient: rounding grows to 1e-12 or so
            np.testing.assert_allclose(result["residual"][t], wanted, rtol=0, atol=1e-10)
            params, memory = step(params, memory)


def test_adam_does_not_need_lax_promotion() -> None:
    """Under strict promotion too: what optax mixes is not for the user to see."""
    system = make_system(_network(), _task(), coordinates="weights")
    result = simulate(system, Optax("adam", 0.01), 3, Record(["loss"]))
    assert int(result.status) == Status.OK


def test_optax_by_function() -> None:
    record = Record(["residual"])
    system = make_system(_network(), _task(), coordinates="weights")
    chained = Optax(lambda rate: optax.chain(optax.trace(0.9), optax.scale(-rate)), 0.01)
    found = simulate(system, chained, 30, record)
    wanted = simulate(system, GradientDescent(0.01, 0.9), 30, record)
    np.testing.assert_allclose(found["residual"], wanted["residual"], rtol=0, atol=1e-13)


def test_elementwise_optimisers_are_refused_in_gram_coordinates() -> None:
    system = make_system(_network(), _task(), coordinates="gram")
    for scheme in (Optax("adam", 0.01), Optax(optax.sgd, 0.01)):
        with pytest.raises(InputError, match=r"Gram and thin coordinates; of a network on"):
            simulate(system, scheme, 5, Record())


def test_the_refusal_is_one_line() -> None:
    system = make_system(_network(), _task(), coordinates="gram")
    options = tuple((name, 0.5) for name in ("b1", "b2", "eps", "eps_root"))
    with pytest.raises(InputError) as error:
        simulate(system, Optax("adam", 0.01, options), 5, Record())
    assert "\n" not in str(error.value)


def test_unknown_optimiser_is_refused() -> None:
    assert {"adam", "sgd", "rmsprop"} <= set(known_optimisers())
    with pytest.raises(InputError, match=r"Unknown optimiser `adamm`; did you mean `adam"):
        Optax("adamm", 0.01)


def test_numbers_of_a_scheme_take_the_dtype_of_the_network() -> None:
    """float64 numbers, as numpy and sweeps give them, beside a float32 network."""
    system = make_system(_network(dtype=jnp.float32), _task())
    for number in (np.float64, jnp.float64):
        scheme = GradientDescent(number(0.01), number(0.9), number(0.01))
        result = simulate(system, scheme, 3, Record(["loss"]))
        assert {leaf.dtype for leaf in jax.tree.leaves(result.state)} == {jnp.dtype("float32")}


# Orders.


def _orders(errors: list[float], steps: list[float]) -> float:
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


@pytest.mark.parametrize(("scheme", "order"), [(euler, 1), (RungeKutta4, 4)], ids=["euler", "rk4"])
def test_order_on_a_linear_network_with_a_known_flow(scheme, order: int) -> None:
    """Depth 1, linear, readout fixed: K is constant, so r(t) = expm(-s K t) r(0) exactly."""
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=2, seed=3)
    network = init_network(jax.random.key(0), D, (8,), 2, activation=linear())
    system = make_system(network, task, coordinates="weights", loss=SquaredLoss("mean"))
    fields = system.fields(system.initial_state())
    kernel = np.asarray(fields.tangent_kernel).reshape(2 * N, 2 * N)
    wanted = exact(kernel / N, np.asarray(fields.residual).ravel(), 4.0)
    steps = [4.0 / count for count in (8, 16, 32, 64)]
    errors = []
    for count in (8, 16, 32, 64):
        result = simulate(system, scheme(4.0 / count), count, LAST)
        errors.append(np.linalg.norm(np.asarray(result["residual"][-1]).ravel() - wanted))
    assert abs(_orders(errors, steps) - order) < 0.2
    assert errors[-1] < errors[0] * 8.0**-order * 2


def test_runge_kutta_on_a_deep_linear_network() -> None:
    """Depth 2, everything trained, no closed form: against itself at far smaller steps."""
    network = init_network(jax.random.key(0), D, (8, 7), 2, activation=linear(), train_readout=True)
    system = make_system(network, _task(), coordinates="gram")
    final = {}
    for count in (80, 160, 320, 5120):
        scheme = RungeKutta4(1.0 / count)
        final[count] = simulate(system, scheme, count, LAST)["residual"]
    errors = [float(jnp.linalg.norm(final[c][-1] - final[5120][-1])) for c in (80, 160, 320)]
    assert abs(_orders(errors, [1 / 80, 1 / 160, 1 / 320]) - 4) < 0.2


@pytest.mark.parametrize("dt", [0.1, 0.7])
def test_steps_on_a_linear_system_are_the_stability_polynomial(dt: float) -> None:
    """Each step multiplies by the Taylor polynomial of exp of the scheme's order, exactly."""
    system = decay()
    values, vectors = np.linalg.eigh(np.asarray(system.matrix))
    z = -dt * values
    factors = {
        euler: 1 + z,
        RungeKutta4: 1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24,
    }
    for scheme, factor in factors.items():
        result = simulate(system, scheme(dt), 20, Record([STATE]))
        for step in (1, 7, 20):
            wanted = vectors @ (factor**step * (vectors.T @ np.asarray(system.start)))
            np.testing.assert_allclose(result["state_of"][step], wanted, rtol=0, atol=1e-13)


# The adaptive flow.


def test_adaptive_error_falls_with_the_tolerance() -> None:
    system = decay()
    wanted = exact(np.asarray(system.matrix), np.asarray(system.start), 6.0)
    errors = []
    for rtol in (1e-3, 1e-5, 1e-7, 1e-9):
        # arrays, so that one program serves all tolerances
        scheme = Adaptive(2.0, rtol=jnp.asarray(rtol), atol=jnp.asarray(1e-3 * rtol))
        result = simulate(system, scheme, 3, Record([STATE]))
        assert int(result.status) == Status.OK
        errors.append(np.linalg.norm(result["state_of"][-1] - wanted))
    assert all(small < big / 10 for big, small in itertools.pairwise(errors))
    # global error over local tolerance: a small factor
    assert errors[-1] < 1e-8


def test_adaptive_method_is_of_order_five_at_least() -> None:
    """With tolerances so loose that every stretch is one accepted step.

    The leading error of this method nearly cancels, here and on networks: the slope seen before
    rounding ends the range is 6. The next test pins the method itself.
    """
    system = decay()
    wanted = exact(np.asarray(system.matrix), np.asarray(system.start), 4.0)
    errors, steps = [], []
    for count in (8, 16, 32):
        dt = jnp.asarray(4.0 / count)  # an array, so that one program serves all three
        scheme = Adaptive(dt, rtol=1e6, atol=1e6, max_steps=1)
        result = simulate(system, scheme, count, END)
        assert int(result.status) == Status.OK
        errors.append(np.linalg.norm(result["state_of"][-1] - wanted))
        steps.append(4.0 / count)
    assert 4.8 < _orders(errors, steps) < 6.2


def test_one_accepted_step_is_the_tableau_by_hand() -> None:
    """Tsitouras' method in numpy on the linear system, stage by stage."""
    system = decay()
    matrix, x, dt = np.asarray(system.matrix), np.asarray(system.start), 0.5
    tableau = diffrax.Tsit5.tableau
    stages = []
    for row in ([], *tableau.a_lower):
        inner = x + dt * sum((a * k for a, k in zip(row, stages, strict=True)), 0 * x)
        stages.append(-matrix @ inner)
    wanted = x + dt * sum(b * k for b, k in zip(tableau.b_sol, stages, strict=True))
    # a relative step, too: 1 / lambda_max = 1 / 2
    scheme = Adaptive(Relative(1.0), rtol=1e6, atol=1e6, max_steps=1)
    result = simulate(system, scheme, 1, END)
    np.testing.assert_allclose(result.step_size, dt, rtol=1e-14)
    np.testing.assert_allclose(result["state_of"][-1], wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_first_step_that_overflows_is_taken_again_shorter(dtype) -> None:
    """Four layers far from rest: tried in one step, their velocity of degree 7 overflows."""
    network = init_network(
        *(jax.random.key(1), 4, (5, 5, 5), 3),
        activation=linear(),
        train_readout=True,
        parametrization="unscaled",
        weight_scale=1.0,
        dtype=np.dtype(dtype).type,
    )
    task = linear_map(n_inputs=4, n_outputs=3, singular_values=(2.0, 1.2, 0.6))
    system = make_system(network, task, coordinates="moments")
    tried = simulate(system, GradientDescent(2.0), 6, Record(), diverged_above=1e38)
    assert int(tried.status) != Status.OK
    scheme = Adaptive(2.0, rtol=1e-4, atol=1e-6)
    found = simulate(system, scheme, 1, Record())
    assert int(found.status) == Status.OK
    wanted = simulate(system, RungeKutta4(2.0 / 2**14), 2**14, Record(every=2**14))
    np.testing.assert_allclose(found["loss"][-1], wanted["loss"][-1], rtol=1e-2)


def test_adaptive_flow_of_a_network_is_that_of_small_fixed_steps() -> None:
    """Smooth (linear) network: another integrator, RK4 with steps far below its error."""
    network = init_network(jax.random.key(0), D, (8, 7), 2, activation=linear(), train_readout=True)
    system = make_system(network, _task(), coordinates="gram")
    found = simulate(system, Adaptive(0.25, rtol=1e-8, atol=1e-10), 4, Record(["residual"]))
    wanted = simulate(system, RungeKutta4(0.25 / 64), 256, Record(["residual"], every=64))
    np.testing.assert_allclose(found["residual"], wanted["residual"], rtol=0, atol=1e-6)


# Relative steps.


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_relative_step(reduction: str, coordinates: str) -> None:
    system = make_system(_network(), _task(), loss=SquaredLoss(reduction), coordinates=coordinates)
    kernel = system.fields(system.initial_state()).tangent_kernel
    top = np.linalg.eigvalsh(np.asarray(kernel).reshape(2 * N, 2 * N))[-1]
    eta = 0.5 / (top * (1.0 if reduction == "sum" else 1 / N))
    result = simulate(system, GradientDescent(Relative(0.5)), 20, Record(["residual"]))
    np.testing.assert_allclose(result.step_size, eta, rtol=1e-12)
    plain_one = simulate(system, GradientDescent(float(eta)), 20, Record(["residual"]))
    np.testing.assert_allclose(result["residual"], plain_one["residual"], rtol=0, atol=1e-12)


def test_relative_steps_of_every_scheme() -> None:
    system = decay()
    for make in (GradientDescent, RungeKutta4):
        result = simulate(system, make(Relative(0.3)), 2, END)
        np.testing.assert_allclose(result.step_size, 0.15, rtol=1e-12)  # 0.3 / 2


def test_relative_step_at_zero_stiffness_is_its_share() -> None:
    """A kernel that vanishes sets no scale; nothing is divided by zero."""
    network = init_network(jax.random.key(0), D, (4,), 2, output_scale=0.0)
    result = simulate(make_system(network, _task()), GradientDescent(Relative(0.5)), 2, Record())
    assert float(result.step_size) == 0.5
    assert int(result.status) == Status.OK


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_every_scheme_of_the_registry_lowers_the_loss(name: str) -> None:
    options = {"optimizer": "sgd"} if name == "optax" else {}
    scheme = SCHEMES[name](step_size=0.01, **options)
    result = simulate(make_system(_network(), _task()), scheme, 20, Record(["loss"]))
    assert int(result.status) == Status.OK
    assert np.all(np.diff(result["loss"]) < 0)


def test_the_registry_gives_what_it_says() -> None:
    made = SCHEMES["gradient_descent"](step_size=0.1, momentum=0.9, weight_decay=0.01)
    assert (made.step_size, made.momentum, made.weight_decay) == (0.1, 0.9, 0.01)
    flow = SCHEMES["gradient_flow"]
    assert isinstance(flow(step_size=0.1), GradientDescent)
    assert isinstance(flow(step_size=0.1, method="rk4"), RungeKutta4)
    adaptive = flow(step_size=0.1, method="adaptive", rtol=1e-3, atol=1e-4, max_steps=7)
    assert isinstance(adaptive, Adaptive)
    assert (adaptive.rtol, adaptive.atol, adaptive.max_steps) == (1e-3, 1e-4, 7)
    optax_one = SCHEMES["optax"](optimizer="adam", step_size=0.1, options={"b1": 0.8})
    assert isinstance(optax_one, Optax)
    assert dict(optax_one.options) == {"b1": 0.8}
