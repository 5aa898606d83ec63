import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from gramdyn import ConfigError, InputError
from gramdyn.plan import make_plan, parse_config

TEXT = """\
task: {kind: gaussian, n_samples: 6, n_inputs: 10}
network: {width: 5, depth: 2}
scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 10}
record: {every: 2, of: [loss, layer_kernels, flips]}
runtime: {padding: never}
"""


def plan_of(*changes, text=TEXT):
    return make_plan(parse_config(text, changes=list(changes)))


def test_numbers_share_a_program_and_shapes_do_not():
    plan = plan_of(
        "sweep.seed={count: 3}",
        "sweep.scheme.step_size=[0.1, 0.2]",
        "sweep.network.weight_scale=[0.5, 1]",
        "sweep.task.seed=[0, 1]",
        "sweep.network.width=[4, 8]",
    )
    assert [group.name for group in plan.groups] == ["width-4", "width-8"]
    assert [len(group.jobs) for group in plan.groups] == [24, 24]
    assert len(plan.groups[0].tasks) == 2
    assert plan.n_runs == 48


def test_presence_of_momentum_and_relative_steps_change_the_program():
    assert len(plan_of("sweep.scheme.momentum=[null, 0.5, 0.9]").groups) == 2
    assert len(plan_of("sweep.scheme.step_size=[0.1, 0.2, {relative: 0.5}]").groups) == 2


def test_operations_and_bytes_by_hand():
    group = plan_of().groups[0]
    n, width, saved = 6, 5, 6
    # First layer in Gram coordinates (n <= 1.2 d): one n x n product. Second: forward, pull and
    # gradient. Fixed readout: forward and pull.
    a_step = 2 * n * n * width + 3 * 2 * n * width**2 + 2 * 2 * n * width
    assert group.coordinates == "gram"
    assert group.run_flops == 10 * a_step
    assert group.run_bytes == saved * 4 * (1 + 2 * n * n + 2)
    weights = plan_of("coordinates=weights").groups[0]
    assert weights.run_flops - group.run_flops == 10 * (2 * 2 * n * 10 * width - 2 * n * n * width)


def test_auto_coordinates_by_shape_and_by_scheme():
    assert plan_of("task.n_inputs=3").groups[0].coordinates == "weights"
    adam = "scheme={kind: optax, optimizer: adam, step_size: 0.01, n_steps: 5}"
    assert plan_of(adam).groups[0].coordinates == "weights"
    with pytest.raises(InputError, match=r"linear in the gradient.*use coordinates 'weights'"):
        plan_of(adam, "coordinates=gram")


