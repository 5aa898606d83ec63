"""Diagnostics of deep linear networks, each from weights and targets written out in numpy."""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.data import gaussian, linear_map, make_task, task_moments
from gramdyn.deep_linear import half_time, mode_time
from gramdyn.diagnostics import Record, make_diagnostic
from gramdyn.dynamics import GradientDescent, RungeKutta4, simulate
from gramdyn.models import Network, init_network, linear
from gramdyn.models.balanced import along_modes
from gramdyn.systems import SquaredLoss, make_system
from gramdyn.systems.make import make_moment_system

EVERYTHING = [
    *("loss", "excess_loss", "gradient_norm", "learned_modes", "map_alignment"),
    *("mode_times", "plateaus", "conserved_drift"),
]


def network_of(d, widths, c, seed=0, **options):
    options = {"activation": linear(), "train_readout": True} | options
    return init_network(jax.random.key(seed), d, widths, c, **options)


def whole(network):
    matrices = [np.asarray(layer.matrix()) for layer in network.layers]
    return functools.reduce(lambda below, one: one @ below, matrices[1:], matrices[0])


def seen(system, *names):
    """Arrays of diagnostics at t = 0."""
    record = Record(names)

    @eqx.filter_jit
    def look(system):
        fields = system.fields(system.initial_state())
        return record.observe(record.start(fields, GradientDescent(0.1)), fields)[0]

    return {name: np.asarray(array) for name, array in look(system).items()}


def aligned(sigmas, starts, widths=(5,), d=4, c=3, rotate=True):
    """System and moments of a start along the modes, strengths as told."""
    task = linear_map(n_inputs=d, n_outputs=c, singular_values=sigmas, rotate=rotate, seed=2)
    moments = task_moments(task)
    entries = jnp.asarray(np.asarray(starts, float) ** (1 / (len(widths) + 1)))
    left, right = jnp.asarray(moments.left), jnp.asarray(moments.right)
    network = along_modes(network_of(d, widths, c), left, entries, right)
    return make_moment_system(network, moments)


def test_instant_diagnostics_written_out() -> None:
    """Data that are not white, forward multipliers."""
    task = gaussian(n_samples=9, n_inputs=4, n_outputs=3, seed=1)
    network = network_of(4, (5, 3), 3, parametrization="ntk", output_scale=1.3)
    system = make_system(network, task, loss=SquaredLoss("mean"), coordinates="moments")
    found = seen(system, *EVERYTHING[:5])
    x, y, pi = task.inputs, task.targets, whole(network)
    moment, target = x.T @ x / 9, np.linalg.lstsq(x, y, rcond=None)[0].T
    values, vectors = np.linalg.eigh(moment)
    root = (vectors * np.sqrt(values)) @ vectors.T
    left, sigmas, right = np.linalg.svd(target @ root, full_matrices=False)
    white = pi @ root
    strengths = np.einsum("ck,cd,kd->k", left, white, right)
    np.testing.assert_allclose(found["learned_modes"], strengths / sigmas, rtol=1e-11)
    off = np.linalg.norm(white - left * strengths @ right) / np.linalg.norm(sigmas)
    np.testing.assert_allclose(found["off_diagonal"], off, rtol=1e-12)
    floor = np.sum((y - x @ target.T) ** 2) / 18
    np.testing.assert_allclose(found["loss"], np.sum((y - x @ pi.T) ** 2) / 18, rtol=1e-13)
    np.testing.assert_allclose(found["excess_loss"], found["loss"] - floor, rtol=1e-11)
    own_left, own, own_right = np.linalg.svd(white)
    np.testing.assert_allclose(found["map_values"], own, rtol=1e-12)
    for name, mine, other in (
        ("left_alignment", left, own_left),
        ("right_alignment", right.T, own_right.T[:, :3]),
    ):
        np.testing.assert_allclose(found[name], np.abs(np.sum(mine * other, axis=0)), rtol=1e-10)

    def loss(state):
        outputs = eqx.combine(state, network.partition()[1])(jnp.asarray(x))
        return jnp.sum((outputs - jnp.asarray(y)) ** 2) / 18

    slopes = jax.tree.leaves(jax.jit(jax.grad(loss))(network.partition()[0]))
    norm = np.sqrt(sum(float(jnp.sum(slope**2)) for slope in slopes))
    np.testing.assert_allclose(found["gradient_norm"], norm, rtol=1e-12)


