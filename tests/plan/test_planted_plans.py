"""Plans of planted maps: groups over inputs, starts that agree, mistakes told before a run."""

import jax
import numpy as np
import pytest
from support.chunks import compute, plan_of

import gramdyn as gd
from gramdyn import ConfigError, InputError
from gramdyn.plan import make_plan, parse_config
from gramdyn.report.cells import cells_of
from gramdyn.sweep import run_sweep

BASE = """\
task: {kind: planted_map, n_inputs: 100}
network: {width: 2, depth: 1, readout: trained, init: chi, weight_scale: 1.0e-8}
coordinates: thin
loss: {reduction: mean}
scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 40}
precision: float64
record: {every: 20, of: [loss, planted_weights]}
"""


def test_inputs_share_one_program_and_change_no_other_run():
    many, one = (
        plan_of(BASE, f"sweep={{task.n_inputs: {inputs}, seed: [0, 1, 2]}}")
        for inputs in ([10, 100, 1_000_000], [100])
    )
    (group,) = many.groups
    assert (group.coordinates, len(group.jobs)) == ("thin", 9)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(group.build)) < 1000
    alone = compute(one)
    found = compute(many)
    for place, wanted in alone.items():
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[place][name], values)


def test_a_seed_starts_from_the_same_weights_on_samples_and_on_the_population():
    changes = ["task.samples_per_input=2", "task.n_inputs=6", "network.weight_scale=0.3"]
    starts = {}
    for coordinates in ("thin", "weights", "gram"):
        runs = compute(plan_of(BASE, *changes, f"coordinates={coordinates}", "sweep.seed=[0, 1]"))
        starts[coordinates] = [run["hidden_rows"][0] for run in runs.values()]
    for thin, weights, gram in zip(*starts.values(), strict=True):
        assert (thin.shape, weights.shape) == ((2, 3), (2, 6))
        np.testing.assert_allclose(weights, np.pad(thin, ((0, 0), (0, 3))), atol=1e-16)
        np.testing.assert_allclose(gram, weights, atol=1e-14)


def test_widths_have_programs_of_their_own():
    plan = plan_of(BASE, "sweep.network.width=[2, 3, 4]")
    assert [group.widths for group in plan.groups] == [(2,), (3,), (4,)]
    with pytest.raises(InputError, match=r"runtime\.padding.*init chi, drawn in the frame"):
        plan_of(BASE, "sweep.network.width=[2, 3]", "runtime.padding=always")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            ["task={kind: gaussian, n_samples: 4, n_inputs: 3}"],
            r"<text>:1: task\.kind: must be planted_map",
        ),
        (
            ["task={kind: gaussian, n_samples: 4, n_inputs: 3}", "coordinates=auto"],
            r"<text>:2: network\.init: chi needs task\.kind: planted_map",
        ),
        (
            ["network.init=gaussian"],
            r"<text>:2: network\.init: must be one of chi, balanced, xavier, same",
        ),
        (
            ["coordinates=auto", "network.init=gaussian"],
            r"<text>:2: network\.init: must be .*same without task\.samples_per_input, but",
        ),
        (
            ["network.activation=tanh"],
            r"<text>:2: network\.activation: .*must be relu, but is tanh",
        ),
        (
            ["network.init=gaussian", "network.signs=[1, -1]"],
            r"network\.signs: belong to both layers",
        ),
        (["network.bias=true"], r"<text>:2: network\.bias: .*must be False"),
        (["network.readout_bias=true"], r"<text>:2: network\.readout_bias: .*must be False"),
        (["network.kind=residual"], r"<text>:2: network\.kind: .*must be dense"),
        (["network.readout=fixed"], r"<text>:2: network\.readout: .*must be trained"),
        (
            ["network.parametrization=ntk"],
            r"<text>:2: network\.parametrization: .*must be standard",
        ),
        (["network.output_scale=2"], r"<text>:2: network\.output_scale: .*must be 1"),
        (["network.centred=true"], r"<text>:2: network\.centred: .*must be False"),
        (["network.depth=2"], r"<text>:2: network\.depth: .*must be 1, but is 2"),
        (["loss.reduction=sum"], r"<text>:4: loss\.reduction: must be mean in coordinates thin"),
        (["loss.kind=cross_entropy"], r"<text>:4: loss\.kind: must be squared in coordinates thin"),
        (
            ["precision=float32", "network.weight_scale=1e-18"],
            r"<text>:2: network\.weight_scale: must be at least 1e-17",
        ),
        (["network.init=chy"], r"<text>:2: network\.init: unknown init 'chy'; did you mean `chi`"),
        (["scheme.batch_size=3"], r"<text>:3: coordinates: must be weights for mini-batches"),
    ],
)
def test_mistakes_are_told_with_their_place(changes, told):
    with pytest.raises(ConfigError, match=told) as caught:
        parse_config(BASE, changes=changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("precision", "scale"), [("float32", 1e-17), ("float64", 1e-30)])
