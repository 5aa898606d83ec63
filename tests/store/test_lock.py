"""One writer a folder, by a lock that dies with its holder."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from support.folders import small_plan

from gramdyn import InputError
from gramdyn.store import lock, open
from gramdyn.store.lock import locked, owner_of
from gramdyn.sweep import run_plan

HOLD = (
    "import sys; from pathlib import Path; from gramdyn.store.lock import locked\n"
    "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_whom_to_ask(tmp_path, holder):
    owner = owner_of(tmp_path)
    assert (owner.pid, owner.host) == (holder.pid, socket.gethostname())
    told = rf"written by process {holder.pid} on {socket.gethostname()} since 20\d\d-.*Z"
    with pytest.raises(InputError, match=told), locked(tmp_path):
        pass
    assert holder.poll() is None


def test_the_lock_dies_with_its_holder(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert owner_of(tmp_path) is None
    with locked(tmp_path):
        assert owner_of(tmp_path).pid == os.getpid()
    assert owner_of(tmp_path) is None


def test_looking_does_not_keep_a_writer_out(tmp_path):
    """Who looks holds the lock for an instant; a writer waits that out."""
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.1, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with locked(tmp_path):
            pass


def test_a_folder_set_aside_while_one_waited_is_not_taken(tmp_path, monkeypatch):
    home = tmp_path / "run"
    home.mkdir()
    tried = lock._try

    def slow(descriptor):
        home.rename(tmp_path / "run.old-1")
        home.mkdir()
        (home / "lock").touch()
        return tried(descriptor)

    monkeypatch.setattr(lock, "_try", slow)
    with pytest.raises(InputError, match="is being written"), locked(home):
        pass


def test_a_sweep_is_refused_and_read_while_another_writes_it(tmp_path):
    plan, home = small_plan(), tmp_path / "run"
    run_plan(plan, home)
    command = [sys.executable, "-c", HOLD, str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        for force in (False, True):
            with pytest.raises(InputError, match=f"written by process {process.pid} on"):
                run_plan(plan, home, force=force)
        assert open(home)["runs"].sizes["run"] == 12
        process.communicate()
    assert run_plan(plan, home).reused == 12
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_directory_in_place_of_the_lock_is_told(tmp_path):
    (tmp_path / "lock").mkdir()
    with (
        pytest.raises(InputError, match="its `lock` is a directory; remove that"),
        locked(tmp_path),
    ):
        pass
    assert owner_of(tmp_path) is None


def test_a_holder_that_has_not_said_who_it_is(tmp_path, holder):
    (tmp_path / "lock").write_text("{")
    with pytest.raises(InputError, match="is being written by process 0"), locked(tmp_path):
        pass
