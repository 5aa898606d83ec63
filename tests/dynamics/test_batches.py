"""Every run of a batch is the run alone; a failed run disturbs nobody; compiled once."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.linear_system import Decay, decay
from support.reference import numpy_descent, plain

from gramdyn._errors import InputError
from gramdyn.data import gaussian
from gramdyn.diagnostics import Record
from gramdyn.dynamics import (
    Adaptive,
    GradientDescent,
    Relative,
    Status,
    simulate,
    simulate_many,
    status_name,
)
from gramdyn.dynamics.batch import choose_batching, pad_runs
from gramdyn.models import init_network
from gramdyn.systems import make_system

N, D, WIDTHS, N_STEPS = 6, 5, (8, 7), 40
TASK = gaussian(n_samples=N, n_inputs=D, seed=3)

# Five runs: two calm ones around one that grows beyond the limit, one that overflows at once, one
# of NaN. Five is no multiple of four devices.
ETAS = np.array([0.02, 2.0, 0.03, 1e200, np.nan])
SEEDS = np.arange(5)
CALM = (0, 2)
RECORD = Record(["loss", "residual", "flips", "tangent_kernel"], every=4)

# Same numbers as alone up to the last bit of a step, grown over forty steps.
RTOL, ATOL = 1e-12, 1e-14


class Build(eqx.Module):
    """From (seed, eta) to system and scheme; the coordinates are a choice."""

    coordinates: str = eqx.field(static=True, default="auto")

    def __call__(self, params: Any) -> Any:
        key = jax.random.key(params["seed"])
        network = init_network(key, D, WIDTHS, train_readout=True)
        system = make_system(network, TASK, coordinates=self.coordinates)
        return system, GradientDescent(params["eta"])


PARAMS = {"seed": jnp.asarray(SEEDS, jnp.int32), "eta": jnp.asarray(ETAS)}


@pytest.fixture(scope="module")
def alone():
    """Each run alone."""
    return [
        simulate(*Build()({"seed": int(seed), "eta": jnp.asarray(eta)}), N_STEPS, RECORD)
        for seed, eta in zip(SEEDS, ETAS, strict=True)
    ]


@pytest.mark.parametrize("batching", ["map", "vmap", "auto"])
@pytest.mark.parametrize("n_devices", [1, 4])
def test_each_run_of_a_batch_is_the_run_alone(batching: str, n_devices: int, alone) -> None:
    devices = tuple(jax.devices()[:n_devices])
    assert len(devices) == n_devices
    many = simulate_many(Build(), PARAMS, N_STEPS, RECORD, batching=batching, devices=devices)
    assert many["loss"].shape == (5, 11)
    for b, one in enumerate(alone):
        assert int(many.status[b]) == int(one.status)
        assert int(many.failed_at[b]) == int(one.failed_at)
        np.testing.assert_array_equal(many.step_size[b], one.step_size)
        for name in RECORD.dims():
            # NaN of failed runs at the same places; values of calm ones equal
            np.testing.assert_allclose(many[name][b], one[name], rtol=RTOL, atol=ATOL)
        if b in CALM:
            pairs = zip(jax.tree.leaves(many.state), jax.tree.leaves(one.state), strict=True)
            for found, wanted in pairs:
                np.testing.assert_allclose(found[b], wanted, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("batching", ["map", "vmap"])
def test_neighbours_do_not_matter(batching: str) -> None:
    """The same calm run beside a failing one and beside calm ones: the same bits."""
    devices = (jax.devices()[0],)
    wild = simulate_many(Build(), PARAMS, N_STEPS, RECORD, batching=batching, devices=devices)
    etas = jnp.asarray([0.02, 0.01, 0.03, 0.015, 0.025])
    tame = simulate_many(
        Build(), PARAMS | {"eta": etas}, N_STEPS, RECORD, batching=batching, devices=devices
    )
    for b in CALM:
        for name in RECORD.dims():
            np.testing.assert_allclose(wild[name][b], tame[name][b], rtol=1e-14, atol=1e-300)


def test_devices_do_not_matter() -> None:
    """Four devices and one are two programs: the last bits of five steps may differ, no more."""
    params = PARAMS | {"eta": jnp.asarray([0.02, 0.01, 0.03, 0.015, 0.025])}
    record = Record(["loss", "residual", "flips", "tangent_kernel"])
    runs = [
        simulate_many(Build(), params, 5, record, devices=tuple(jax.devices()[:k])) for k in (1, 4)
    ]
    for name in record.dims():
        np.testing.assert_allclose(runs[0][name], runs[1][name], rtol=1e-14, atol=2e-15)


# Status, against a loop in numpy.


def _expected(seed: int, eta: float, limit: float) -> tuple[Status, int]:
    network = init_network(jax.random.key(seed), D, WIDTHS, train_readout=True)
    with np.errstate(all="ignore"):
        losses = numpy_descent(
            plain(network, "relu"),
            np.asarray(TASK.inputs),
            np.asarray(TASK.targets),
            N_STEPS,
            eta,
            trained=[True] * 3,
        )["loss"]
    for step, loss in enumerate(losses):
        if not np.isfinite(loss):
            return Status.NOT_FINITE, step
        if loss > limit * losses[0]:
            return Status.DIVERGED, step
    return Status.OK, -1


@pytest.mark.parametrize("limit", [1e6, 1.5])
def test_status_and_failed_at_are_those_of_a_loop(limit: float) -> None:
    etas = np.array([0.02, 0.8, 0.1, 1e200, np.nan])
    params = PARAMS | {"eta": jnp.asarray(etas)}
    record = Record(["loss", "flips"], every=3)
    result = simulate_many(Build(), params, N_STEPS, record, diverged_above=limit)
    met = set()
    for b, (seed, eta) in enumerate(zip(SEEDS, etas, strict=True)):
        status, failed_at = _expected(int(seed), float(eta), limit)
        met.add(status)
        assert int(result.status[b]) == status
        assert int(result.failed_at[b]) == failed_at
        blank = np.isnan(np.asarray(result["loss"][b]))
        wanted = np.zeros_like(blank) if failed_at < 0 else result.steps >= failed_at
        np.testing.assert_array_equal(blank, wanted)
        # whole numbers have no NaN: 0 in their place
        assert not np.any(np.asarray(result["flips"][b])[blank])
    assert met == {Status.OK, Status.DIVERGED, Status.NOT_FINITE}


def test_a_failed_run_stays_where_it_failed() -> None:
    """Its state is the first one out of bounds, whatever comes after."""
    seed, eta = 1, 0.8
    status, failed_at = _expected(seed, eta, 1e6)
    assert status == Status.DIVERGED
    system, scheme = Build("weights")({"seed": seed, "eta": eta})
    long = simulate(system, scheme, N_STEPS, Record(["loss"], every=3))
    short = simulate(system, scheme, failed_at, Record(["loss"], every=3))
    assert int(long.failed_at) == int(short.failed_at) == failed_at
    for a, b in zip(jax.tree.leaves(long.state), jax.tree.leaves(short.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


@pytest.mark.parametrize(("limit", "failed_at"), [(15.0, 2), (16.0, 3), (60.0, 3), (64.0, 4)])
def test_the_limit_is_met_to_the_step(limit: float, failed_at: int) -> None:
    """With A = 1 and eta = 3 each step doubles x and turns it: the loss grows by 4, exactly."""
    system = eqx.tree_at(lambda s: s.matrix, decay(), jnp.eye(4))
    result = simulate(system, GradientDescent(3.0), 6, Record(["loss"]), diverged_above=limit)
    assert (int(result.status), int(result.failed_at)) == (Status.DIVERGED, failed_at)
    wanted = 4.0 ** np.arange(failed_at)
    np.testing.assert_allclose(result["loss"][:failed_at] / result["loss"][0], wanted, rtol=1e-14)
    assert np.all(np.isnan(result["loss"][failed_at:]))


class Drift(Decay):
    """A system that leaves zero loss by itself."""

    def velocity(self, state: Any, fields: Any = None) -> Any:
        """One."""
        return jnp.ones_like(state)


def test_a_run_that_starts_at_zero_loss_has_no_limit() -> None:
    system = eqx.tree_at(lambda s: s.start, decay(), jnp.zeros(4))
    result = simulate(system, GradientDescent(0.1), 3, Record(["loss"]))
    assert int(result.status) == Status.OK
    np.testing.assert_array_equal(result["loss"], np.zeros(4))
    drift = Drift(system.matrix, system.start)
    result = simulate(drift, GradientDescent(0.1), 3, Record(["loss"]))
    assert int(result.status) == Status.OK
    assert float(result["loss"][-1]) > 0


def test_not_finite_at_the_start() -> None:
    system = eqx.tree_at(lambda s: s.start, decay(), jnp.full(4, jnp.nan))
    result = simulate(system, GradientDescent(0.1), 3, Record(["loss"]))
    assert (int(result.status), int(result.failed_at)) == (Status.NOT_FINITE, 0)
    assert np.all(np.isnan(result["loss"]))


def test_step_limit() -> None:
    """One internal step a stretch and a tolerance it cannot meet; the neighbour can."""

    def build(rtol):
        return decay(), Adaptive(2.0, rtol=rtol, atol=rtol, max_steps=2)

    tolerances = jnp.asarray([1e3, 1e-12])
    result = simulate_many(build, tolerances, 5, Record(["loss"]), batching="vmap")
    assert list(np.asarray(result.status)) == [Status.OK, Status.STEP_LIMIT]
    assert list(np.asarray(result.failed_at)) == [-1, 1]
    loss = np.asarray(result["loss"])
    assert np.all(np.isfinite(loss[0]))
    np.testing.assert_array_equal(np.isnan(loss[1]), [False] + [True] * 5)
    assert status_name(3) == "step_limit"


# Parameters.


def test_keys_may_be_parameters() -> None:
    """Typed keys, filled up to a multiple of four devices."""
    keys = jax.random.split(jax.random.key(0), 5)

    def build(key):
        return make_system(init_network(key, D, (6,)), TASK), GradientDescent(0.02)

    many = simulate_many(build, keys, 5, Record(["loss"]))
    for b in range(5):
        one = simulate(*build(keys[b]), 5, Record(["loss"]))
        np.testing.assert_allclose(many["loss"][b], one["loss"], rtol=1e-13)


def test_relative_steps_are_resolved_run_by_run() -> None:
    def build(params):
        network = init_network(jax.random.key(0), D, (6,), output_scale=params["scale"])
        return make_system(network, TASK), GradientDescent(Relative(params["share"]))

    params = {"scale": jnp.asarray([1.0, 2.0]), "share": jnp.asarray([0.5, 0.25])}
    result = simulate_many(build, params, 2, Record(["loss"]))
    # the kernel grows with the square of the readout
    np.testing.assert_allclose(result.step_size[0] / result.step_size[1], 8.0, rtol=1e-10)


@pytest.mark.parametrize("lengths", [(4, 2), (3, 2), (2, 4), (0, 0)])
def test_parameters_of_unlike_length_are_refused(lengths: tuple) -> None:
    """Filling up for the devices must not hide a mistake."""
    params = {"eta": jnp.full(lengths[0], 0.1), "momentum": jnp.full(lengths[1], 0.5)}

    def build(params):
        return decay(), GradientDescent(params["eta"], params["momentum"])

    with pytest.raises(InputError, match=r"Argument `params`"):
        simulate_many(build, params, 2, Record(["loss"]))


def test_runs_are_filled_up_by_the_last_one() -> None:
    params = {"a": np.arange(5.0), "b": jnp.arange(10).reshape(5, 2)}
    padded = pad_runs(params, 4)
    np.testing.assert_array_equal(padded["a"], [0, 1, 2, 3, 4, 4, 4, 4])
    assert isinstance(padded["a"], np.ndarray)
    assert padded["b"].shape == (8, 2)
    np.testing.assert_array_equal(padded["b"][5:], [[8, 9]] * 3)
    np.testing.assert_array_equal(pad_runs(params, 5)["a"], params["a"])


def test_batching_by_platform_and_size_of_a_step() -> None:
    assert choose_batching("auto", "cpu") == "map"
    assert choose_batching("auto", "cpu", 1e7) == "map"
    assert choose_batching("auto", "cpu", 1e4) == "vmap"
    assert choose_batching("map", "cpu", 1e4) == "map"
    assert choose_batching("auto", "gpu", 1e7) == "vmap"
    assert choose_batching("vmap", "cpu") == "vmap"
    with pytest.raises(InputError, match=r"Unknown batching `vmaps`; did you mean `vmap`"):
        choose_batching("vmaps", "cpu")


# Compiling.


def test_one_trace_serves_five_step_sizes() -> None:
    traces = []

    def build(params):
        traces.append(1)
        return decay(), GradientDescent(params["eta"], params["momentum"])

    record = Record(["loss"])
    for k in range(5):
        params = {"eta": jnp.full(3, 0.1 * (k + 1)), "momentum": jnp.full(3, 0.1 * k)}
        simulate_many(build, params, 4, record)
    assert len(traces) == 2  # one for the size of a step, one for the program


def test_one_trace_serves_five_step_sizes_of_a_single_run() -> None:
    """Step sizes given as arrays, and as plain numbers too."""
    traces = []

    def counted(fields):
        traces.append(1)
        return fields.loss

    system = make_system(init_network(jax.random.key(0), D, (6,)), TASK)
    record = Record([counted])
    simulate(system, GradientDescent(jnp.asarray(0.01)), 4, record)
    once = len(traces)
    for k in range(5):
        simulate(system, GradientDescent(jnp.asarray(0.02 + 0.01 * k)), 4, record)
    assert len(traces) == once
