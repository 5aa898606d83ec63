"""Sweeps on real worker processes, over the loopback."""

import gc
import json
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gramdyn import IncompleteError, InputError
from gramdyn.cli.worker import choose_cluster
from gramdyn.plan import make_plan, parse_config
from gramdyn.store import open
from gramdyn.store.files import read_json
from gramdyn.store.lock import locked
from gramdyn.store.store import Store
from gramdyn.sweep import cluster, remote, run_plan, scheduler
from gramdyn.sweep.cluster import run_on_cluster
from gramdyn.sweep.scheduler import Cluster, meet_scheduler

distributed = pytest.importorskip("distributed")

# Ten chunks of one run, of about a quarter of a second each.
CONFIG = """
task: {kind: gaussian, n_samples: 16, n_inputs: 8, target: linear}
network: {width: 48, depth: 2, parametrization: ntk}
scheme: {kind: gradient_descent, step_size: {relative: 0.25}, n_steps: 12000}
record: {every: 60, of: [loss, residual]}
precision: float64
runtime: {devices: 1, chunk_runs: 1}
sweep:
  seed: {count: 5}
  network.depth: [1, 2]
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


def computing(client):
    """A worker that is inside the compiled program now; None without one."""
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
            worker = wait_for(lambda: computing(client))
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


def test_chunks_that_kill_or_raise_are_told_and_the_others_computed(serial, tmp_path, monkeypatch):
    plan, _, whole = serial

    def poisoned(order):
        import os

        if (order.group, order.start) == ("depth-1", 1):
            os.kill(os.getpid(), 9)
        if (order.group, order.start) == ("depth-2", 2):
            raise ArithmeticError("two\nlines")
        return remote.compute_chunk(order)

    monkeypatch.setattr(cluster, "compute_chunk", poisoned)
    with pytest.raises(IncompleteError) as caught:
        run_on_cluster(plan, tmp_path / "run", Cluster(free_address(), workers=2))
    told = str(caught.value)
    assert "\n" not in told
    assert "2 chunks not computed" in told
    assert "depth-1-1: its worker died, 3 times" in told
    assert "depth-2-2: ArithmeticError: two lines" in told
    assert "8 of 10 runs are stored" in told
    assert read_json(tmp_path / "run" / "manifest.json")["finished"] is None
    again = run_plan(plan, tmp_path / "run")
    assert (again.runs, again.reused) == (2, 8)
    assert_same_bits(arrays_of(tmp_path / "run"), whole)


def test_one_command_a_machine_is_a_sweep(serial, tmp_path):
    """Two workers wait for a driver that has none of its own."""
    _, file, whole = serial
    address = free_address()
    run, worker = ["run", str(file), "-o", str(tmp_path / "run")], ["worker", address]
    serve = [*run, "--serve", address, "--workers", "0"]
    with commands(worker, worker, serve) as (one, two, driver):
        told, mistakes = driver.communicate(timeout=120)
        assert (driver.returncode, mistakes) == (0, "")
        for process in (one, two):
            first = f"worker of {address}, process {process.pid}\n"
            assert process.communicate(timeout=60) == (f"{first}the scheduler has ended\n", "")
            assert process.returncode == 0
    assert f"gramdyn worker {address}" in told
    assert "10 runs computed, 0 reused, none failed; " in told
    assert_same_bits(arrays_of(tmp_path / "run"), whole)


@pytest.mark.slow
def test_a_killed_driver_is_resumed_by_its_command_alone(serial, tmp_path):
    """Its worker ends by itself; the command without a cluster computes what is missing."""
    _, file, whole = serial
    address = free_address()
    run, done = ["run", str(file), "-o", str(tmp_path / "run")], tmp_path / "run" / "done"
    with commands(["worker", address], [*run, "--serve", address, "--workers", "0"]) as (
        one,
        driver,
    ):
        wait_for(lambda: any(done.glob("*.json")) or driver.poll())
        driver.kill()
        killed = time.monotonic()
        assert one.wait(60) == 0
        print(f"worker ended {time.monotonic() - killed:.3f} s after its driver")
    stored = len(list(done.glob("*.json")))
    assert 0 < stored < 10
    with commands(run) as (again,):
        told, mistakes = again.communicate(timeout=120)
    assert (again.returncode, mistakes) == (0, "")
    assert f"{10 - stored} runs computed, {stored} reused" in told
    assert_same_bits(arrays_of(tmp_path / "run"), whole)


def test_a_worker_that_would_compute_another_sweep_is_sent_away(serial, tmp_path, monkeypatch):
    plan, _, _ = serial
    monkeypatch.setattr(cluster, "make_orders", lambda *_: partial(other_orders, tmp_path / "run"))
    with pytest.raises(InputError) as caught:
        run_on_cluster(plan, tmp_path / "run", Cluster(free_address()))
    assert "cannot take part: it would compute another sweep: seed: 0 there, 1 now" in str(
        caught.value
    )


def other_orders(folder, group, start):
    config = parse_config(CONFIG, changes=["seed=1"])
    return remote.Order(json.dumps(config.resolved()), str(folder), "", group, start)


def test_a_chunk_that_is_there_is_not_computed_again(serial, tmp_path, monkeypatch):
    plan, _, _ = serial
    monkeypatch.setattr(remote, "_settle", lambda: None)
    store, group = Store(tmp_path / "run"), plan.groups[0]
    store.create(plan)
    with locked(store.folder):
        order = remote.make_orders(plan, store.folder)(group.name, 1)
    first = remote.compute_chunk(order)
    assert (first.runs, first.failed, first.programs, first.refused) == (1, 0, 1, None)
    monkeypatch.setattr(remote, "_compute", None)
    assert remote.compute_chunk(order) == remote.Outcome(1, 0)


def test_nothing_is_written_for_a_driver_that_lost_its_folder(serial, tmp_path, monkeypatch):
    plan, _, _ = serial
    monkeypatch.setattr(remote, "_settle", lambda: None)
    store, group = Store(tmp_path / "run"), plan.groups[0]
    store.create(plan)
    (store.folder / "lock").write_text("one")
    order = remote.make_orders(plan, store.folder)(group.name, 0)
    (store.folder / "lock").write_text("another")
    with pytest.raises(InputError, match="another process's by now"):
        remote.compute_chunk(order)
    assert store.facts(group, 0) is None


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:8786", "must be tcp://HOST:PORT, but this is '127.0.0.1:8786'"),
        ("tcp://127.0.0.1", "must be tcp://HOST:PORT"),
        ("tcp://127.0.0.1:x", "must be tcp://HOST:PORT"),
        ("http://127.0.0.1:80", "must be tcp://HOST:PORT"),
        ("tcp://192.0.2.77:8786", "Cannot listen at tcp://192.0.2.77:8786: Cannot assign"),
    ],
)
def test_addresses_that_cannot_be_served_are_told(serial, tmp_path, address, told):
    with pytest.raises(InputError) as caught:
        run_on_cluster(serial[0], tmp_path / "run", Cluster(address))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_port_in_use_and_a_scheduler_that_is_not_there(serial, tmp_path):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        told = f"Cannot listen at {address}: Address already in use\\.$"
        with pytest.raises(InputError, match=told):
            run_on_cluster(serial[0], tmp_path / "run", Cluster(address))
    with pytest.raises(InputError, match=f"Nothing answers at {address}: Connection refused"):
        run_on_cluster(serial[0], tmp_path / "run", Cluster(address, serve=False))
    with pytest.raises(InputError, match=f"Nothing answers at {address}"):
        meet_scheduler(address, "worker", wait=0.3)
    assert not (tmp_path / "run").exists()


@contextmanager
def answering(words):
    """The address of a server that says the same to whoever comes, and then listens."""

    class Caller(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall(words)
            with suppress(OSError):
                while self.request.recv(1000):
                    pass

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Caller) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (b"", "no answer in 0.5 s"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what it says is not dask's"),
        (b"\x00" * 64, "what it says is not dask's"),
    ],
)
@pytest.mark.parametrize("force", [True, False])
def test_who_listens_and_is_no_scheduler_is_told_soon(
    serial, tmp_path, monkeypatch, words, told, force
):
    """Nothing is made, and with force nothing is moved."""
    monkeypatch.setattr(scheduler, "_ANSWER", 0.5)
    if force:
        Store(tmp_path / "run").create(serial[0])
    with answering(words) as address:
        begun, line = time.monotonic(), f"^No scheduler of dask answers at {address}: {told}\\.$"
        with pytest.raises(InputError, match=line):
            run_on_cluster(serial[0], tmp_path / "run", Cluster(address, serve=False), force=force)
        with pytest.raises(InputError, match=line):
            meet_scheduler(address, "worker")
    assert time.monotonic() - begun < 5
    assert os.listdir(tmp_path) == ["run"] * force


def test_tls_without_certificates_is_told_before_anything_starts(serial, tmp_path):
    address = free_address().replace("tcp", "tls")
    told = f"^Address {address} needs certificates: distributed.comm.tls of dask"
    with pytest.raises(InputError, match=told):
        scheduler.check_cluster(Cluster(address))
    with pytest.raises(InputError, match=told):
        meet_scheduler(address, "worker")


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # dask's
def test_a_scheduler_that_does_not_start_is_told_and_moves_nothing(serial, tmp_path, monkeypatch):
    """The port is taken between the check and the start."""
    monkeypatch.setattr(scheduler, "check_free", lambda *_: None)
    Store(tmp_path / "run").create(serial[0])
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(InputError) as caught:
            run_on_cluster(serial[0], tmp_path / "run", Cluster(address), force=True)
    told = str(caught.value)
    del caught
    gc.collect()
    assert told.startswith(f"No scheduler starts at {address}: ")
    assert "Address already in use" in told
    assert os.listdir(tmp_path) == ["run"]


def test_mistakes_of_the_command_line_are_one_line_and_status_2(serial, tmp_path):
    run = ["run", str(serial[1]), "-o", str(tmp_path / "run")]
    taken = socket.create_server(("127.0.0.1", 0))
    address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
    wrong = [[*run, "--serve="], [*run, "--serve", address], ["worker", "there"]]
    with closing(taken), commands(*wrong) as started:
        for process in started:
            told, mistakes = process.communicate(timeout=60)
            assert (process.returncode, told) == (2, "")
            assert mistakes.startswith("gramdyn: ")
            assert mistakes.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("serve", "workers", "there", "told"),
    [
        ("tcp://127.0.0.1:1", None, "tcp://127.0.0.1:2", "not both"),
        (None, 2, None, "beside --serve"),
        (None, 2, "tcp://127.0.0.1:2", "beside --serve"),
        ("", None, None, "must be tcp://HOST:PORT, but this is ''"),
        (None, None, "", "must be tcp://HOST:PORT, but this is ''"),
    ],
)
def test_options_that_mean_nothing_are_refused(serve, workers, there, told):
    with pytest.raises(InputError, match=told):
        choose_cluster(serve, workers, there)


def test_options_say_where_workers_are():
    address = free_address()
    assert choose_cluster(None, None, None) is None
    assert choose_cluster(None, None, address) == Cluster(address, serve=False)
    assert choose_cluster(address, None, None) == Cluster(address, workers=1)
    assert choose_cluster(address, 0, None) == Cluster(address, workers=0)


def test_without_the_extra_it_is_named(serial, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"pip install 'gramdyn\[cluster\]'"):
        run_on_cluster(serial[0], tmp_path / "run", Cluster(free_address()))


def test_a_run_on_one_machine_imports_no_scheduler(tmp_path):
    script = (
        "import sys; from gramdyn.cli import main\n"
        "try: main()\n"
        "finally: assert not {'distributed', 'tornado'} & sys.modules.keys()"
    )
    tiny = Path(__file__).parents[2] / "configs" / "smoke" / "tiny.yaml"
    command = [sys.executable, "-c", script, "run", str(tiny), "-o", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_resolved_configuration_is_read_again():
    config = parse_config(CONFIG)
    again = type(config).model_validate(config.resolved())
    assert again == config
    assert again.digest() == config.digest()