def test_scales_that_precision_allows(precision, scale):
    """The limit is of float32 alone, where squares of norms of 1e-19 are 0."""
    config = parse_config(BASE, changes=[f"precision={precision}", f"network.weight_scale={scale}"])
    assert config.network.weight_scale == scale


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["coordinates=weights"], "give task.samples_per_input"),
        (
            ["coordinates=moments", "network={width: 2, depth: 1, activation: linear}"],
            "coordinates `moments`: give task.samples_per_input",
        ),
        (["network.signs=[1]"], "be 2 numbers of 1 or -1"),
        (["task.n_outputs=2", "network.signs=[1, -1]"], "left out for several outputs"),
        (["scheme={kind: optax, optimizer: adam, step_size: 0.1, n_steps: 5}"], "thin coordinates"),
        (["record.of=[residual]"], "reads NetworkFields"),
        (["task.n_outputs=2", "record.of=[strengths]"], "be 1 for diagnostic `strengths`"),
    ],
)
def test_what_would_fail_in_a_run_is_told_before_it(changes, told):
    with pytest.raises(InputError, match=told) as caught:
        make_plan(parse_config(BASE, changes=changes))
    assert "\n" not in str(caught.value)


def test_auto_means_thin_without_samples_and_whole_tasks_are_an_axis(tmp_path):
    tasks = (
        "sweep.task=[{kind: planted_map, n_inputs: 5}, {kind: planted_map, n_inputs: 700}, "
        "{kind: planted_map, n_inputs: 5, samples_per_input: 2}]"
    )
    config = parse_config(BASE, changes=["coordinates=auto", tasks, "sweep.seed=[0, 1]"])
    assert sorted(group.coordinates for group in make_plan(config).groups) == ["thin", "weights"]
    run_sweep(config, tmp_path / "run")
    found = set()
    for node in gd.open(tmp_path / "run").children.values():
        places = (np.asarray(node[f"task.{name}"]) for name in ("n_inputs", "samples_per_input"))
        found |= set(zip(*(place.tolist() for place in places), strict=True))
    assert found == {(5, np.inf), (700, np.inf), (5, 2.0)}


@pytest.mark.parametrize(
    ("tasks", "axes"),
    [
        # One group, one number apart: that number is the axis, and what all have is none.
        (
            "{kind: planted_map, n_inputs: 5, samples_per_input: 2}, "
            "{kind: planted_map, n_inputs: 5, samples_per_input: 2, seed: 7}",
            {"task.seed": {0, 7}},
        ),
        # A default that is left out is the same as one that is given.
        (
            "{kind: planted_map, n_inputs: 5}, {kind: planted_map, n_inputs: 6, n_outputs: 1}",
            {"task.n_inputs": {5, 6}},
        ),
        # Unlike kinds, and what is no number: text.
        (
            "{kind: planted_map, n_inputs: 4, samples_per_input: 2}, "
            "{kind: gaussian, n_inputs: 4, n_samples: 8}",
            {
                "task": {
                    "kind: planted_map, n_inputs: 4, samples_per_input: 2",
                    "kind: gaussian, n_inputs: 4, n_samples: 8",
                }
            },
        ),
        (
            "{kind: gaussian, n_inputs: 4, n_samples: 8, target: linear}, "
            "{kind: gaussian, n_inputs: 4, n_samples: 8, target: random}",
            {
                "task": {
                    "kind: gaussian, n_inputs: 4, n_samples: 8, target: linear",
                    "kind: gaussian, n_inputs: 4, n_samples: 8, target: random",
                }
            },
        ),
    ],
)
def test_places_of_whole_tasks(tasks, axes, tmp_path):
    changes = ["coordinates=auto", f"sweep={{task: [{tasks}], seed: [0, 1]}}", "record.of=[loss]"]
    if "gaussian" in tasks:
        changes += ["task={kind: gaussian, n_inputs: 4, n_samples: 8}", "network.init=gaussian"]
    run_sweep(parse_config(BASE, changes=changes), tmp_path / "run")
    nodes = gd.open(tmp_path / "run").children.values()
    found = {}
    for name, values in [(n, v) for node in nodes for n, v in node.coords.items()]:
        if str(name).startswith("task") and name != "task_index":
            found.setdefault(name, set()).update(np.asarray(values).tolist())
    assert found == axes
    assert len(cells_of(gd.open(tmp_path / "run"))) == (1 if "task.seed" in axes else 2)
