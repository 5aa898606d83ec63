"""Files that a disk lost or altered: found, told, and computed again, and nothing but those."""

import shutil
import threading

import numpy as np
import pytest
from support.folders import arrays_of, assert_same_bits, contents_of, copy_of, small_plan

from gramdyn import InputError
from gramdyn.store import open, read_state, store
from gramdyn.store.arrays import chunk_files, make_skeleton
from gramdyn.store.damage import explained
from gramdyn.store.files import read_json, write_json
from gramdyn.store.markers import read_marker, sealed
from gramdyn.store.store import Store
from gramdyn.sweep import run_plan


@pytest.fixture(scope="module")
def plan():
    return small_plan()


@pytest.fixture(scope="module")
def sound(plan, tmp_path_factory):
    """A finished sweep; a copy of it is damaged."""
    folder = tmp_path_factory.mktemp("sound") / "run"
    run_plan(plan, folder)
    return folder


def flip(path):
    """Alter one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def lose(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def same_files(one, other):
    """Whether two folders hold the same files, but for the times and counts in them."""
    told = ("lock", "manifest.json")
    keep = lambda name: name not in told and not name.startswith("done/")  # noqa: E731
    one, other = contents_of(one), contents_of(other)
    return {k: v for k, v in one.items() if keep(k)} == {k: v for k, v in other.items() if keep(k)}


CHUNK = [f"results.zarr/runs/{name}" for name in ("loss/c.1.0", "layer_kernels/c.1.0.0.0.0.0.0")]
CHUNK += [f"results.zarr/runs/{name}/c.1" for name in ("status", "failed_at", "step_size")]


def test_the_plan_names_every_file(plan, sound):
    """The files of the chunks and the skeleton, from the plan alone, are the files on disk."""
    (group,) = plan.groups
    names = {f"runs/{name}" for start in group.starts for name in chunk_files(group, start)}
    found = {k.removeprefix("results.zarr/") for k in contents_of(sound) if k.startswith("results")}
    assert names | make_skeleton(plan).keys() == found
    assert not names & make_skeleton(plan).keys()


ALL = [(name, damage) for name in CHUNK for damage in (flip, cut, lose, empty)]
ALL += [("done/runs-4.json", damage) for damage in (flip, cut, empty)]


@pytest.mark.parametrize(("name", "damage"), ALL)
def test_a_damaged_chunk_is_computed_again_and_no_other(plan, sound, tmp_path, name, damage):
    folder = copy_of(sound, tmp_path / "run")
    damage(folder / name)
    times = {p: p.stat().st_mtime_ns for p in (folder / "done").iterdir()}
    tally = run_plan(plan, folder)
    assert (tally.runs, tally.reused, tally.repaired) == (4, 8, 4)
    changed = [p.name for p, time in times.items() if p.stat().st_mtime_ns != time]
    assert changed == ["runs-4.json"]
    assert same_files(folder, sound)
    counts = read_json(folder / "manifest.json")["counts"]
    assert (counts["runs"], counts["repaired"]) == (12, 4)


@pytest.mark.parametrize("damage", [flip, cut, empty])
@pytest.mark.parametrize("name", CHUNK)
def test_a_reader_gets_an_error_never_a_wrong_number(sound, tmp_path, name, damage):
    """By crc32c alone: the markers are gone, so that nothing else could tell."""
    folder = copy_of(sound, tmp_path / "run")
    for marker in (folder / "done").iterdir():
        marker.unlink()
    damage(folder / name)
    with pytest.raises(Exception, match=r"(?i)checksum|index|buffer"):
        arrays_of(folder)


def test_every_bit_of_a_file_is_guarded(sound, tmp_path):
    """A flip of any of a hundred bits of the compressed losses is seen."""
    folder = copy_of(sound, tmp_path / "run")
    path = folder / CHUNK[0]
    whole = path.read_bytes()
    for bit in np.random.default_rng(0).integers(0, 8 * len(whole), 100):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(data)
        with pytest.raises(ValueError, match="checksum do not match"):
            open(folder)["runs"]["loss"].to_numpy()


@pytest.mark.parametrize("damage", [cut, lose, empty])
def test_files_missing_or_cut_are_told_when_a_folder_is_opened(sound, tmp_path, damage):
    """zarr would read NaN where a file is not there."""
    folder = copy_of(sound, tmp_path / "run")
    damage(folder / CHUNK[0])
    with pytest.raises(InputError, match=r"array `loss` of group `runs`.*run` command.*repairs it"):
        open(folder)


def test_an_altered_file_is_named_where_it_is_read(sound, tmp_path):
    folder = copy_of(sound, tmp_path / "run")
    flip(folder / CHUNK[0])
    tree = open(folder)
    with pytest.raises(InputError, match="array `loss` of group `runs`"), explained(folder):
        tree["runs"]["loss"].to_numpy()
    with pytest.raises(ZeroDivisionError), explained(sound):
        _ = 1 / 0


METADATA = ["zarr.json", "runs/zarr.json", "runs/loss/zarr.json", "runs/seed/c.0", "runs/step/c.0"]


@pytest.mark.parametrize("damage", [flip, cut, lose, empty])
@pytest.mark.parametrize("name", [*(f"results.zarr/{name}" for name in METADATA), "layout.json"])
def test_damaged_metadata_and_coordinates_are_made_again(plan, sound, tmp_path, name, damage):
    folder = copy_of(sound, tmp_path / "run")
    damage(folder / name)
    if damage is not flip:
        with pytest.raises(InputError, match=r"is damaged.*repairs it"):
            open(folder)
    tally = run_plan(plan, folder)
    assert (tally.runs, tally.reused) == (0, 12)
    assert contents_of(folder).keys() == contents_of(sound).keys()
    assert same_files(folder, sound)
    assert_same_bits(arrays_of(folder), arrays_of(sound))


@pytest.mark.parametrize("damage", [cut, empty])
def test_a_broken_manifest_is_told_and_nothing_is_touched(plan, sound, tmp_path, damage):
    folder = copy_of(sound, tmp_path / "run")
    path = folder / "manifest.json"
    path.write_text(path.read_text().rstrip())  # a closing brace is what is cut
    damage(path)
    before = contents_of(folder)
    with pytest.raises(InputError, match=r"manifest.json is not JSON"):
        open(folder)
    with pytest.raises(InputError, match=r"manifest.json is not JSON.*--force"):
        run_plan(plan, folder)
    assert contents_of(folder) == before
    assert run_plan(plan, folder, force=True).runs == 12
    assert same_files(folder, sound)


def test_what_a_kill_leaves_of_a_file_is_removed(plan, sound, tmp_path):
    folder = copy_of(sound, tmp_path / "run")
    (folder / "done" / "runs-4.json").unlink()
    half = folder / "results.zarr" / "runs" / "loss" / "c.1.0f.partial"
    half.write_text("half")
    tally = run_plan(plan, folder)
    assert (tally.runs, tally.reused, tally.repaired) == (4, 8, 0)
    assert contents_of(folder).keys() == contents_of(sound).keys()


def test_a_chunk_to_be_computed_again_is_not_shown_as_there(plan, sound, tmp_path):
    folder = copy_of(sound, tmp_path / "run")
    flip(folder / CHUNK[0])
    assert Store(folder).missing(plan.groups[0]) == [4]
    tree = open(folder)
    assert list(tree["runs"]["status"].values) == [0] * 4 + [-1] * 4 + [0] * 4
    assert tree.attrs["finished"] is None


def test_status_is_the_last_array_of_a_chunk_to_be_written(plan, tmp_path, monkeypatch):
    """A reader at work all the while: where a status is not -1, every record is there."""
    folder, seen, done = tmp_path / "run", [], threading.Event()
    Store(folder).create(plan)

    def watch():
        while not done.is_set():
            node = open(folder)["runs"]
            known = node["status"].to_numpy() != -1  # before the records
            seen.append((int(known.sum()), np.isfinite(node["loss"].to_numpy()[known]).all()))

    reader = threading.Thread(target=watch)
    reader.start()
    try:
        run_plan(plan, folder)
    finally:
        done.set()
        reader.join()
    assert len(seen) > 3
    assert all(whole for _, whole in seen)


def test_a_kill_between_two_arrays_leaves_no_status(plan, tmp_path, monkeypatch):
    """However many files of a chunk are written when the process ends."""
    (group,) = plan.groups
    names = [*group.shapes, "failed_at", "step_size", "status"]
    found = {name: np.zeros((4, *group.shapes[name].shape)) for name in group.shapes}
    found |= {name: np.zeros(4) for name in ("status", "failed_at", "step_size")}
    order = store.in_order(found)
    assert sorted(order) == sorted(names)
    for count in range(len(order)):
        folder = tmp_path / str(count)
        Store(folder).create(plan)
        monkeypatch.setattr(store, "in_order", lambda _, count=count: order[:count])
        Store(folder)._write(group, 0, found)
        assert np.all(open(folder)["runs"]["status"].to_numpy() == -1)
        monkeypatch.undo()


def test_files_of_a_marker_are_those_of_the_chunk(plan, sound, tmp_path):
    """A marker that lists too little vouches for nothing."""
    folder = copy_of(sound, tmp_path / "run")
    path = folder / "done" / "runs-4.json"
    marker = read_marker(path)
    del marker["files"]["loss/c.1.0"]
    write_json(path, sealed(marker))
    lose(folder / CHUNK[0])
    assert run_plan(plan, folder).repaired == 4
    assert same_files(folder, sound)


def flips(content, count, seed=0):
    """The content with each of some bits flipped, one at a time."""
    for bit in np.random.default_rng(seed).integers(0, 8 * len(content), count):
        data = bytearray(content)
        data[bit // 8] ^= 1 << (bit % 8)
        yield bytes(data)


def looked_at(folder, look):
    """What a reader gives; None where it refuses, in one line. Anything else raised is a defect."""
    try:
        return look(folder)
    except InputError as error:
        told = str(error)
    assert "\n" not in told
    return None


def test_any_flip_in_a_marker_is_seen(plan, sound, tmp_path):
    """Status counts it as broken, a reader reads on, and the chunk is computed again."""
    folder = copy_of(sound, tmp_path / "run")
    path = folder / "done" / "runs-4.json"
    for data in flips(path.read_bytes(), 60):
        path.write_bytes(data)
        assert read_marker(path) is None
        found = read_state(folder)
        assert (found.done, found.failed, found.unreadable) == (8, 0, 1)
        assert len(open(folder).children) == 1
        assert Store(copy_of(folder, tmp_path / "again")).missing(plan.groups[0]) == [4]
        shutil.rmtree(tmp_path / "again")
    assert run_plan(plan, folder).repaired == 4
    assert same_files(folder, sound)


WRONG = [{"failed": 99}, {"runs": "4"}, {"runs": 3}, {"written": "noon"}, {"files": {"k": 5}}]


@pytest.mark.parametrize("change", [*WRONG, {"sha256": None}, []], ids=str)
def test_a_marker_that_is_json_and_not_as_written(plan, sound, tmp_path, change):
    folder = copy_of(sound, tmp_path / "run")
    path = folder / "done" / "runs-4.json"
    write_json(path, {**read_json(path), **change} if change else change)
    assert (read_state(folder).done, read_state(folder).unreadable) == (8, 1)
    assert run_plan(plan, folder).repaired == 4
    assert same_files(folder, sound)


def test_any_flip_in_the_layout_is_told_or_harmless_and_mended(plan, sound, tmp_path):
    folder = copy_of(sound, tmp_path / "run")
    path = folder / "layout.json"
    whole, seen = path.read_bytes(), []
    for data in flips(whole, 60):
        path.write_bytes(data)
        assert read_state(folder).done == 12
        seen.append(looked_at(folder, open))
        Store(folder).create(plan)
        assert path.read_bytes() == whole
    assert None in seen
    assert run_plan(plan, folder).reused == 12
    assert_same_bits(arrays_of(folder), arrays_of(sound))


@pytest.mark.parametrize("text", ["[]", "3", "null", '{"a": 3}', '{"a": ["4", "b"]}', '{"a": [4]}'])
def test_a_layout_that_is_json_and_no_layout(plan, sound, tmp_path, text):
    folder = copy_of(sound, tmp_path / "run")
    (folder / "layout.json").write_text(text)
    with pytest.raises(InputError, match=r"damaged: file layout\.json; .* repairs it"):
        open(folder)
    assert run_plan(plan, folder).reused == 12
    assert same_files(folder, sound)


def test_any_flip_in_the_manifest_is_told_or_harmless(plan, sound, tmp_path):
    """Readers and `run` refuse, or do what is right; the arrays are not touched."""
    folder, wanted = copy_of(sound, tmp_path / "run"), arrays_of(sound)
    path = folder / "manifest.json"
    whole, refused = path.read_bytes(), 0
    for data in flips(whole, 60):
        path.write_bytes(data)
        looked_at(folder, read_state)
        looked_at(folder, open)
        tally = looked_at(folder, lambda folder: run_plan(plan, folder))
        refused += tally is None
        assert tally is None or (tally.runs, tally.reused) == (0, 12)
        path.write_bytes(whole)
        assert same_files(folder, sound)
    assert refused > 20
    assert_same_bits(arrays_of(folder), wanted)


def changed(**keys):
    return lambda there: {**there, **keys}


def regrouped(**keys):
    return lambda there: {**there, "groups": [{**there["groups"][0], **keys}]}


PARTIAL = {
    "list": lambda _: [],
    "text": lambda _: "x",
    "nothing": lambda _: {},
    "number of groups": lambda _: {"groups": 3},
    "groups that are numbers": changed(groups=[3]),
    "no groups": changed(groups=[]),
    "null config": changed(config=None),
    "runtime that is a number": changed(config={"runtime": 3}),
    "versions": changed(versions=[]),
    "runs as text": regrouped(runs="12"),
    "runs that are true": regrouped(runs=True),
    "no runs": regrouped(runs=0),
    "name": regrouped(name=None),
    "operations": regrouped(run_flops=float("nan")),
}


@pytest.mark.parametrize("change", PARTIAL.values(), ids=PARTIAL)
def test_a_manifest_that_is_json_and_not_whole(plan, sound, tmp_path, change):
    folder = copy_of(sound, tmp_path / "run")
    write_json(folder / "manifest.json", change(read_json(folder / "manifest.json")))
    before = contents_of(folder)
    for look in (read_state, open):
        with pytest.raises(InputError, match=r"is damaged: manifest\.json h(as|olds) no "):
            look(folder)
    with pytest.raises(InputError, match=r"damaged: manifest\.json h(as|olds) no .*--force"):
        run_plan(plan, folder)
    assert contents_of(folder) == before


def test_a_group_that_is_not_there_is_told(sound, tmp_path):
    folder = copy_of(sound, tmp_path / "run")
    path = folder / "manifest.json"
    write_json(path, regrouped(name="rung")(read_json(path)))
    with pytest.raises(InputError, match=r"manifest\.json names a group `rung`, not there"):
        open(folder)


INSTEAD = ["layout.json", "results.zarr/zarr.json", "results.zarr/runs/loss/zarr.json", CHUNK[0]]
INSTEAD += ["results.zarr/runs/seed/c.0", "done/runs-4.json"]


@pytest.mark.parametrize("name", INSTEAD)
def test_a_directory_in_place_of_a_file_is_mended(plan, sound, tmp_path, name):
    folder = copy_of(sound, tmp_path / "run")
    lose(folder / name)
    (folder / name / "inside").mkdir(parents=True)
    assert read_state(folder).done + 4 * read_state(folder).unreadable == 12
    looked_at(folder, open)
    run_plan(plan, folder)
    assert same_files(folder, sound)
    assert contents_of(folder).keys() == contents_of(sound).keys()


@pytest.mark.parametrize("name", ["done", "results.zarr", "results.zarr/runs/loss"])
def test_a_file_in_place_of_a_directory_is_mended(plan, sound, tmp_path, name):
    folder = copy_of(sound, tmp_path / "run")
    shutil.rmtree(folder / name)
    (folder / name).write_text("a file")
    assert read_state(folder).done == (0 if name == "done" else 12)
    looked_at(folder, open)
    assert run_plan(plan, folder).runs == 12
    assert same_files(folder, sound)


@pytest.mark.parametrize("name", ["manifest.json", "lock"])
def test_a_directory_that_run_cannot_mend_is_told_in_a_line(plan, sound, tmp_path, name):
    folder = copy_of(sound, tmp_path / "run")
    lose(folder / name)
    (folder / name).mkdir()
    with pytest.raises(InputError, match=f"{name}.*(--force|remove that)"):
        run_plan(plan, folder)
    if name == "manifest.json":
        for look in (read_state, open):
            with pytest.raises(InputError, match=r"manifest\.json cannot be read: Is a directory"):
                look(folder)
