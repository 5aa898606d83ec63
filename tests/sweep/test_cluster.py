"""Sweeps on real worker processes, over the loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gramdyn import InputError
from gramdyn._errors import IncompleteError
from gramdyn.sweep import cluster, load_config, make_plan, open, parse_config, remote, run_plan
from gramdyn.sweep.cluster import Cluster, run_on_cluster, serve_worker
from gramdyn.sweep.files import read_json
from gramdyn.sweep.lock import locked
from gramdyn.sweep.store import Store

distributed = pytest.importorskip("distributed")

# Ten chunks of one run, of about half a second each.
CONFIG = """
task: {kind: gaussian, n_samples: 16, n_inputs: 8, target: linear}
network: {width: 48, depth: 2, parametrization: ntk}
scheme: {kind: gradient_descent, step_size: {relative: 0.25}, n_steps: 16000}
record: {every: 40, of: [loss, residual]}
precision: float64
runtime: {devices: 1, memory_gb: 0.0002}
sweep:
  seed: {count: 5}
  network.width: [40, 48]
"""


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The plan, and what an undisturbed run of it in this process stores."""
    folder = tmp_path_factory.mktemp("serial")
    (folder / "sweep.yaml").write_text(CONFIG)
    plan = make_plan(parse_config(CONFIG))
    assert [len(group.starts) for group in plan.groups] == [5, 5]
    run_plan(plan, folder / "run")
    return plan, folder / "sweep.yaml", arrays_of(folder / "run")


def arrays_of(folder):
    """Every stored array by node and name, read into memory."""
    tree = open(folder)
    nodes = {name: node.to_dataset().load() for name, node in tree.children.items()}
    return {(n, k): np.asarray(v) for n, data in nodes.items() for k, v in data.variables.items()}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=str(key))


def free_address():
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def commands(*many):
    """Processes of the command line, none of which outlives the block."""
    start = partial(subprocess.Popen, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    running = [start([sys.executable, "-m", "gramdyn", *words]) for words in many]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def wait_for(condition, seconds=60.0):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
    return found


def pids(client):
    return client.run(lambda: __import__("os").getpid())


def computing(client, done):
    """Worker and chunk of a task that is inside the compiled program now; None without one."""
    stacks = client.call_stack(keys=[key for keys in client.processing().values() for key in keys])
    for worker, tasks in stacks.items():
        for frames in tasks.values():
            if "fetch_chunk" in "".join(map(str, frames)):
                return worker
    return None


def test_a_killed_worker_costs_no_more_than_its_chunk(serial, tmp_path):
    """SIGKILL in the middle of a chunk; the sweep ends whole, with the bits of a serial run."""
    plan, _, whole = serial
    address = free_address()
    with ThreadPoolExecutor(1) as pool:
        sweep = pool.submit(run_on_cluster, plan, tmp_path / "run", Cluster(address, workers=2))
        done = tmp_path / "run" / "done"
        wait_for(lambda: any(done.glob("*.json")) or (sweep.done() and sweep.result()))
        with distributed.Client(address, set_as_default=False) as client:
            worker = wait_for(lambda: computing(client, done))
            before = len(list(done.glob("*.json")))
            os.kill(pids(client)[worker], signal.SIGKILL)
            killed = time.monotonic()
            wait_for(lambda: worker not in client.nthreads())
            noticed = time.monotonic() - killed
        tally = sweep.result()
    assert before < 10
    assert noticed < 5
    print(f"noticed after {noticed:.3f} s")
    assert (tally.runs, tally.reused, tally.failed) == (10, 0, 0)
    assert_same_bits(arrays_of(tmp_path / "run"), whole)
