"""The implicit midpoint method: its map, its order, what it keeps, when it stops."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.linear_system import DecayFields, decay
from support.reference import random_network

from gramdyn._errors import InputError
from gramdyn.data import gaussian
from gramdyn.diagnostics import Instant, Record
from gramdyn.dynamics import SCHEMES, GradientDescent, Relative, RungeKutta4, Status, simulate
from gramdyn.dynamics.midpoint import ImplicitMidpoint
from gramdyn.dynamics.simulate import simulate_many
from gramdyn.kernels.linear import conserved_quantities
from gramdyn.models import init_network, linear
from gramdyn.systems import SquaredLoss, make_system

STATE = Instant("state_of", lambda fields: fields.x, needs=DecayFields)
# Start and end alone, whatever the number of steps: one program for all of them.
END = Record(["loss"], at=(0,))


@functools.cache
def linear_one(coordinates="moments", dtype=None):
    """Widths 4-5-5-3 on data that are not white."""
    task = gaussian(n_samples=6, n_inputs=4, n_outputs=3, seed=1)
    network = init_network(
        jax.random.key(0),
        4,
        (5, 5),
        3,
        activation=linear(),
        parametrization="unscaled",
        weight_scale=0.5,
        train_readout=True,
        dtype=dtype,
    )
    return make_system(network, task, loss=SquaredLoss("mean"), coordinates=coordinates)


def weights_at_end(system, result):
    return [np.asarray(layer.weight) for layer in system.network(result.state).layers]


def distance(one, other):
    return max(np.abs(a - b).max() for a, b in zip(one, other, strict=True))


def drift(start, end):
    pairs = zip(
        *(conserved_quantities(list(map(jnp.asarray, w))) for w in (start, end)), strict=True
    )
    return max(float(jnp.abs(a - b).max()) for a, b in pairs)


def test_of_a_linear_flow_it_is_the_cayley_map() -> None:
    """x' = (1 + dt A / 2)^-1 (1 - dt A / 2) x."""
    system = decay()
    result = simulate(system, ImplicitMidpoint(0.5), 20, Record([STATE]))
    matrix, eye = np.asarray(system.matrix), np.eye(4)
    step = np.linalg.solve(eye + 0.25 * matrix, eye - 0.25 * matrix)
    wanted = [np.linalg.matrix_power(step, k) @ system.start for k in range(21)]
    np.testing.assert_allclose(result["state_of"], wanted, rtol=0, atol=1e-14)


def test_order_two_by_halving_the_step() -> None:
    system = linear_one()
    exact = simulate(system, RungeKutta4(0.0025), 800, END)
    wanted = weights_at_end(system, exact)
    errors = []
    for dt, n_steps in ((0.05, 40), (0.025, 80), (0.0125, 160), (0.00625, 320)):
        result = simulate(system, ImplicitMidpoint(dt), n_steps, END)
        assert int(result.status) == Status.OK
        errors.append(distance(weights_at_end(system, result), wanted))
    ratios = np.divide(errors[:-1], errors[1:])
    assert np.all(np.abs(ratios - 4) < 0.3)
    assert abs(ratios[-1] - 4) < 0.03
    assert errors[0] > 1e-5


def test_quadratic_invariants_are_kept_to_rounding() -> None:
    """At a step where the trajectory is off by 1e-4, and Euler's invariants by 1e-2."""
    system = linear_one()
    start = [layer.weight for layer in system.start.layers]
    end = weights_at_end(system, simulate(system, ImplicitMidpoint(0.05), 200, END))
    assert drift(start, end) < 2e-14
    euler = weights_at_end(system, simulate(system, GradientDescent(0.05), 200, END))
    assert drift(start, euler) > 1e-3
    assert distance(start, end) > 0.3


@pytest.mark.parametrize("coordinates", ["moments", "weights", "gram"])
def test_it_is_its_own_adjoint(coordinates) -> None:
    """A step, then one of minus its length: back where it began."""
    system, scheme = linear_one(coordinates), ImplicitMidpoint(0.1)

    @eqx.filter_jit
    def there_and_back(system):
        states, failed = [system.initial_state()], jnp.asarray(False)
        for dt in (0.1, -0.1):
            one = scheme.with_step_size(jnp.asarray(dt))
            state, failed = one.step(system, states[-1], failed, system.fields(states[-1]))
            states.append(state)
        return states, failed

    states, failed = there_and_back(system)
    assert not bool(failed)
    leaves = [jax.tree.leaves(tree) for tree in states]
    assert distance(leaves[0], leaves[1]) > 1e-3
    assert distance(leaves[0], leaves[2]) < 1e-14


def test_too_large_a_step_ends_the_run_at_the_step_limit() -> None:
    system = linear_one()
    result = simulate(system, ImplicitMidpoint(50.0), 20, Record(["loss"]))
    assert int(result.status) in (Status.STEP_LIMIT, Status.NOT_FINITE, Status.DIVERGED)
    # a rate of 2 and dt of 1.5: the iteration would turn round for ever
    slow = simulate(decay(), ImplicitMidpoint(1.5), 5, Record([STATE]))
    assert int(slow.status) == Status.STEP_LIMIT
    assert int(slow.failed_at) == 1
    assert np.all(np.isnan(slow["state_of"][1:]))
    assert np.all(np.isfinite(slow["state_of"][0]))
    # the same step with enough iterations, and a good one with too few
    found = simulate(decay(), ImplicitMidpoint(0.9, max_steps=400), 5, Record([STATE]))
    assert int(found.status) == Status.OK
    few = simulate(system, ImplicitMidpoint(0.05, max_steps=2), 5, Record(["loss"]))
    assert int(few.status) == Status.STEP_LIMIT
    assert int(simulate(system, ImplicitMidpoint(0.05), 5, Record(["loss"])).status) == Status.OK


