"""A disk that is full, or may not be written: one line, nothing half done, and the sweep goes on.

On a file system of its own, in memory, of a few pages; where it cannot be mounted, the tests are
skipped.
"""

import errno
import os
import subprocess

import pytest
from support.folders import arrays_of, assert_same_bits, contents_of, small_plan

from gramdyn import InputError
from gramdyn.store import open, store
from gramdyn.store.files import read_json
from gramdyn.sweep import run_plan


def mount(*words):
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    return None if done.returncode == 0 else done.stderr.strip()


@pytest.fixture
def disk(tmp_path):
    """A file system of 512 KiB."""
    home = tmp_path / "disk"
    home.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("mounting needs root")
    if problem := mount("-t", "tmpfs", "-o", "size=512k", "tmpfs", str(home)):
        pytest.skip(f"cannot mount: {problem}")
    yield home
    subprocess.run(["umount", "-l", str(home)], check=True)


@pytest.fixture(scope="module")
def plan():
    return small_plan()


@pytest.fixture(scope="module")
def undisturbed(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    run_plan(plan, folder)
    return arrays_of(folder)


class After:
    """A listener that does something once the first chunk is written."""

    def __init__(self, act):
        self.act = act

    def begin(self, plan):
        pass

    def reuse(self, group, runs, failed):
        pass

    def compiling(self, group):
        pass

    def advance(self, group, runs, failed):
        act, self.act = self.act, lambda: None
        act()

    def end(self):
        pass


def fill(disk, left=0):
    """Take all of the disk but some bytes."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        file.truncate(max(0, file.tell() - left))


def markers(folder):
    return sorted(path.name for path in (folder / "done").iterdir())


# Bytes that are left when the first chunk is there: for nothing, for some files of the next chunk,
# for its files but hardly its marker.
@pytest.mark.parametrize("left", [0, 8192, 16384, 28672])
def test_a_disk_that_fills_up_midway(disk, plan, undisturbed, left):
    folder = disk / "run"
    with pytest.raises(InputError) as caught:
        run_plan(plan, folder, After(lambda: fill(disk, left)))
    told = str(caught.value)
    done = len(markers(folder)) * 4
    assert done < 12
    assert told == (
        f"Sweep in {folder} stopped: No space left on device. {done} of 12 runs are stored; "
        "the same command goes on from there."
    )
    known = open(folder)["runs"]["status"].to_numpy() != -1
    assert known.sum() in (done, done + 4)  # a chunk may lack no more than its marker
    assert markers(folder) == [f"runs-{start}.json" for start in range(0, done, 4)]
    with pytest.raises(InputError, match="No space left on device"):
        run_plan(plan, folder)
    assert len(markers(folder)) * 4 >= done
    (disk / "ballast").unlink()
    tally = run_plan(plan, folder)
    assert tally.reused >= done
    assert_same_bits(arrays_of(folder), undisturbed)
    assert not [name for name in contents_of(folder) if name.endswith((".tmp", ".partial"))]


def test_a_disk_that_is_full_from_the_start(disk, plan):
    fill(disk)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        run_plan(plan, disk / "run")
    assert [path.name for path in disk.iterdir()] == ["ballast"]


def test_a_mount_point_cannot_be_the_folder_itself(disk, plan):
    with pytest.raises(InputError, match=r"nor a mount point; name one below it"):
        run_plan(plan, disk)
    assert list(disk.iterdir()) == []


def test_a_disk_that_may_not_be_written(disk, plan, undisturbed):
    folder = disk / "run"
    remount = lambda how: mount("-o", f"remount,{how}", str(disk))  # noqa: E731
    assert remount("ro") is None
    with pytest.raises(InputError, match="cannot be written: Read-only file system"):
        run_plan(plan, folder)
    assert remount("rw") is None
    told = r"stopped: Read-only file system. 4 of 12 runs are stored; the same command goes on"
    with pytest.raises(InputError, match=told):
        run_plan(plan, folder, After(lambda: remount("ro")))
    assert count_seen(folder) == 4
    with pytest.raises(InputError, match="cannot be written: Read-only file system"):
        run_plan(plan, folder)
    assert remount("rw") is None
    assert run_plan(plan, folder).reused == 4
    assert_same_bits(arrays_of(folder), undisturbed)


def count_seen(folder):
    """Runs that a reader sees."""
    return int((open(folder)["runs"]["status"].to_numpy() != -1).sum())


@pytest.mark.parametrize("which", ["arrays", "digests", "marker", "manifest"])
def test_any_write_that_fails(plan, undisturbed, tmp_path, monkeypatch, which):
    """Whichever of a chunk's writes fails, and the last one of all."""
    folder = tmp_path / "run"

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    def later():
        name = {"arrays": "in_order", "digests": "digest_of_file"}.get(which, "write_json")
        monkeypatch.setattr(store, name, fail)

    if which == "manifest":
        finish = store.Store.finish
        monkeypatch.setattr(store.Store, "finish", lambda *words: (later(), finish(*words)))
    done = 12 if which == "manifest" else 4
    listener = None if which == "manifest" else After(later)
    with pytest.raises(InputError, match=rf"Input/output error. {done} of 12 runs are stored"):
        run_plan(plan, folder, listener)
    monkeypatch.undo()
    assert len(markers(folder)) * 4 == done
    tally = run_plan(plan, folder)
    assert (tally.runs, tally.reused) == (12 - done, done)
    assert read_json(folder / "manifest.json")["counts"]["runs"] == 12
    assert_same_bits(arrays_of(folder), undisturbed)
