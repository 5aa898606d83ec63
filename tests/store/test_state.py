"""How a sweep stands, told from its manifest and markers."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from support.folders import copy_of, small_plan

from gramdyn import InputError
from gramdyn.store import markers, open, read_state
from gramdyn.store.files import read_json, write_json
from gramdyn.store.lock import locked
from gramdyn.store.markers import read_marker, sealed
from gramdyn.store.store import Store
from gramdyn.sweep import run_plan


@pytest.fixture(scope="module")
def plan():
    return small_plan("sweep.scheme.step_size.relative=[0.5, 1000.0]", "sweep.seed={count: 6}")


@pytest.fixture(scope="module")
def finished(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    run_plan(plan, folder)
    return folder


def test_a_finished_sweep_counts_as_its_arrays_do(finished):
    found, status = read_state(finished), open(finished)["runs"]["status"].to_numpy()
    assert (found.state, found.owner, found.seconds_left) == ("finished", None, None)
    assert (found.done, found.total) == (12, 12)
    assert found.failed == (status > 0).sum() > 0
    (group,) = found.groups
    assert (group.name, group.done, group.total, group.failed) == ("runs", 12, 12, found.failed)


def test_a_sweep_that_is_made_and_not_begun(plan, tmp_path):
    Store(tmp_path / "run").create(plan)
    found = read_state(tmp_path / "run")
    assert (found.state, found.done, found.total) == ("stopped", 0, 12)
    assert (found.last, found.speed, found.seconds_left) == (None, None, None)


def test_a_stopped_sweep_and_a_broken_marker(finished, tmp_path):
    folder = copy_of(finished, tmp_path / "run")
    (folder / "done" / "runs-4.json").unlink()
    (folder / "done" / "runs-8.json").write_text("{")
    found = read_state(folder)
    assert (found.state, found.done, found.unreadable) == ("stopped", 4, 1)


def test_speed_and_time_left_of_one_that_runs(finished, tmp_path):
    """Chunks a second apart, written after the lock was taken, beside one of days before."""
    folder = copy_of(finished, tmp_path / "run")
    (folder / "done" / "runs-8.json").unlink()
    many = read_json(folder / "manifest.json")
    many["groups"][0]["runs"] = 40
    write_json(folder / "manifest.json", many)
    with locked(folder):
        since = datetime.now(UTC)
        first = folder / "done" / "runs-0.json"
        write_json(first, sealed({**read_marker(first), "written": "2020-01-01T00:00:00.000Z"}))
        for start, seconds in ((4, 10.0), (8, 11.5), (12, 13.0)):
            at = (since + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
            marker = {**read_marker(first), "written": at.replace("+00:00", "Z")}
            write_json(folder / "done" / f"runs-{start}.json", sealed(marker))
        found = read_state(folder)
    assert (found.state, found.owner.pid) == ("running", os.getpid())
    assert (found.done, found.total) == (16, 40)
    assert found.speed == pytest.approx(8 / 3.0, rel=2e-3)  # two chunks of 4 in 3 s
    assert found.seconds_left == pytest.approx(24 / (8 / 3.0), rel=2e-3)


def test_a_folder_without_a_sweep(tmp_path):
    with pytest.raises(InputError, match="has no manifest"):
        read_state(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest.json is not JSON"):
        read_state(tmp_path)


def test_it_imports_nothing_heavy(finished):
    code = (
        "import sys\nfrom gramdyn.cli.status import show_status\nfrom pathlib import Path\n"
        "show_status(Path(sys.argv[1]))\n"
        "print([name for name in ('jax', 'zarr', 'xarray', 'numpy') if name in sys.modules])"
    )
    words = [sys.executable, "-c", code, str(finished)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "finished: 12 of 12 runs, " in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_each_marker_is_read_once(finished, tmp_path, monkeypatch):
    folder = copy_of(finished, tmp_path / "run")
    marker = (folder / "done" / "runs-0.json").read_text()
    for start in range(4, 2000, 4):
        (folder / "done" / f"runs-{start}.json").write_text(marker)
    seen = []
    monkeypatch.setattr(markers, "read_json", lambda path: seen.append(path) or read_json(path))
    assert read_state(folder).done == 2000
    assert len(seen) == len(set(seen)) == 500


def test_a_chunk_written_in_the_second_the_lock_was_taken_counts(finished, tmp_path):
    """The lock tells whole seconds, a marker milliseconds: they are compared as times."""
    folder = copy_of(finished, tmp_path / "run")
    with locked(folder):
        since = read_json(folder / "lock")["since"]
        for start, part in ((0, "250"), (4, "500"), (8, "750")):
            path = folder / "done" / f"runs-{start}.json"
            at = since.replace("Z", f".{part}Z")
            write_json(path, sealed({**read_marker(path), "written": at}))
        assert read_state(folder).speed == pytest.approx(8 / 0.5)


@pytest.mark.parametrize("told", ["{", "[]", '{"pid": [], "host": 0, "since": 3}'])
def test_a_lock_that_says_nothing_sensible(finished, tmp_path, told):
    folder = copy_of(finished, tmp_path / "run")
    with locked(folder):
        (folder / "lock").write_text(told)
        found = read_state(folder)
    assert (found.state, found.owner.pid, found.speed) == ("running", 0, None)