def test_all_coordinates_go_the_same_way() -> None:
    found = []
    for coordinates in ("moments", "weights", "gram"):
        system = linear_one(coordinates)
        result = simulate(system, ImplicitMidpoint(0.05), 60, Record(["loss"]))
        found.append((np.asarray(result["loss"]), weights_at_end(system, result)))
    for loss, weights in found[1:]:
        np.testing.assert_allclose(loss, found[0][0], rtol=1e-12)
        assert distance(weights, found[0][1]) < 1e-12


def kinked(key, coordinates):
    task = gaussian(n_samples=5, n_inputs=6, n_outputs=2, seed=3)
    network = random_network(jax.random.key(key), 6, (9, 7), 2, bias=True, train_readout=True)
    return make_system(network, task, coordinates=coordinates)


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
def test_a_network_with_kinks(coordinates) -> None:
    """ReLU and biases: where no mask flips the error is of order dt^2, as anywhere."""
    system = kinked(4, coordinates)
    wanted = simulate(system, RungeKutta4(0.0005), 100, Record(["residual", "flips"]))
    assert np.sum(wanted["flips"]) == 0
    errors = []
    for n_steps in (10, 20):
        record = Record(["residual"], at=(0,))
        found = simulate(system, ImplicitMidpoint(0.05 / n_steps), n_steps, record)
        assert int(found.status) == Status.OK
        errors.append(np.abs(found["residual"][-1] - wanted["residual"][-1]).max())
    assert errors[0] < 1e-4
    assert 3.8 < errors[0] / errors[1] < 4.2


def test_masks_that_flip_do_so_in_both_coordinates() -> None:
    """Three flips that the iteration takes, and one at which its equation has no solution."""
    record = Record(["residual", "flips"])
    runs = [
        simulate(kinked(0, coordinates), ImplicitMidpoint(0.005), 40, record)
        for coordinates in ("weights", "gram")
    ]
    kept = int(runs[0].failed_at)
    assert np.sum(runs[0]["flips"][:kept]) >= 3
    assert [int(run.status) for run in runs] == [Status.STEP_LIMIT] * 2
    assert kept == int(runs[1].failed_at) > 20
    np.testing.assert_array_equal(runs[0]["flips"], runs[1]["flips"])
    np.testing.assert_allclose(
        runs[0]["residual"][:kept], runs[1]["residual"][:kept], rtol=0, atol=1e-12
    )
    assert np.all(np.isfinite(runs[0]["residual"][:kept]))


class Build(eqx.Module):
    """From a step to a run."""

    dtype: type = eqx.field(static=True)

    def __call__(self, step):
        return linear_one(dtype=self.dtype), ImplicitMidpoint(step)


def test_in_lockstep_each_run_is_the_run_alone() -> None:
    """One of them fails; the others do not care."""
    steps = jnp.asarray([0.05, 0.01, 5.0, 0.1])
    record = Record(["loss"], every=5)
    many = simulate_many(Build(jnp.float64), steps, 30, record, batching="vmap")
    assert many.status.tolist() == [0, 0, Status.STEP_LIMIT, 0]
    for i in (0, 1, 3):
        alone = simulate(linear_one(), ImplicitMidpoint(float(steps[i])), 30, record)
        np.testing.assert_allclose(many["loss"][i], alone["loss"], rtol=1e-12)


def test_single_precision() -> None:
    """Invariants to single rounding."""
    system = linear_one(dtype=jnp.float32)
    result = simulate(system, ImplicitMidpoint(0.05), 200, END)
    assert int(result.status) == Status.OK
    end = weights_at_end(system, result)
    assert {weight.dtype for weight in end} == {np.dtype("float32")}
    assert drift([layer.weight for layer in system.start.layers], end) < 5e-6
    # the same run by another scheme of the flow
    other = weights_at_end(system, simulate(system, RungeKutta4(0.05), 200, END))
    assert distance(end, other) < 1e-3


def test_a_relative_step_and_the_name_in_configurations() -> None:
    made = SCHEMES["gradient_flow"](step_size=0.1, method="midpoint", max_steps=7)
    assert isinstance(made, ImplicitMidpoint)
    assert (made.step_size, made.max_steps, made.linear, made.is_flow) == (0.1, 7, True, True)
    assert made.ignores_padding
    system = linear_one()
    result = simulate(system, ImplicitMidpoint(Relative(0.25)), 3, Record(["loss"]))
    rate = system.stiffness(system.fields(system.initial_state()))
    np.testing.assert_allclose(result.step_size, 0.25 / rate, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"step_size": 0.0}, "`step_size` must be a finite number above 0"),
        ({"step_size": -0.1}, "`step_size` must be a finite number above 0"),
        ({"step_size": float("nan")}, "`step_size` must be a finite number above 0"),
        ({"step_size": 0.1, "max_steps": 0}, "`max_steps` must be a whole number of at least 1"),
    ],
)
def test_refusals(options, told) -> None:
    with pytest.raises(InputError, match=told):
        ImplicitMidpoint(**options)
