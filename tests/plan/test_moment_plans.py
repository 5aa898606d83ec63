"""Sweeps in moment coordinates: what a file may say, and widths that share a program."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.chunks import compute, plan_of

from gramdyn import ConfigError, InputError
from gramdyn.data import gaussian, linear_map, task_moments
from gramdyn.dynamics.midpoint import ImplicitMidpoint
from gramdyn.dynamics.simulate import simulate_many
from gramdyn.plan import parse_config
from gramdyn.plan.build import stack_data

BASE = """\
task: {kind: linear_map, n_inputs: 4, n_outputs: 3, singular_values: [3, 2, 1], rotate: true}
network: {width: 4, depth: 2, activation: linear, readout: trained, parametrization: unscaled,
  weight_scale: 0.5}
coordinates: moments
scheme: {kind: gradient_flow, method: rk4, step_size: 0.02, n_steps: 60}
record: {every: 20, of: [loss, learned_modes]}
precision: float64
"""
LINEAR = "coordinates moments need a linear network without bias or centring, but this is"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["network.activation=relu"], rf"<text>:2: network\.activation: {LINEAR} relu"),
        (["network.bias=true"], rf"<text>:2: network\.bias: {LINEAR} True"),
        (["network.centred=true"], rf"<text>:2: network\.centred: {LINEAR} True"),
        (["network.init=balancd"], r"<text>:2: network\.init: .*did you mean `balanced`"),
        (["coordinates=moment"], r"<text>:4: coordinates: .*did you mean `moments`"),
        (
            ["coordinates=weights", "network.init=balanced"],
            r"<text>:2: network\.init: balanced needs coordinates: moments",
        ),
        (
            ["coordinates=auto", "network.init=aligned"],
            r"<text>:2: network\.init: aligned needs coordinates: moments",
        ),
        (
            ["network.init=balanced", "network.parametrization=ntk"],
            r"<text>:2: network\.init: balanced needs a parametrization without multipliers: "
            r"standard, tied, uniform, unscaled",
        ),
        (
            ["network.init=aligned", "network.parametrization=tied"],
            r"<text>:2: network\.init: aligned needs parametrization: unscaled",
        ),
        (
            [
                *("network.init=aligned", "network.parametrization=unscaled"),
                "network.output_scale=2",
            ],
            r"<text>:2: network\.output_scale: must be left out with init aligned",
        ),
        (
            ["coordinates=gram", "network.depth=0"],
            r"<text>:2: network\.depth: 0 needs coordinates: moments",
        ),
        (["network.depth=0", "network.readout=fixed"], r"<text>:2: network: `depth` 0 has noth"),
        (["network.depth=-1"], r"<text>:2: network\.depth: .*greater than or equal to 0 \(got -1"),
        (["network.widths=[]"], r"<text>:2: network\.widths: .*at least 1"),
        (
            ["task.singular_values=[1, .nan]"],
            r"<text>:1: task\.singular_values\.1: input should be a finite number \(got nan\)",
        ),
        (["task.singular_values=[.inf]"], r"<text>:1: task\.singular_values\.0: .*finite number"),
        (["task.singular_values=3"], r"<text>:1: task\.singular_values: .*tuple"),
        (["task.between=[.nan, 1]"], r"<text>:1: task\.between\.0: .*finite number"),
        (["task.rotat=true"], r"<text>:1: task\.rotat: unknown key; did you mean `rotate`"),
        (["scheme.method=midpont"], r"<text>:5: scheme\.method: .*'midpoint'"),
    ],
)
def test_mistakes_in_a_file_are_told_with_their_place(changes, told) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        parse_config(BASE, changes=changes)
    assert "\n" not in str(caught.value)


SIGMA = "`singular_values` must "


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["task.singular_values=[1, -1]"], SIGMA + "hold 1 to 3 finite numbers of at least 0"),
        (["task.singular_values=[1, 1, 1, 1]"], SIGMA + "hold 1 to 3 finite numbers"),
        (["task.singular_values=[]"], SIGMA + "hold 1 to 3 finite numbers"),
        (["task.singular_values=null"], SIGMA + "be given, or else `between`"),
        (["task.between=[1, 2]"], SIGMA + "be given, or else `between`"),
        (["task.between=[2, 1]", "task.singular_values=null"], r"be a pair \(low, high\)"),
        (["record.of=[residual]"], "`residual` reads NetworkFields, but this system shows Mom"),
        (["coordinates=weights"], "`learned_modes` reads MomentFields, but this system shows Net"),
        (["network.depth=0", "record.of=[conserved_drift]"], "`depth` must be at least 1 for cons"),
        (["scheme.max_steps=0", "scheme.method=midpoint"], "`max_steps` must be a whole number"),
        (["sweep={network.depth: [-1, 0]}"], r"network\.depth: .*\(at network\.depth=-1\)"),
        (
            ["sweep={network.activation: [linear, relu]}"],
            rf"network\.activation: {LINEAR} relu \(at network\.activation=relu\)",
        ),
        (
            ["sweep={network.depth: [0, 1], network.readout: [trained, fixed]}"],
            r"`depth` 0 has nothing but a readout.*\(at network\.depth=0, network\.readout=fixed\)",
        ),
        (["sweep={task.singular_values: [[1, 2], [-1]]}"], SIGMA + "hold 1 to 3 finite"),
    ],
)
def test_what_would_fail_in_a_run_is_told_before_it(changes, told) -> None:
    with pytest.raises(InputError, match=told) as caught:
        plan_of(BASE, *changes)
    assert "\n" not in str(caught.value)


EVERYTHING = (
    "record={every: 20, of: [loss, excess_loss, gradient_norm, learned_modes, map_alignment, "
    "mode_times, plateaus, conserved_drift]}"
)


@functools.cache
def both(init):
    """Runs of two widths, each in a program of its own and all in one: records, weights."""
    changes = (
        EVERYTHING,
        f"network.init={init}",
        "sweep={network.widths: [[1, 5], [4, 2]]}",
    )
    base = BASE.replace("width: 4, depth: 2", "widths: [3, 3]")
    found = []
    for how in ("never", "always"):
        plan = plan_of(base, *changes, f"runtime.padding={how}")
        runs = {}
        for group in plan.groups:
            result = simulate_many(
                group.build,
                group.params,
                group.n_steps,
                group.record,
                batching="vmap",
                devices=(jax.local_devices()[0],),
            )
            assert np.all(result.status == 0)
            for i, job in enumerate(group.jobs):
                records = {name: np.asarray(array[i]) for name, array in result.records.items()}
                weights = [np.asarray(layer.weight[i]) for layer in result.state.layers]
                runs[job.config.network.layer_widths] = records, weights
        found.append((len(plan.groups), runs))
    return found


@pytest.mark.parametrize("init", ["gaussian", "balanced", "aligned"])
def test_widths_that_share_a_program_are_those_alone(init) -> None:
    (n_alone, alone), (n_shared, shared) = both(init)
    assert (n_alone, n_shared) == (2, 1)
    assert alone.keys() == shared.keys() == {(1, 5), (4, 2)}
    for widths, (records, weights) in alone.items():
        others, filled = shared[widths]
        records, others = dict(records), dict(others)
        # of a balanced start's invariants, which are 0, rounding is left
        drifts = [one.pop("conserved_drift") for one in (records, others)]
        np.testing.assert_allclose(*drifts, rtol=0, atol=1e-12)
        # vectors of a map's zero singular values are anyone's
        rank = min(widths)
        for name in ("left_alignment", "right_alignment"):
            sides = [one.pop(name)[:, :rank] for one in (records, others)]
            np.testing.assert_allclose(*sides, rtol=0, atol=1e-10)
        assert records.keys() == others.keys()
        for name, array in records.items():
            size = np.max(np.abs(array), initial=0.01, where=np.isfinite(array))
            np.testing.assert_allclose(others[name], array, rtol=0, atol=1e-12 * size, err_msg=name)
        for own, wide in zip(weights, filled, strict=True):
            rows, columns = own.shape
            np.testing.assert_allclose(wide[:rows, :columns], own, rtol=0, atol=1e-12)
            assert not np.any(wide[rows:])
            assert not np.any(wide[:, columns:])
        assert records["loss"][-1] < records["loss"][0]


def test_depth_is_an_axis_from_0_on() -> None:
    """Aligned starts of weight scale 1/2 have strengths 2^-L; loss and modes by hand."""
    runs = compute(plan_of(BASE, "network.init=aligned", "sweep={network.depth: [0, 1, 2]}"))
    for place, run in runs.items():
        n_layers = 1 + int(place[-2])
        strength = 0.5**n_layers
        np.testing.assert_allclose(run["learned_modes"][0], strength / np.array([3, 2, 1]))
        wanted = 0.5 * sum((sigma - strength) ** 2 for sigma in (3, 2, 1))
        np.testing.assert_allclose(run["loss"][0], wanted, rtol=1e-12)
        assert run["loss"][-1] < 0.5 * run["loss"][0]
        if n_layers == 1:  # one layer: the error of each mode decays as exp(-t)
            gap = (1 - strength / np.array([3, 2, 1])) * np.exp(-1.2)
            np.testing.assert_allclose(run["learned_modes"][-1], 1 - gap, rtol=1e-8)


def test_singular_values_are_an_axis_with_ties_and_zeros() -> None:
    values = [[3, 2, 1], [2, 2], [1.5], [0, 0, 0]]
    changes = (f"sweep={{task.singular_values: {values}}}", EVERYTHING, "network.init=aligned")
    plan = plan_of(BASE, *changes)
    assert len(plan.groups) == 1
    strength = 0.5**3
    for sigmas, run in zip(values, compute(plan).values(), strict=True):
        sigmas = np.array([*sigmas, 0, 0, 0][:3], float)
        np.testing.assert_allclose(run["loss"][0], 0.5 * np.sum((sigmas - strength) ** 2))
        np.testing.assert_allclose(run["excess_loss"], run["loss"], rtol=1e-14)
        scale = np.where(sigmas > 0, sigmas, sigmas[0] if sigmas[0] > 0 else 1)
        np.testing.assert_allclose(run["learned_modes"][0], strength / scale, rtol=1e-12)
        assert run["loss"][-1] < run["loss"][0]
        assert np.all(np.isinf(run["mode_times"][:, sigmas == 0]))
        assert all(not np.any(np.isnan(array)) for array in run.values() if array.dtype.kind == "f")


def test_weight_scale_is_that_of_every_layer() -> None:
    """Entries N(0, scale^2) in all three layers: the map goes with its third power."""
    runs = compute(plan_of(BASE, "sweep={network.weight_scale: [0.1, 0.2]}"))
    one, two = (run["learned_modes"][0] for run in runs.values())
    np.testing.assert_allclose(two, 8 * one, rtol=1e-12)


@pytest.mark.parametrize("init", ["gaussian", "balanced"])
def test_a_narrow_network_ends_at_the_best_map_of_its_rank(init) -> None:
    """Width 1, then 2: what is left are the squares of the other sigmas."""
    changes = (
        "sweep={network.width: [1, 2]}",
        f"network.init={init}",
        "network.depth=1",
        "scheme.step_size=0.1",
        "scheme.n_steps=400",
        "runtime.padding=always",
    )
    runs = compute(plan_of(BASE, *changes))
    for run, left in zip(runs.values(), (2.5, 0.5), strict=True):
        np.testing.assert_allclose(run["loss"][-1], left, rtol=1e-9)


def test_data_with_and_without_the_identity_stack() -> None:
    """White moments are spelt out beside others; each keeps its own."""
    config = parse_config(BASE)
    tasks = [
        linear_map(n_inputs=4, n_outputs=3, singular_values=(2.0, 1.0)),
        gaussian(n_samples=4, n_inputs=4, n_outputs=3),
    ]
    arrays, structure = stack_data(config, tasks, "float64")
    for i, task in enumerate(tasks):
        found = jax.tree.unflatten(structure, [array[i] for array in arrays])
        wanted = task_moments(task).with_moment()
        for one, other in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
            np.testing.assert_array_equal(one, other)
    arrays, structure = stack_data(config, tasks[:1] * 2, "float32")
    found = jax.tree.unflatten(structure, arrays)
    assert found.input_moment is None
    assert {array.dtype for array in arrays} == {np.dtype("float32")}


def test_the_loss_and_the_whitening_of_the_configuration() -> None:
    """Loss at t = 0 by hand, mean over samples, and white data under it."""
    text = BASE.replace(
        "{kind: linear_map, n_inputs: 4, n_outputs: 3, singular_values: [3, 2, 1], rotate: true}",
        "{kind: gaussian, n_samples: 9, n_inputs: 4, n_outputs: 3, target: linear, whiten: true}",
    )
    plan = plan_of(text, "loss={reduction: mean}", "network.init=aligned")
    (task,) = plan.groups[0].tasks
    np.testing.assert_allclose(task.inputs.T @ task.inputs / 9, np.eye(4), atol=1e-13)
    (run,) = compute(plan).values()
    moments = task_moments(task, 1 / 9)
    wanted = 0.5 * np.sum((moments.values - 0.5**3) ** 2) + moments.floor
    np.testing.assert_allclose(run["loss"][0], wanted, rtol=1e-12)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_midpoint_by_its_name(precision) -> None:
    """Invariants to rounding in a sweep over seeds."""
    plan = plan_of(
        BASE,
        "scheme.method=midpoint",
        f"precision={precision}",
        "record.of=[loss, conserved_drift]",
        "sweep={seed: [0, 1, 2]}",
    )
    with jax.enable_x64(precision == "float64"):
        group = plan.groups[0]
        _, scheme = group.build(jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), group.params))
    assert isinstance(scheme, ImplicitMidpoint)
    assert (group.coordinates, len(plan.groups)) == ("moments", 1)
    for run in compute(plan).values():
        assert run["status"] == 0
        assert run["loss"].dtype == precision
        assert run["conserved_drift"].max() < (1e-14 if precision == "float64" else 1e-5)
        assert run["loss"][-1] < 0.9 * run["loss"][0]
