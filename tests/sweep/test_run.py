import itertools
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from support.folders import TINY, arrays_of, assert_same_bits

import gramdyn as gd
from gramdyn import InputError
from gramdyn.plan import load_config, make_plan
from gramdyn.store import open
from gramdyn.store.files import read_json
from gramdyn.sweep import run_plan, run_sweep


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "run"
    tally = run_sweep(load_config(TINY), folder)
    return folder, tally


def test_every_run_equals_the_same_run_by_hand(tiny):
    folder, _ = tiny
    task = gd.gaussian(n_samples=12, n_inputs=8, target="linear")
    tree = open(folder)
    record = gd.Record(["loss", "residual", "layer_kernels", "flips"], every=10)
    for node in tree.children.values():
        for run in range(0, node.sizes["run"], 5):
            one = node.isel(run=run)
            if int(one["status"]) != 0:
                continue
            network = gd.init_network(
                jax.random.key(int(one["seed"])), 8, (int(one["width"]),) * 2, parametrization="ntk"
            )
            share = float(one["scheme.step_size.relative"])
            scheme = gd.GradientDescent(gd.Relative(share))
            # In Gram coordinates, where the sweep chose weights (n > 1.2 d).
            system = gd.make_system(network, task, coordinates="gram")
            alone = gd.simulate(system, scheme, 40, record)
            for name in ("loss", "residual", "layer_kernels"):
                stored = np.moveaxis(one[name].values, -1, 0)
                np.testing.assert_allclose(stored, alone[name], rtol=0, atol=1e-11, err_msg=name)
            np.testing.assert_array_equal(np.moveaxis(one["flips"].values, -1, 0), alone["flips"])


def test_diverged_runs_are_findings(tiny):
    folder, tally = tiny
    tree = open(folder)
    for node in tree.children.values():
        wild = node["scheme.step_size.relative"].values == 1000.0
        assert np.all(node["status"].values[wild] == 2)
        assert np.all(node["failed_at"].values[wild] > 0)
        assert np.all(node["status"].values[~wild] == 0)
        assert np.all(np.isfinite(node["loss"].values[~wild]))
        assert np.all(np.isnan(node["loss"].values[wild][:, -1]))
    assert tally.runs == 24
    assert tally.failed == 8
    assert tally.programs == 2


def test_axes_are_named_and_time_is_last(tiny):
    folder, _ = tiny
    for node in open(folder).children.values():
        kernels = node["layer_kernels"]
        assert kernels.dims == ("run", "layer", "sample", "output", "sample_2", "output_2", "step")
        assert kernels.shape[1:] == (2, 12, 1, 12, 1, 5)
        assert list(node["step"].values) == [0, 10, 20, 30, 40]


def test_manifest_says_what_ran(tiny):
    folder, _ = tiny
    manifest = read_json(folder / "manifest.json")
    config = load_config(TINY)
    assert manifest["digest"] == config.digest()
    assert manifest["config"] == config.resolved()
    assert manifest["precision"] == "float64"
    assert manifest["versions"]["jax"] == jax.__version__
    assert manifest["finished"] is not None
    assert manifest["counts"]["runs"] == 24


def test_an_added_value_changes_no_other_run(tiny, tmp_path):
    folder, _ = tiny
    changes = ["sweep.scheme.step_size.relative=[0.1, 0.25, 0.5, 1000.0]", "sweep.seed={count: 6}"]
    run_sweep(load_config(TINY, changes), tmp_path / "more")
    for name, node in open(folder).children.items():
        more = open(tmp_path / "more")[name].to_dataset()
        for run in range(node.sizes["run"]):
            place = node.isel(run=run)
            same = (more["seed"] == place["seed"]) & (
                more["scheme.step_size.relative"] == place["scheme.step_size.relative"]
            )
            assert int(same.sum()) == 1
            other = more.isel(run=int(np.argmax(same.values)))
            np.testing.assert_array_equal(other["residual"].values, place["residual"].values)


