"""When records are made, what running averages are, and what a second run gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.reference import numpy_descent, plain, random_network

from gramdyn._errors import InputError
from gramdyn.data import gaussian
from gramdyn.diagnostics import Record
from gramdyn.dynamics import GradientDescent, simulate
from gramdyn.systems import make_system

N, D, ETA = 6, 5, 0.02
KEPT = ["loss", "residual", "tangent_kernel"]


def _system(**options):
    network = random_network(jax.random.key(1), D, (9, 7), train_readout=True, **options)
    task = gaussian(n_samples=N, n_inputs=D, seed=3)
    return make_system(network, task, coordinates="weights")


def _run(record: Record, n_steps: int, **options):
    return simulate(_system(**options), GradientDescent(ETA), n_steps, record)


@pytest.fixture(scope="module")
def every_step():
    """All of 30 steps."""
    return _run(Record(KEPT), 30)


def _same_times(result, every_step) -> None:
    for name in KEPT:
        # other programs: rounding over 30 steps
        np.testing.assert_allclose(
            result[name], np.asarray(every_step[name])[result.steps], rtol=1e-11, atol=1e-12
        )


@pytest.mark.parametrize("every", [1, 2, 7, 10, 30, 50])
def test_every(every: int, every_step) -> None:
    result = _run(Record(KEPT, every=every), 30)
    wanted = sorted({*range(0, 31, every), 30})
    assert list(result.steps) == wanted
    _same_times(result, every_step)


@pytest.mark.parametrize("at", [(0,), (0, 30), (0, 1, 2, 29, 30), (0, 3, 17), [0, 5]])
def test_at(at, every_step) -> None:
    result = _run(Record(KEPT, at=at), 30)
    assert list(result.steps) == sorted({*at, 30})
    _same_times(result, every_step)


def test_records_are_those_of_the_numpy_loop(every_step) -> None:
    system = _system()
    network = system.network(system.initial_state())
    wanted = numpy_descent(
        plain(network, "relu"),
        np.asarray(system.inputs),
        np.asarray(system.targets),
        30,
        ETA,
        trained=[True] * 3,
    )
    np.testing.assert_allclose(every_step["residual"], wanted["residual"], rtol=0, atol=1e-12)
    # and so is the state at the end: thirty steps, not one more
    for layer, (weight, bias) in zip(every_step.state.layers, wanted["params"], strict=True):
        np.testing.assert_allclose(layer.weight, weight, rtol=0, atol=1e-12)
        assert layer.bias is bias is None


@pytest.mark.parametrize("every", [1, 4, 10, 30])
def test_the_end_does_not_depend_on_what_is_saved(every: int, every_step) -> None:
    result = _run(Record(["loss"], every=every), 30)
    pairs = zip(jax.tree.leaves(result.state), jax.tree.leaves(every_step.state), strict=True)
    for found, wanted in pairs:
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("average", [1, 3, 5, 20])
@pytest.mark.parametrize("every", [1, 5, 7])
def test_running_average_is_the_mean_of_the_steps_up_to_it(average, every, every_step) -> None:
    """Of the last `average` steps, the saved one among them, back to the saved time before."""
    result = _run(Record(["tangent_kernel", "loss"], every=every, average=average), 30)
    assert set(result.records) == {"tangent_kernel", "tangent_kernel_average", "loss"}
    single = np.asarray(every_step["tangent_kernel"])
    before = -1
    for k, step in enumerate(result.steps):
        window = range(max(before + 1, step - average + 1), step + 1)
        wanted = np.mean([single[t] for t in window], axis=0)
        np.testing.assert_allclose(
            result["tangent_kernel_average"][k], wanted, rtol=1e-11, atol=1e-12
        )
        before = step


def test_twice_the_same_run_gives_the_same_bits() -> None:
    system, record = _system(), Record(KEPT, every=3)
    one = simulate(system, GradientDescent(ETA), 30, record)
    other = simulate(system, GradientDescent(ETA), 30, record)
    for name in KEPT:
        np.testing.assert_array_equal(one[name], other[name])
    for a, b in zip(jax.tree.leaves(one.state), jax.tree.leaves(other.state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_dtypes_stay_single() -> None:
    result = _run(Record(KEPT, every=10, average=4), 30, dtype=jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves((result.records, result.state))} == {
        jnp.dtype("float32")
    }
    assert result.step_size.dtype == jnp.float32


def test_the_result_says_what_happened(every_step) -> None:
    text = repr(every_step)
    assert "1 run(s): 1 ok" in text
    assert "0 to 30, 31 saved" in text
    assert "residual (31, 6, 1)" in text


@pytest.mark.parametrize("at", [(), (1, 2), (0, 0), (0, 5, 3), (-1, 0)])
def test_times_that_cannot_be_are_refused(at) -> None:
    with pytest.raises(InputError, match=r"Argument `at` must hold whole numbers rising from 0"):
        Record(at=at)


def test_times_beyond_the_end_are_refused() -> None:
    with pytest.raises(InputError, match=r"`at` must lie within the run's 30 steps"):
        _run(Record(at=(0, 31)), 30)


@pytest.mark.parametrize("every", [0, -1])
def test_every_below_one_is_refused(every: int) -> None:
    with pytest.raises(InputError, match=r"Argument `every` must be a whole number of at least 1"):
        Record(every=every)


def test_every_and_at_exclude_each_other() -> None:
    with pytest.raises(InputError, match=r"Argument `every` must be left out where `at` is given"):
        Record(every=2, at=(0, 1))


@pytest.mark.parametrize("average", [0, -3])
def test_average_below_one_is_refused(average: int) -> None:
    with pytest.raises(InputError, match=r"Argument `average` must be a whole number"):
        Record(["tangent_kernel"], average=average)


@pytest.mark.parametrize("n_steps", [0, -5])
def test_no_steps_are_refused(n_steps: int) -> None:
    with pytest.raises(InputError, match=r"Argument `n_steps` must be a whole number"):
        _run(Record(), n_steps)


@pytest.mark.parametrize("limit", [0.0, -1.0, float("inf"), float("nan")])
def test_limits_that_cannot_be_are_refused(limit: float) -> None:
    with pytest.raises(InputError, match=r"Argument `diverged_above` must be a finite number"):
        simulate(_system(), GradientDescent(ETA), 3, Record(), diverged_above=limit)
