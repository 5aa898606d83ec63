"""Which widths share a program, and what comes of it: groups, names, coordinates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gramdyn import ConfigError, InputError
from gramdyn.diagnostics import Record
from gramdyn.plan import make_plan, parse_config
from gramdyn.plan.widths import Sharer, share_widths
from gramdyn.store import open
from gramdyn.sweep import run_plan

TEXT = """\
task: {kind: gaussian, n_samples: 6, n_inputs: 10}
network: {width: 5, depth: 2}
scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 10}
record: {every: 5, of: [loss]}
precision: float64
sweep: {network.width: [4, 8, 16]}
"""
ADAM = "scheme={kind: optax, optimizer: adam, step_size: 0.1, n_steps: 10}"
ADAPTIVE = "scheme={kind: gradient_flow, method: adaptive, step_size: 0.1, n_steps: 10}"


def plan_of(*changes):
    return make_plan(parse_config(TEXT, changes=list(changes)))


def sharer(n_steps=1000, platform="cpu"):
    return Sharer(32, 100, n_steps, 10, 2, platform)


def programs(runs, found):
    """Widths by the program they are in."""
    groups = {}
    for widths in runs:
        groups.setdefault(found[widths], []).append(widths)
    return groups


def cost(groups, runs, one):
    """Seconds by the definition: a compile a program, and every run at its program's widths."""
    hulls = [(np.max(members, axis=0), members) for members in groups]
    return sum(
        one.compile_seconds + sum(runs[w] for w in members) * one.run_seconds(tuple(map(int, hull)))
        for hull, members in hulls
    )


def test_one_width_is_compiled_as_it_is():
    assert share_widths({(7, 3): 5}, sharer()) == {(7, 3): (7, 3)}
    assert share_widths({(7, 3): 10**6}, sharer(), always=True) == {(7, 3): (7, 3)}


def test_few_cheap_runs_share_one_program_and_many_do_not():
    few = dict.fromkeys([(8, 8), (32, 32), (64, 64)], 2)
    assert set(share_widths(few, sharer()).values()) == {(64, 64)}
    many = dict.fromkeys(few, 10**6)
    assert share_widths(many, sharer()) == {widths: widths for widths in many}
    assert set(share_widths(many, sharer(), always=True).values()) == {(64, 64)}
    # Of the three, the two narrow ones differ by little.
    some = {(512, 512): 10**4, (9, 9): 10, (8, 8): 10**4}
    assert share_widths(some, sharer()) == {(512, 512): (512, 512), (9, 9): (9, 9), (8, 8): (9, 9)}


def test_layers_of_unlike_widths_share_the_hull():
    runs = {(4, 9): 1, (9, 4): 1, (5, 5): 1}
    assert set(share_widths(runs, sharer()).values()) == {(9, 9)}


def test_operations_of_a_run_by_hand():
    # Layers of 3 x 100 (3 x 32 in Gram coordinates) and 5 x 3: 6 n N M a step, 4 n^2 N a saved
    # time; 5e10 a second on each of two devices.
    flops = 7 * 6 * 32 * (3 * 32 + 5 * 3) + 2 * 4 * 32**2 * (3 + 5)
    found = Sharer(32, 100, n_steps=7, n_records=2, n_devices=2, platform="cpu").run_seconds((3, 5))
    assert found == pytest.approx(flops / 1e11, rel=1e-12)


widths_of_one_depth = st.integers(1, 3).flatmap(
    lambda depth: st.dictionaries(
        st.tuples(*[st.sampled_from([1, 4, 12, 32, 100, 256, 1024])] * depth),
        st.integers(1, 10**4) | st.integers(1, 20),
        min_size=1,
        max_size=7,
    )
)
sharers = st.builds(
    Sharer,
    n_rows=st.sampled_from([8, 32, 128]),
    n_inputs=st.sampled_from([2, 10, 784]),
    n_steps=st.sampled_from([10, 100, 1000, 10000]),
    n_records=st.sampled_from([2, 10]),
    n_devices=st.sampled_from([1, 2]),
    platform=st.sampled_from(["cpu", "gpu"]),
)
SLACK = 1 + 1e-12  # sums in another order


@given(widths_of_one_depth, sharers)
def test_never_dearer_than_all_in_one_or_all_apart(runs, one):
    found = programs(runs, share_widths(runs, one))
    for hull, members in found.items():
        assert hull == tuple(map(max, zip(*members, strict=True)))
    chosen = cost(found.values(), runs, one)
    assert chosen <= SLACK * cost([list(runs)], runs, one)
    assert chosen <= SLACK * cost([[widths] for widths in runs], runs, one)


@pytest.mark.parametrize(
    ("runs", "one"),
    [
        # From the widest down alone took 1.46 times the seconds of all in one.
        (
            {(128, 1024): 6, (128, 4): 1, (12, 1024): 256},
            Sharer(32, 784, 10000, 2, 1, "gpu"),
        ),
        (
            {(32, 1024): 3256, (1024, 32): 15, (1, 64): 43, (1024, 1): 15},
            Sharer(32, 2, 100, 2, 1, "gpu"),
        ),
    ],
)
def test_unlike_layers_that_only_pay_together(runs, one):
    assert len(programs(runs, share_widths(runs, one))) == 1