def test_the_excess_keeps_its_digits_beside_a_floor() -> None:
    """A loss of order one, and a map that is best but for 1e-9."""
    task = gaussian(n_samples=9, n_inputs=4, n_outputs=3, seed=1)
    target = np.linalg.lstsq(task.inputs, task.targets, rcond=None)[0].T
    near = target.copy()
    near[0, 0] += 1e-9
    (layer,) = network_of(4, (), 3).layers
    network = Network((eqx.tree_at(lambda one: one.weight, layer, jnp.asarray(near)),))
    found = seen(make_system(network, task, coordinates="moments"), "excess_loss", "loss")
    np.testing.assert_allclose(
        found["excess_loss"], 0.5e-18 * np.sum(task.inputs[:, 0] ** 2), rtol=1e-5
    )
    assert found["loss"] > 1


def test_modes_without_a_target() -> None:
    """sigma = 0: strengths over the largest sigma, or as they are."""
    starts = (0.6, 0.3, 0.2)
    found = seen(aligned((2.0, 1.0, 0.0), starts), "learned_modes")
    np.testing.assert_allclose(found["learned_modes"], [0.3, 0.3, 0.1], rtol=1e-13)
    task = make_task(np.eye(4), np.zeros((4, 3)))
    network = network_of(4, (5,), 3)
    moments = task_moments(task)
    found = seen(make_moment_system(network, moments), "learned_modes", "mode_times", "plateaus")
    strengths = np.einsum("ck,cd,dk->k", moments.left, whole(network), moments.right)
    np.testing.assert_allclose(found["learned_modes"], strengths, rtol=1e-12)
    off = np.linalg.norm(whole(network) - moments.left * strengths @ moments.right.T)
    np.testing.assert_allclose(found["off_diagonal"], off, rtol=1e-12)
    assert np.all(np.isinf(found["mode_times"]))
    assert found["plateau_level"][0] == 0


def turn(i, j):
    """A rotation by half a radian in one plane of three."""
    found = np.eye(3)
    found[np.ix_([i, j], [i, j])] = [[np.cos(0.5), np.sin(0.5)], [-np.sin(0.5), np.cos(0.5)]]
    return found


def test_alignment_with_tied_modes_is_with_their_span() -> None:
    """A map turned within the span of two tied modes agrees with both; past it, it does not."""
    task = linear_map(n_inputs=3, n_outputs=3, singular_values=(2.0, 2.0, 1.0))
    (layer,) = network_of(3, (), 3).layers
    for planes, wanted in (((0, 1), [1, 1, 1]), ((1, 2), [1, np.cos(0.5), np.cos(0.5)])):
        pi = turn(*planes) @ np.diag([1.5, 1.2, 0.4])
        network = Network((eqx.tree_at(lambda one: one.weight, layer, jnp.asarray(pi)),))
        found = seen(make_system(network, task, coordinates="moments"), "map_alignment")
        np.testing.assert_allclose(found["map_values"], [1.5, 1.2, 0.4], rtol=1e-13)
        np.testing.assert_allclose(found["left_alignment"], wanted, rtol=1e-12)
        np.testing.assert_allclose(found["right_alignment"], 1, rtol=1e-12)


DT, STEPS = 0.01, 400
SIGMAS, STARTS = (3.0, 2.0, 0.4), (0.02, 0.05, 0.01)


@functools.cache
def run(n_layers, every):
    """An aligned run under RK4, everything recorded."""
    system = aligned(SIGMAS, STARTS, widths=(5, 4)[: n_layers - 1])
    result = simulate(system, RungeKutta4(DT), STEPS, Record(EVERYTHING, every=every))
    return system, {name: np.asarray(array) for name, array in result.records.items()}


