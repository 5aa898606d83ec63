"""Folders come into being at once, and go out of the way whole."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.folders import contents_of, small_plan

from gramdyn import InputError
from gramdyn.store import folder as folders
from gramdyn.store import open, read_state
from gramdyn.store.files import write_atomic
from gramdyn.store.folder import make_folder, set_aside
from gramdyn.store.lock import locked
from gramdyn.store.store import Store
from gramdyn.sweep import run_plan

FILES = {"done/": b"", "a/b/c": b"1", "manifest.json": b"{}"}


@pytest.mark.parametrize("before", ["nothing", "empty", "link"])
def test_a_folder_is_made_where_there_is_none_or_an_empty_one(tmp_path, before):
    target = tmp_path / "parent" / "run"
    if before != "nothing":
        target.mkdir(parents=True)
    named = target
    if before == "link":
        named = tmp_path / "link"
        named.symlink_to(target)
    assert make_folder(named, FILES)
    assert (target / "done").is_dir()
    found = contents_of(target)
    assert found.pop("lock")
    assert found == {name: content for name, content in FILES.items() if name != "done/"}
    assert [path.name for path in target.parent.iterdir()] == ["run"]


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert not make_folder(tmp_path, FILES)
    assert contents_of(tmp_path) == {"notes.txt": b"mine"}


def test_the_folder_one_stands_in_is_refused(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="must not be the one you are in"):
        make_folder(tmp_path / "here", FILES)


def test_what_fails_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "_fill", full)
    with pytest.raises(OSError, match="No space left"):
        make_folder(tmp_path / "run", FILES)
    assert list(tmp_path.iterdir()) == []


def test_every_moment_of_making_one_shows_no_folder_or_a_whole_one(tmp_path, monkeypatch):
    """Looked at after each file: the name is not there until all of it is."""
    plan, seen = small_plan(), []
    target = tmp_path / "run"
    write = folders.Path.write_bytes
    move = os.rename

    def watched(path, content):
        seen.append(target.exists())
        return write(path, content)

    def moved(one, other):
        seen.append(target.exists())
        move(one, other)
        seen.append(len(open(target).children))

    monkeypatch.setattr(folders.Path, "write_bytes", watched)
    monkeypatch.setattr(folders.os, "rename", moved)
    Store(target).create(plan)
    assert len(seen) > 20
    assert not any(seen[:-1])
    assert seen[-1] == 1


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = tmp_path / f".run.{gone.pid}.tmp"
    alive = tmp_path / f".run.{os.getppid()}.tmp"
    other = tmp_path / f".another.{gone.pid}.tmp"
    own = tmp_path / f".run.{os.getpid()}.tmp"  # of a process that had our number
    for path in (dead, alive, other, own):
        path.mkdir()
        (path / "file").write_text("half")
    make_folder(tmp_path / "run", FILES)
    assert sorted(tmp_path.iterdir()) == sorted([alive, other, tmp_path / "run"])
    inside = tmp_path / "run" / "done" / f".runs-0.json.{gone.pid}.tmp"
    inside.write_text("half")
    assert not make_folder(tmp_path / "run", FILES)
    assert not inside.exists()


def test_one_being_built_by_a_process_not_seen_from_here_stays(tmp_path):
    """As in another container: its number is nobody's here, but its lock is held."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    beside = tmp_path / f".run.{gone.pid}.tmp"
    beside.mkdir()
    with locked(beside):
        make_folder(tmp_path / "run", FILES)
        assert beside.exists()


def test_two_that_make_one_folder_at_once(tmp_path):
    """One of them makes it; the folder is whole, and nothing lies beside it."""
    code = (
        "import sys, time; from pathlib import Path; from gramdyn.store.folder import make_folder\n"
        "files = {f'{i}/{j}': b'x' * 100 for i in range(20) for j in range(20)}\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "print(make_folder(Path(sys.argv[1]), files))"
    )
    at = str(time.time() + 1.0)
    words = [sys.executable, "-c", code, str(tmp_path / "run"), at]
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(subprocess.run, words, capture_output=True, text=True) for _ in range(4)
        ]
    told = [job.result().stdout.strip() for job in jobs]
    assert sorted(told) == ["False"] * 3 + ["True"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert len(contents_of(tmp_path / "run")) == 401


def test_an_old_folder_is_set_aside_whole(tmp_path):
    plan, target = small_plan(), tmp_path / "run"
    assert set_aside(target) is None
    run_plan(plan, target)
    before = contents_of(target)
    (tmp_path / "run.old-1").mkdir()
    assert run_plan(plan, target, force=True).runs == 12
    after = contents_of(tmp_path / "run.old-2")
    # the lock says who set it aside
    assert {k: v for k, v in after.items() if k != "lock"} == {
        k: v for k, v in before.items() if k != "lock"
    }
    assert run_plan(plan, target).reused == 12


def test_a_path_through_a_folder_that_is_not_there(tmp_path):
    """As `-o missing/../a/run`: the kernel cannot follow it, so it is resolved once."""
    plan, named = small_plan(), tmp_path / "missing" / ".." / "a" / "run"
    assert run_plan(plan, named).runs == 12
    assert run_plan(plan, named, force=True).runs == 12
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["run", "run.old-1"]
    assert open(named)["runs"].sizes["run"] == read_state(named).done == 12
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("below", [".", "run"])
def test_a_file_in_place_of_the_folder(tmp_path, below):
    path = tmp_path / "file"
    path.write_text("mine")
    for look in (open, read_state):
        with pytest.raises(InputError, match="has no manifest"):
            look(path / below)
    with pytest.raises(InputError, match=r"cannot be written: (Not a directory|File exists)"):
        run_plan(small_plan(), path / below)
    assert contents_of(tmp_path) == {"file": b"mine"}


def test_what_is_no_run_folder_is_not_set_aside(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match="holds no sweep"):
        run_plan(small_plan(), tmp_path / "run", force=True)
    assert contents_of(tmp_path) == {"run/thesis.tex": b"years"}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert contents_of(tmp_path) == {"file": b"old"}