@given(
    st.dictionaries(st.integers(1, 1024), st.integers(1, 1000), min_size=1, max_size=7),
    st.integers(1, 3),
    sharers,
    st.data(),
)
def test_more_runs_never_make_fewer_programs(widths, depth, one, data):
    runs = {(width,) * depth: count for width, count in widths.items()}
    more = {w: count + data.draw(st.integers(0, 1000)) for w, count in runs.items()}
    before, after = (programs(r, share_widths(r, one)) for r in (runs, more))
    assert len(after) >= len(before)


def mean_output(fields):
    return fields.outputs.mean()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("record.of=[loss, coactivation]", "where `coactivation` is recorded"),
        ("record.of=[chatter]", "where `chatter` is recorded"),
        ("record={of: [coactivation], average: 2}", "where `coactivation` is recorded"),
        (f"record.of=['{__name__}:mean_output']", "where `mean_output` is recorded"),
        (ADAM, "with a scheme that looks at all weights together"),
        (ADAPTIVE, "with a scheme that looks at all weights together"),
    ],
)
def test_what_counts_neurons_gets_programs_of_its_own(change, told):
    plan = plan_of(change)
    assert [group.widths for group in plan.groups] == [(4, 4), (8, 8), (16, 16)]
    assert all("padded" not in group.params for group in plan.groups)
    with pytest.raises(InputError, match=told) as caught:
        plan_of(change, "runtime.padding=always")
    assert "runtime.padding" in str(caught.value)
    assert "\n" not in str(caught.value)
    # One width has nothing to fill up.
    assert len(plan_of(change, "runtime.padding=always", "sweep={}").groups) == 1


def test_padding_by_the_configuration():
    assert [group.widths for group in plan_of().groups] == [(16, 16)]
    assert [group.name for group in plan_of().groups] == ["runs"]
    never = plan_of("runtime.padding=never")
    assert [group.name for group in never.groups] == ["width-4", "width-8", "width-16"]
    dear = ["scheme.n_steps=100000", "sweep={network.width: [4, 64], seed: {count: 1000}}"]
    assert len(plan_of(*dear).groups) == 2
    assert len(plan_of(*dear, "runtime.padding=always").groups) == 1
    with pytest.raises(ConfigError, match=r"runtime\.padding"):
        plan_of("runtime.padding=sometimes")


def test_depths_and_whatever_else_shapes_a_program_stay_apart():
    plan = plan_of(
        "sweep={network.width: [4, 8], network.depth: [1, 2], network.activation: [relu, linear]}"
    )
    told = [(g.config.network.activation, g.widths, len(g.jobs)) for g in plan.groups]
    assert sorted(told) == [
        ("linear", (8,), 2),
        ("linear", (8, 8), 2),
        ("relu", (8,), 2),
        ("relu", (8, 8), 2),
    ]
    assert {group.name for group in plan.groups} == {
        f"depth-{depth}_activation-{name}" for depth in (1, 2) for name in ("relu", "linear")
    }


def test_some_share_and_others_do_not():
    """A scheme on an axis: each is judged by itself."""
    adam = ADAM.partition("=")[2]
    descent = "{kind: gradient_descent, step_size: 0.1, n_steps: 10}"
    plan = plan_of(f"sweep={{scheme: [{descent}, {adam}], network.width: [4, 8]}}")
    assert [(g.config.scheme.kind, g.widths) for g in plan.groups] == [
        ("gradient_descent", (8, 8)),
        ("optax", (4, 4)),
        ("optax", (8, 8)),
    ]


def test_runs_come_back_with_their_own_widths_in_the_order_of_the_sweep(tmp_path):
    changes = ["sweep={seed: [3, 1], network.widths: [[4], [9, 3], [3, 7], [6]]}"]
    changes += ["network={widths: [4]}", "runtime.padding=always", "runtime.chunk_runs=3"]
    plan = plan_of(*changes)
    assert [group.widths for group in plan.groups] == [(6,), (9, 7)]
    run_plan(plan, tmp_path / "run")
    nodes = list(open(tmp_path / "run").children.values())
    assert [list(node["widths"].values) for node in nodes] == [
        ["[4]", "[6]"] * 2,
        ["[9, 3]", "[3, 7]"] * 2,
    ]
    assert [list(node["seed"].values) for node in nodes] == [[3, 3, 1, 1]] * 2
    assert [list(node["depth"].values) for node in nodes] == [[1] * 4, [2] * 4]
    assert [list(node["width"].values) for node in nodes] == [[4, 6] * 2, [9, 7] * 2]
    # Each is its own run: losses differ, as those of networks alone do.
    losses = np.concatenate([node["loss"].values[:, -1] for node in nodes])
    assert len(set(losses)) == 8


def test_averages_ignore_padding_where_what_they_average_does():
    average = Record(["layer_kernels", "coactivation"], average=3).diagnostics
    assert [one.ignores_padding for one in average] == [True, False, True, False]