@pytest.mark.parametrize("n_layers", [2, 3])
def test_times_of_modes_are_their_half_times(n_layers) -> None:
    """Linear interpolation: dt^2 / 8 times the curvature over the slope."""
    _, records = run(n_layers, 1)
    found = records["mode_times"]
    for i, (sigma, start) in enumerate(zip(SIGMAS, STARTS, strict=True)):
        exact = half_time(n_layers, sigma, start)
        if exact > DT * STEPS:
            assert np.all(np.isinf(found[:, i]))
            continue
        np.testing.assert_allclose(found[-1, i], exact, rtol=0, atol=2e-4)
        before = DT * np.arange(STEPS + 1) < exact
        assert np.all(np.isinf(found[before, i]))
        assert np.all(found[~before, i] == found[-1, i])
        # by hand, from the strengths at every step
        share = records["learned_modes"][:, i]
        k = int(np.argmax(share >= 0.5))
        wanted = DT * (k - (share[k] - 0.5) / (share[k] - share[k - 1]))
        np.testing.assert_allclose(found[-1, i], wanted, rtol=1e-12)
    assert np.isinf(found[-1, 2])


@pytest.mark.parametrize("n_layers", [2, 3])
def test_folds_do_not_depend_on_when_they_are_saved(n_layers) -> None:
    often, rarely = run(n_layers, 1)[1], run(n_layers, 150)[1]
    picked = [0, 150, 300, 400]
    for name in ("mode_times", "plateau_loss", "plateau_speed", "plateau_level", "conserved_drift"):
        assert len(rarely[name]) == 4
        np.testing.assert_allclose(rarely[name], often[name][picked], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("n_layers", [2, 3])
def test_plateaus_are_the_slowest_states_of_their_stages(n_layers) -> None:
    _, records = run(n_layers, 1)
    learned = records["learned_modes"] >= 0.5
    stage, speed = learned.sum(axis=1), records["gradient_norm"] ** 2
    last = {name: records[f"plateau_{name}"][-1] for name in ("speed", "loss", "level")}
    for c in range(4):
        here = np.flatnonzero(stage == c)
        if not len(here):
            assert all(np.isinf(array[c]) for array in last.values())
            continue
        slowest = here[np.argmin(speed[here])]
        np.testing.assert_allclose(last["speed"][c], speed[slowest], rtol=1e-9)
        np.testing.assert_allclose(last["loss"][c], records["loss"][slowest], rtol=1e-12)
        left = [sigma for sigma, known in zip(SIGMAS, learned[slowest], strict=True) if not known]
        np.testing.assert_allclose(last["level"][c], 0.5 * np.sum(np.square(left)), rtol=1e-12)
    assert set(stage) == {0, 1, 2}


def test_times_at_the_ends() -> None:
    """Learned at the start, never learned, no target, and shares other than a half."""
    system = aligned((2.0, 1.0, 0.0), (1.2, 0.1, 0.3))
    share = make_diagnostic("mode_times", share=0.9)
    for diagnostic, part in (("mode_times", 0.5), (share, 0.9)):
        result = simulate(system, RungeKutta4(0.02), 120, Record([diagnostic], at=(0,)))
        times = np.asarray(result["mode_times"])
        assert times[0].tolist() == [0.0 if part == 0.5 else np.inf, np.inf, np.inf]
        first = 0.0 if part == 0.5 else mode_time(2, 2.0, 1.2, 2 * part)
        second = mode_time(2, 1.0, 0.1, part)
        np.testing.assert_allclose(times[1, 0], first, atol=2e-3)
        np.testing.assert_allclose(times[1, 1], second if second < 2.4 else np.inf, atol=2e-3)
        assert np.isinf(times[1, 2])
    with pytest.raises(InputError, match="`share` must be a finite number above 0"):
        make_diagnostic("mode_times", share=0.0)


def test_a_stage_that_two_modes_skip_is_infinite() -> None:
    """Tied modes from one start rise together."""
    system = aligned((2.0, 2.0), (0.1, 0.1, 0.0))
    result = simulate(system, RungeKutta4(0.02), 150, Record(["plateaus", "mode_times"], at=(0,)))
    level = np.asarray(result["plateau_level"][-1])
    np.testing.assert_allclose(level[[0, 2]], [4, 0], atol=1e-14)
    assert np.isinf(level[1])
    assert np.isinf(result["plateau_loss"][-1, 1])
    times = result["mode_times"][-1]
    np.testing.assert_allclose(times[0], times[1], rtol=1e-10)


def invariants(network):
    weights = [np.asarray(layer.weight) for layer in network.layers]
    return [up.T @ up - low @ low.T for low, up in itertools.pairwise(weights)]


def test_drift_is_that_of_the_weights_that_train() -> None:
    """Forward multipliers: conserved are the weights without them; decay shrinks all by one law."""
    task = gaussian(n_samples=9, n_inputs=4, n_outputs=3, seed=1)
    network = network_of(4, (5, 3), 3, parametrization="mean_field")
    system = make_system(network, task, loss=SquaredLoss("mean"), coordinates="moments")
    start = invariants(network)

    def drift(scheme, n_steps):
        result = simulate(system, scheme, n_steps, Record(["conserved_drift"], at=(0,)))
        end = invariants(system.network(result.state))
        wanted = [np.abs(a - b).max() for a, b in zip(end, start, strict=True)]
        np.testing.assert_allclose(result["conserved_drift"][-1], wanted, rtol=1e-9, atol=1e-14)
        assert np.all(result["conserved_drift"][0] == 0)
        return end, np.asarray(result["conserved_drift"][-1])

    # gradient descent over a fixed time: of order eta
    _, large = drift(GradientDescent(0.4), 20)
    _, small = drift(GradientDescent(0.2), 40)
    np.testing.assert_allclose(large / small, 2, rtol=0.1)
    assert drift(RungeKutta4(0.2), 40)[1].max() < 1e-3 * small.max()
    end, _ = drift(GradientDescent(0.001, weight_decay=0.5), 1000)
    for now, then in zip(end, start, strict=True):
        np.testing.assert_allclose(now, np.exp(-1) * then, atol=1e-3 * np.abs(then).max())


def test_drift_needs_a_hidden_layer() -> None:
    task = linear_map(n_inputs=4, n_outputs=3, singular_values=(1.0,))
    system = make_system(network_of(4, (), 3), task, coordinates="moments")
    with pytest.raises(InputError, match="`depth` must be at least 1 for conserved_drift") as told:
        simulate(system, GradientDescent(0.1), 2, Record(["conserved_drift"]))
    assert "\n" not in str(told.value)
    result = simulate(system, GradientDescent(0.1), 2, Record(EVERYTHING[:-1]))
    assert np.all(np.isfinite(result["gradient_norm"]))


@pytest.mark.parametrize("name", EVERYTHING[1:])
def test_they_are_refused_for_networks(name) -> None:
    task = linear_map(n_inputs=4, n_outputs=3, singular_values=(1.0,))
    system = make_system(network_of(4, (5,), 3), task, coordinates="weights")
    told = rf"Diagnostic `{name}` reads MomentFields, but this system shows NetworkFields\."
    with pytest.raises(InputError, match=told):
        simulate(system, GradientDescent(0.1), 2, Record([name]))


@pytest.mark.parametrize("name", ["residual", "layer_kernels", "flips", "kernel_movement"])
def test_those_of_networks_are_refused_for_moments(name) -> None:
    system = aligned((1.0,), (0.1, 0.1, 0.1))
    told = rf"Diagnostic `{name}` reads NetworkFields, but this system shows MomentFields\."
    with pytest.raises(InputError, match=told):
        simulate(system, GradientDescent(0.1), 2, Record([name]))


@pytest.mark.parametrize("name", EVERYTHING)
def test_axes_are_those_named_and_none_sees_padding(name) -> None:
    diagnostic = make_diagnostic(name)
    assert diagnostic.ignores_padding
    assert not diagnostic.chatters or name == "loss"
    _, records = run(2, 150)
    lengths = {"mode": 3, "stage": 4, "hidden": 1}
    for array, axes in diagnostic.dims().items():
        assert records[array].shape[1:] == tuple(lengths[axis] for axis in axes)


def test_alignment_of_a_map_of_zero_is_zero() -> None:
    """Vectors of a singular value at rounding level mean nothing."""
    network = network_of(4, (2,), 3)
    system = make_system(
        network,
        linear_map(n_inputs=4, n_outputs=3, singular_values=(3.0, 2.0, 1.0)),
        coordinates="moments",
    )
    found = seen(system, "map_alignment")
    assert found["map_values"][2] < 1e-14  # width 2 holds two
    assert found["left_alignment"][2] == found["right_alignment"][2] == 0
    assert np.all(found["left_alignment"][:2] > 0)


@pytest.mark.parametrize("share", [1.0, 2.0, 0.0, -1.0])
def test_a_share_that_is_never_reached_or_no_share_is_refused(share) -> None:
    with pytest.raises(InputError, match="share"):
        make_diagnostic("mode_times", share=share)