def test_axes_of_any_kind_come_back_as_written(tmp_path):
    changes = [
        "sweep={scheme.momentum: [null, 0.5], network.widths: [[4], [5, 3]], "
        "scheme.step_size: [{relative: 0.1}, {relative: 0.2}]}",
        *["network={widths: [4]}", "scheme.n_steps=2", "record={of: [loss]}"],
    ]
    run_sweep(load_config(TINY, changes), tmp_path / "run")
    nodes = open(tmp_path / "run").children.values()
    found = {
        (str(m), str(w), float(s))
        for node in nodes
        for m, w, s in zip(
            *(node[k].values for k in ("scheme.momentum", "widths")),
            node["scheme.step_size.relative"].values,
            strict=True,
        )
    }
    momenta, widths, steps = ("None", "0.5"), ("[4]", "[5, 3]"), (0.1, 0.2)
    assert found == set(itertools.product(momenta, widths, steps))


def test_chunks_and_devices_change_no_value(tiny, tmp_path):
    folder, _ = tiny
    changes = ["runtime.chunk_runs=4", "runtime.devices=1"]
    plan = make_plan(load_config(TINY, changes))
    assert all(len(group.starts) > 1 for group in plan.groups)
    run_plan(plan, tmp_path / "chunked")
    one, other = arrays_of(folder), arrays_of(tmp_path / "chunked")
    assert one.keys() == other.keys()
    for key in one:
        # A map of another length may round the last bit otherwise.
        np.testing.assert_allclose(other[key], one[key], rtol=1e-13, atol=1e-14, err_msg=str(key))


def test_a_folder_goes_on_where_chunks_are_missing(tmp_path):
    run_sweep(load_config(TINY), tmp_path / "run")
    whole = arrays_of(tmp_path / "run")
    manifest = read_json(tmp_path / "run" / "manifest.json")
    again = run_sweep(load_config(TINY), tmp_path / "run")
    assert (again.runs, again.reused, again.failed, again.programs) == (0, 24, 8, 0)
    assert read_json(tmp_path / "run" / "manifest.json") == manifest  # when it was finished, too
    next((tmp_path / "run" / "done").glob("width-8-*")).unlink()
    part = run_sweep(load_config(TINY), tmp_path / "run")
    assert (part.runs, part.reused, part.failed, part.programs) == (12, 12, 8, 1)
    counts = read_json(tmp_path / "run" / "manifest.json")["counts"]
    assert (counts["runs"], counts["failed"], counts["reused"]) == (24, 8, 12)
    assert_same_bits(arrays_of(tmp_path / "run"), whole)


def test_foreign_folders_are_refused_untouched(tiny, tmp_path):
    folder, _ = tiny
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="must be empty or not there yet"):
        run_sweep(load_config(TINY), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    before = arrays_of(folder)
    with pytest.raises(InputError, match="holds another sweep: seed: 0 there, 1 now;"):
        run_sweep(load_config(TINY, ["seed=1"]), folder)
    assert_same_bits(arrays_of(folder), before)
    with pytest.raises(InputError, match="no manifest"):
        open(tmp_path)


def test_a_folder_that_cannot_be_made_is_told_before_computing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        run_sweep(load_config(TINY), tmp_path / "file" / "run")


def test_killed_for_real_and_finished_by_the_same_command(tmp_path):
    """SIGKILL once the first chunk is written; the same command ends with the same bits."""
    words = ["run", str(TINY), "-o", str(tmp_path / "run"), "--set", "sweep.seed={count: 64}"]
    command = [sys.executable, "-m", "gramdyn", *words, "--set", "runtime.chunk_runs=16"]
    victim = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    done = tmp_path / "run" / "done"
    while victim.poll() is None and not any(done.glob("width-*.json")):
        time.sleep(0.005)
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    subprocess.run(command, check=True, capture_output=True)
    words[3] = str(tmp_path / "undisturbed")
    subprocess.run([*command[:3], *words, *command[-2:]], check=True, capture_output=True)
    assert_same_bits(arrays_of(tmp_path / "run"), arrays_of(tmp_path / "undisturbed"))
    assert read_json(tmp_path / "run" / "manifest.json")["counts"]["reused"] > 0
