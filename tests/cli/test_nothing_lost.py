"""What a user sees where a sweep is stopped, refused, damaged or asked about."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.folders import TINY, arrays_of, assert_same_bits, copy_of

COMMAND = [sys.executable, "-m", "gramdyn"]
# 12 chunks, and long enough to be caught in the middle.
LONG = ["--set", "sweep={seed: {count: 600}}", "--set", "runtime.chunk_runs=50"]
LONG += ["--set", "runtime.devices=1", "--set", "scheme.n_steps=1000"]


def gramdyn(*words):
    command = [*COMMAND, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def one_line(done, status):
    """The line on stderr of a command that ended with this status."""
    assert done.returncode == status, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert gramdyn("run", TINY, "-o", folder).returncode == 0
    return folder


@pytest.fixture
def heeded():
    """What a shell starts in the background ignores ctrl-C, and so does what that starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def started(folder, *more):
    """A sweep whose first chunk is written."""
    words = [*COMMAND, "run", str(TINY), "-o", str(folder), *LONG, *more]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not any(folder.glob("done/runs-*.json")):
        time.sleep(0.005)
    assert process.poll() is None, process.communicate()
    return process


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(tmp_path, heeded):
    folder = tmp_path / "run"
    process = started(folder)
    running = gramdyn("status", folder)
    assert f"running by process {process.pid} on" in running.stdout
    refused = gramdyn("run", TINY, "-o", folder, *LONG)
    assert f"is being written by process {process.pid} on" in one_line(refused, 2)
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=60)
    assert process.returncode == 130, out + told
    (line,) = told.strip().splitlines()
    stored = len(list(folder.glob("done/*.json")))
    found = re.search(r"interrupted\. (\d+) of 600 runs are stored; the same command goes on", line)
    assert 0 < int(found[1]) < 600
    assert stored > 0
    stopped = gramdyn("status", folder)
    assert f"stopped: {found[1]} of 600 runs" in stopped.stdout
    done = gramdyn("run", TINY, "-o", folder, *LONG)
    assert done.returncode == 0, done.stderr
    assert f"{found[1]} reused" in done.stdout


@pytest.mark.slow
def test_of_two_commands_at_once_one_writes_and_the_other_is_refused(tmp_path):
    words = [*COMMAND, "run", str(TINY), "-o", str(tmp_path / "run"), *LONG]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(words, **options) for _ in range(2)]
    told = {process.pid: process.communicate(timeout=120)[1] for process in both}
    codes = {process.returncode: process.pid for process in both}
    assert codes.keys() == {0, 2}, told
    (line,) = told[codes[2]].strip().splitlines()
    assert f"is being written by process {codes[0]} on" in line
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (arrays_of(tmp_path / "run")["runs", "status"] == 0).all()


def test_ctrl_c_before_the_sweep_begins_is_one_line_too(tmp_path, heeded):
    words = [sys.executable, "-u", *COMMAND[1:], "run", str(TINY), "-o", str(tmp_path / "run")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()  # of the plan: everything is imported, nothing compiled
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert len(told.strip().splitlines()) == 1


def test_a_changed_command_is_refused_and_force_starts_anew(finished, tmp_path):
    folder = copy_of(finished, tmp_path / "run")
    changed = ["run", TINY, "-o", folder, "--set", "scheme.n_steps=20"]
    line = one_line(gramdyn(*changed), 2)
    assert "holds another sweep: scheme.n_steps: 40 there, 20 now; name another with -o, " in line
    assert "--force" in line
    done = gramdyn(*changed, "--force")
    assert done.returncode == 0, done.stderr
    assert f"the folder that was there is {folder}.old-1 now" in done.stdout
    assert_same_bits(arrays_of(tmp_path / "run.old-1"), arrays_of(finished))
    assert len(arrays_of(folder)["width-8", "step"]) == 3


# `list` reads no records, only how each run ended
@pytest.mark.parametrize(("command", "name"), [("report", "loss"), ("list", "status")])
def test_damage_is_one_line_that_names_it(finished, tmp_path, command, name):
    folder = copy_of(finished, tmp_path / "run")
    (path,) = Path(folder, "results.zarr", "width-16", name).glob("c.0*")
    data = bytearray(path.read_bytes())
    data[10] ^= 255
    path.write_bytes(data)
    line = one_line(gramdyn(command, folder), 2)
    assert f"is damaged: array `{name}` of group `width-16`" in line
    assert "the `gramdyn run` command that made it repairs it" in line


def test_run_repairs_what_is_lost_and_says_so(finished, tmp_path):
    folder = copy_of(finished, tmp_path / "run")
    (path,) = Path(folder, "results.zarr", "width-16", "loss").glob("c.0*")
    path.unlink()
    assert "is damaged: array `loss` of group `width-16`" in one_line(gramdyn("list", folder), 2)
    done = gramdyn("run", TINY, "-o", folder)
    assert "12 runs computed (12 because their files were damaged), 12 reused" in done.stdout
    assert_same_bits(arrays_of(folder), arrays_of(finished))


def test_status_of_what_is_no_sweep(tmp_path):
    assert "has no manifest" in one_line(gramdyn("status", tmp_path), 2)
    assert os.listdir(tmp_path) == []