def test_chunks_keep_to_the_memory_and_cover_every_run():
    plan = plan_of("sweep.seed={count: 50}", "runtime.memory_gb=0.0001")
    group, n_devices = plan.groups[0], len(jax.local_devices())
    # Two chunks in flight, and three copies of what is written.
    held = 5 * group.chunk * group.run_bytes
    held += n_devices * (group.cost.work_bytes + group.cost.shared_bytes)
    # Below the limit by less than half: chunks are made even.
    assert held <= 0.0001 * 2**30 < 1.5 * held
    assert group.chunk % n_devices == 0
    assert sum(group.runs_from(start) for start in group.starts) == 50
    assert plan_of("sweep.seed={count: 50}", "runtime.chunk_runs=8").groups[0].chunk == 8
    with pytest.raises(InputError, match=r"One run takes .*memory_gb allows"):
        plan_of(
            "record.of=[layer_kernels]",
            "record.every=1",
            "scheme.n_steps=1000",
            "runtime.memory_gb=0.0001",
        )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("sweep.network.width=[4, 0]", r"network\.width: .*\(got 0\) \(at network\.width=0\)"),
        ("sweep.network.activation=[relu, rleu]", "did you mean `relu`"),
        ("sweep.seed=[1.5]", "whole numbers from 0"),
        ("record.of=[loss, lss]", "Unknown diagnostic `lss`; did you mean `loss`"),
        ("record.of=[{name: top_eigenvalues, cuont: 2}]", "does not take"),
        ("record.of=['nowhere:thing']", "cannot be imported"),
        ("record.of=[loss, loss]", "name each diagnostic once"),
        ("record={at: [0, 50]}", "lie within the run's 10 steps"),
        ("task.n_samples=0", "n_samples"),
        ("runtime.devices=999", "runtime.devices must be at most"),
        ("network.width=1000000", "weights and fields"),
        ("task={kind: [a]}", "unknown task"),
        ("sweep.seed=3", "must be a list of values"),
        ("seed=[", "KEY=VALUE with YAML"),
        ("record.of=[{name: 3}]", "hold names, functions or diagnostics"),
        ("record.of=[':b']", "cannot be imported"),
        ("sweep={network: [{width: 4, depth: 1}], network.width: [3]}", "overlaps axis"),
        ("scheme.momentum=1.0", "`momentum` must be a finite number at least 0 and below 1"),
        (
            "sweep.scheme.weight_decay=[0.1, -0.1]",
            "`weight_decay` must be a finite number at least 0",
        ),
        (
            "scheme={kind: optax, optimizer: adam, step_size: 0.1, n_steps: 2, options: {b3: 1}}",
            "Unknown option of adam `b3`; allowed: b1, b2",
        ),
        ("record.of=[{name: 'math:sqrt', n: 2}]", "be left out for 'math:sqrt'"),
        ("sweep.seed={count: 1000000000}", "less than or equal to 1000000"),
        ("sweep={seed: {count: 10000}, task.seed: {count: 1000}}", "at most 1000000 runs"),
        ("network.slope=0.2", "belongs to activation leaky_relu"),
    ],
)
def test_what_a_run_would_fail_on_is_told_before(change, told):
    with pytest.raises((InputError, ConfigError), match=told):
        plan_of(change)


@pytest.mark.parametrize("name", ["..", "", "zarr.json", "a/b", "status"])
def test_names_that_cannot_be_stored_are_told_before(name, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(f"def thing(fields):\n    return {{{name!r}: fields.loss}}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with pytest.raises(InputError, match="give arrays names that are free and plain words"):
        plan_of("record.of=['mine:thing']")


def test_a_group_with_a_long_name_is_numbered():
    widths = [[4] * 60, [5] * 60]
    plan = plan_of("network={widths: [4]}", f"sweep={{network.widths: {widths}}}")
    assert [group.name for group in plan.groups] == ["group-0", "group-1"]


SEEDED = """
import jax
from gramdyn.plan import load_config, make_plan
plan = make_plan(load_config("configs/smoke/tiny.yaml"))
group = plan.groups[0]
with plan.runtime.precision():
    system, _ = group.build(jax.tree.map(lambda leaf: leaf[1], group.params))
    print(float(system.start.layers[1].weight[0, 0]))
"""


def test_a_seed_means_one_network_whatever_the_process_has_chosen():
    found = set()
    for name, value in (("X", "X"), ("DEFAULT_PRNG_IMPL", "rbg"), ("THREEFRY_PARTITIONABLE", "0")):
        settings = {**os.environ, f"JAX_{name}": value}
        words = [sys.executable, "-c", SEEDED]
        root = Path(__file__).parents[2]
        done = subprocess.run(words, env=settings, capture_output=True, text=True, cwd=root)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1


def test_data_with_nan_is_refused(tmp_path):
    inputs = np.ones((4, 3))
    inputs[2, 1] = np.nan
    np.savez(tmp_path / "bad.npz", inputs=inputs, targets=np.ones(4))
    with pytest.raises(InputError, match=r"(?i)nan|finite"):
        plan_of(f"task={{kind: arrays, path: '{tmp_path / 'bad.npz'}'}}")


def test_two_spectra_side_by_side_have_axes_of_their_own():
    shapes = plan_of("record.of=[top_eigenvalues, spectra]").groups[0].shapes
    assert shapes["top_eigenvalues"].shape == (6, 1)
    assert shapes["spectrum"].shape == (6, 6)
