"""What is told where the sweep in a folder is another one."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from support.folders import contents_of, small_plan

import gramdyn
from gramdyn import InputError
from gramdyn.store import fingerprint, manifest
from gramdyn.store.difference import differences
from gramdyn.store.files import read_json
from gramdyn.sweep import run_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("difference") / "run"
    run_plan(small_plan(), folder)
    return folder


def told(folder, plan):
    before = contents_of(folder)
    with pytest.raises(InputError, match="holds another sweep") as caught:
        run_plan(plan, folder)
    assert contents_of(folder) == before
    message = str(caught.value)
    assert "\n" not in message
    assert "--force" in message
    return message.partition("another sweep: ")[2].rpartition("; name another")[0].split("; ")


def test_every_differing_key_is_told_there_and_now(folder):
    plan = small_plan("scheme.n_steps=40", "network.width=5", "record.average=2", starts=None)
    assert told(folder, plan) == [
        "network.width: 4 there, 5 now",
        "scheme.n_steps: 20 there, 40 now",
        "record.average: null there, 2 now",
    ]


def test_keys_that_came_or_went(folder):
    change = "scheme={kind: gradient_flow, method: euler, step_size: 0.5, n_steps: 20}"
    found = told(folder, small_plan(change, starts=None))
    assert "scheme.kind: gradient_descent there, gradient_flow now" in found
    assert "scheme.momentum: null there, absent now" in found
    assert "scheme.method: absent there, euler now" in found


def test_a_long_value_is_cut(folder):
    values = list(range(1000, 1012))
    found = told(folder, small_plan(f"sweep={{seed: {values}}}"))
    (line,) = (line for line in found if line.startswith("sweep.seed.listed"))
    assert line.startswith("sweep.seed.listed: absent there, [1000, 1001")
    assert line.endswith("... now")
    assert len(line) < 120


def test_other_chunks_are_told_by_the_key_that_gives_them(folder):
    plan = small_plan("runtime.chunk_runs=3", starts=range(0, 12, 3))
    assert told(folder, plan) == [
        "runtime.chunk_runs: 4 there, 3 now",
        "group runs.chunk: 4 there, 3 now",
    ]


def test_more_memory_that_changes_no_chunk_is_the_same_sweep(folder):
    assert run_plan(small_plan("runtime.memory_gb=3"), folder).reused == 12


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("versions", {"jax": "0.1"}, "versions.jax: {versions[jax]} there, 0.1 now"),
        ("code", "f" * 64, "code: {code:.12} there, ffffffffffff now"),
        ("device", {"kind": "abacus"}, "device.kind: {device[kind]} there, abacus now"),
        ("gramdyn", "99", "gramdyn: {gramdyn} there, 99 now"),
    ],
)
def test_what_computed_it_is_compared(folder, monkeypatch, name, value, line):
    there = read_json(folder / "manifest.json")
    now = {**there, name: {**there[name], **value} if isinstance(value, dict) else value}
    monkeypatch.setattr("gramdyn.store.store.make_manifest", lambda _: now)
    assert told(folder, small_plan()) == [line.format(**there)]


def test_the_commit_is_information_only(folder):
    there = read_json(folder / "manifest.json")
    assert "commit" in there
    assert differences(there, {**there, "commit": "another"}) == []


def digest_of(plan):
    return manifest.make_manifest(plan)["groups"][0]["data"]


def test_data_behind_an_unchanged_name_are_compared(folder):
    """As where the code of a task of one's own gives other numbers."""
    there = read_json(folder / "manifest.json")
    groups = [{**group, "data": "0" * 64} for group in there["groups"]]
    (line,) = differences(there, {**there, "groups": groups})
    assert line.startswith("group runs.data: ")
    plan = small_plan()
    (group,) = plan.groups
    for part in ("inputs", "targets"):
        moved = getattr(group.tasks[0], part).copy()
        moved[0, 0] += 1e-15
        task = dataclasses.replace(group.tasks[0], **{part: moved})
        changed = dataclasses.replace(group, tasks=(task, *group.tasks[1:]))
        assert digest_of(dataclasses.replace(plan, groups=(changed,))) != digest_of(plan)
    assert digest_of(plan) == there["groups"][0]["data"]


def test_the_fingerprint_is_of_what_computes(tmp_path, monkeypatch):
    """Of a copy of the package: each edit of a computing file changes it, of another none."""
    home = tmp_path / "gramdyn"
    shutil.copytree(Path(gramdyn.__file__).parent, home)
    monkeypatch.setattr(fingerprint, "__file__", str(home / "sweep" / "fingerprint.py"))
    digest = fingerprint.code_digest.__wrapped__
    seen = {digest()}
    assert seen == {fingerprint.code_digest()}
    numbers = ("kernels/gram.py", "models/init.py", "data/task.py", "dynamics/loop.py")
    numbers += ("diagnostics/record.py", "plan/build.py", "sweep/compute.py", "store/arrays.py")
    for part in (*numbers, "_checks.py"):
        with (home / part).open("a") as file:
            file.write("# edited\n")
        seen.add(digest())
    assert len(seen) == 10
    (home / "systems" / "losses.py").rename(home / "systems" / "losses_2.py")
    seen.add(digest())
    assert len(seen) == 11
    others = ("report/page.py", "cli/app.py", "laws/registry.py")
    for part in (*others, "sweep/cluster.py", "sweep/run.py", "store/lock.py", "store/store.py"):
        (home / part).write_text("# edited\n")
    assert digest() in seen
