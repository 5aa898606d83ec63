"""The real command, killed by SIGKILL again and again: each time what is there is whole."""

import itertools
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from support.folders import TINY, arrays_of, assert_same_bits, contents_of

from gramdyn.store import open, read_state
from gramdyn.store.files import read_json
from gramdyn.store.lock import owner_of

# 2400 runs in 600 chunks of 4.
_SWEEP = ("sweep={seed: {count: 2400}}", "network.width=4", "scheme.n_steps=20")
_SWEEP += ("record={every: 10, of: [loss, layer_kernels]}", "scheme.step_size={relative: 0.5}")
_SWEEP += ("runtime.devices=1", "runtime.chunk_runs=4")


def command(folder):
    changes = itertools.chain(*(("--set", change) for change in _SWEEP))
    return [sys.executable, "-m", "gramdyn", "run", str(TINY), "-o", str(folder), *changes]


def markers(folder):
    return len(list((folder / "done").glob("*.json")))


# Moments to wait for, before a random delay of at most so many seconds.
def at_start(victim, folder, before):
    return True


def at_creation(victim, folder, before):
    return folder.exists() or (folder.parent / f".{folder.name}.{victim.pid}.tmp").exists()


def at_lock(victim, folder, before):
    owner = owner_of(folder)
    return owner is not None and owner.pid == victim.pid


def at_a_chunk(victim, folder, before):
    return markers(folder) > before


MOMENTS = {at_start: 3.0, at_creation: 0.03, at_lock: 1.5, at_a_chunk: 0.3}


def killed(folder, moment, delay):
    """Whether the command was killed there; False where it came to its end before."""
    before = markers(folder)
    victim = subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while victim.poll() is None and not moment(victim, folder, before):
        time.sleep(0.001)
    time.sleep(delay)
    victim.kill()  # SIGKILL, or nothing where it came to its end
    _, told = victim.communicate()
    assert victim.returncode in (0, -signal.SIGKILL), told.decode()
    return victim.returncode != 0


def check_whole(folder):
    """A folder that is there opens, and what it says is there is there."""
    if not folder.exists():
        return
    node = open(folder)["runs"].to_dataset().load()
    known = node["status"].to_numpy() != -1
    assert np.isfinite(node["loss"].to_numpy()[known]).all()
    assert np.isfinite(node["layer_kernels"].to_numpy()[known]).all()
    state = read_state(folder)
    assert state.state in ("stopped", "finished")
    assert state.unreadable == 0
    assert state.done in (known.sum(), known.sum() - 4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_random_moments_until_it_is_done(tmp_path):
    folder, draw = tmp_path / "run", random.Random(20)
    # Creation comes once: at first, until a folder is there.
    moments = [at_creation] * 4
    moments += draw.sample([at_start] * 4 + [at_lock] * 6 + [at_a_chunk] * 8, 18)
    kills, stored = 0, []
    for moment in moments:
        kills += killed(folder, moment, draw.uniform(0, MOMENTS[moment]))
        check_whole(folder)
        stored.append(markers(folder))
    assert kills >= 20
    assert stored == sorted(stored)
    assert len(set(stored)) > 5  # spread over the sweep
    assert 0 < stored[-1] < 600
    subprocess.run(command(folder), check=True, capture_output=True)
    subprocess.run(command(tmp_path / "undisturbed"), check=True, capture_output=True)
    assert_same_bits(arrays_of(folder), arrays_of(tmp_path / "undisturbed"))
    counts = read_json(folder / "manifest.json")["counts"]
    assert (counts["runs"], counts["failed"]) == (2400, 0)
    assert counts["reused"] >= 4 * stored[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "undisturbed"]
    assert contents_of(folder).keys() == contents_of(tmp_path / "undisturbed").keys()
