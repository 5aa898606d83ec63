"""The run folder: labelled arrays, one node a group, written chunk by chunk.

    FOLDER/manifest.json      configuration, code, versions, devices
    FOLDER/layout.json        size and sha256 of the arrays' metadata and coordinates
    FOLDER/results.zarr/NAME  one node a group, arrays with a leading run axis
    FOLDER/done/NAME-START.json   a chunk of runs that is wholly there, with its files' sha256
    FOLDER/lock               who writes

Every array is made before the first run, full of NaN. A chunk of runs is a chunk of every array, so
writers of two chunks never touch the same file. Its `status` is written after its other arrays, and
its marker after that: a reader who sees a status sees the run.
"""

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from gramdyn._errors import InputError
from gramdyn.plan.plan import Group, Plan
from gramdyn.store.arrays import chunk_files, in_order, make_skeleton
from gramdyn.store.clock import now, now_finely
from gramdyn.store.damage import ARRAYS, LAYOUT, is_sound
from gramdyn.store.difference import differences
from gramdyn.store.files import (
    clear_way,
    digest_of_bytes,
    digest_of_file,
    is_file_of,
    json_text,
    remove,
    write_atomic,
    write_json,
)
from gramdyn.store.folder import make_folder
from gramdyn.store.manifest import make_manifest
from gramdyn.store.markers import count_runs, marker_path, read_marker, sealed
from gramdyn.store.whole import NAME, read_manifest

_WRITING = {
    # A chunk of nothing but NaN is a file too: its absence would mean that it is lost.
    "array.write_empty_chunks": True,
    # Ten files at once, copied and compressed, would hold twice a large chunk beside it.
    "async.concurrency": 1,
}
_AWAY = "name another with -o, or set this one aside with --force"


class Store:
    """A run folder open for writing. Who schedules its chunks holds its lock (`locked`).

    Args:
        folder: The folder; made by `create` if it is not there.

    Attributes:
        repaired: Runs that `missing` found stored but damaged.
    """

    def __init__(self, folder: Path):
        # Once for all: a path through a folder that is not there yet means nothing to the kernel.
        self.folder = folder.resolve()
        self.arrays = self.folder / ARRAYS
        self.repaired = 0

    def create(self, plan: Plan) -> None:
        """Make the folder, its manifest and every array, at once, before anything is computed.

        A folder that holds this very sweep is kept, to go on from; metadata and coordinates that
        are damaged in it are written anew.

        Raises:
            InputError: if the folder cannot be written or holds something else.
        """
        files, manifest = _layout(plan), make_manifest(plan)
        fresh = {"done/": b"", **files, NAME: json_text(manifest).encode()}
        try:
            if not make_folder(self.folder, fresh):
                self._accept(manifest)
                self._mend(files)
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"Folder {self.folder} cannot be written: {reason}.") from None

    def _accept(self, manifest: dict[str, Any]) -> None:
        """Refuse a folder that holds anything but this sweep."""
        if not (self.folder / NAME).exists():
            raise InputError(
                f"Folder {self.folder} must be empty or not there yet, but holds other files; "
                "name another with -o."
            )
        found = differences(self._manifest(), manifest)
        if found:
            told = "; ".join(found)
            raise InputError(f"Folder {self.folder} holds another sweep: {told}; {_AWAY}.")

    def _manifest(self) -> dict[str, Any]:
        return read_manifest(self.folder, f", so nothing tells which sweep it holds; {_AWAY}")

    def _mend(self, files: dict[str, bytes]) -> None:
        """Write again what is damaged of the files that the plan gives."""
        clear_way(self.folder / "done" / "any", self.folder)
        for name, content in files.items():
            path = self.folder / name
            if not is_file_of(path, digest_of_bytes(content)):
                clear_way(path, self.folder)
                write_atomic(path, content)

    def missing(self, group: Group) -> list[int]:
        """First runs of the chunks to compute: not there, or not as their markers say.

        Every finished chunk is read and compared with the sha256 in its marker. What is there of
        the others is removed, so that nobody reads it.

        Raises:
            InputError: if it cannot be removed.
        """
        found = [start for start in group.starts if not self._is_done(group, start)]
        try:
            for start in found:
                self._clear(group, start)
            if found:
                self._clean(group)
                self._reopen()
        except OSError as error:
            raise InputError(self.stopped(error.strerror or str(error))) from None
        return found

    def _is_done(self, group: Group, start: int) -> bool:
        path = marker_path(self.folder, group.name, start)
        if not path.exists():
            return False
        marker, runs = read_marker(path), group.runs_from(start)
        node, files = self.arrays / group.name, chunk_files(group, start)
        if marker and marker["runs"] == runs and is_sound(node, marker, files):
            return True
        self.repaired += runs
        return False

    def _clear(self, group: Group, start: int) -> None:
        """Remove a chunk: its status, then its other files, then its marker."""
        for name in reversed(chunk_files(group, start)):
            remove(self.arrays / group.name / name)
        remove(marker_path(self.folder, group.name, start))

    def _clean(self, group: Group) -> None:
        """Remove what zarr had begun to write when it was killed."""
        for path in (self.arrays / group.name).glob("*/*.partial"):
            remove(path)

    def _reopen(self) -> None:
        """Note in the manifest that it is not finished, if it was."""
        manifest = self._manifest()
        if manifest["finished"]:
            write_json(self.folder / NAME, {**manifest, "finished": None})

    def facts(self, group: Group, start: int) -> dict[str, Any] | None:
        """What the marker of a chunk says; None where the chunk is not there yet."""
        return read_marker(marker_path(self.folder, group.name, start))

    def write(self, group: Group, start: int, found: dict[str, np.ndarray], facts: Any) -> None:
        """Write one chunk of runs, then its marker.

        Args:
            group: Its group.
            start: Index of its first run.
            found: Records and per-run values by name, run axis leading, padding dropped.
            facts: What the marker says beside runs and files: how many `failed`.

        Raises:
            InputError: if it cannot be written; what is stored already stays.
        """
        try:
            self._write(group, start, found)
            node, count = self.arrays / group.name, len(found["status"])
            files = {name: digest_of_file(node / name) for name in chunk_files(group, start)}
            marker = {"runs": count, "written": now_finely(), **facts, "files": files}
            write_json(marker_path(self.folder, group.name, start), sealed(marker))
        except OSError as error:
            raise InputError(self.stopped(error.strerror or str(error))) from None

    def _write(self, group: Group, start: int, found: dict[str, np.ndarray]) -> None:
        node = zarr.open_group(self.arrays / group.name, mode="r+")
        with zarr.config.set(_WRITING):
            for name in in_order(list(found)):
                array = node[name]
                assert isinstance(array, zarr.Array)
                array[start : start + len(found[name])] = found[name]

    def stopped(self, why: str) -> str:
        """What to tell where the sweep ends before its end."""
        total = sum(group["runs"] for group in self._manifest()["groups"])
        stored = count_runs(self.folder)["runs"]
        return (
            f"Sweep in {self.folder} stopped: {why}. {stored} of {total} runs are stored; "
            "the same command goes on from there."
        )

    def finish(self, facts: Any) -> None:
        """Note in the manifest that every chunk is there, with counts over all of them.

        A sweep that was finished before keeps what it noted then.

        Raises:
            InputError: if it cannot be written.
        """
        manifest = self._manifest()
        if manifest["finished"]:
            return
        counts = {**facts.get("counts", {}), **count_runs(self.folder)}
        try:
            noted = {**manifest, "finished": now(), **facts, "counts": counts}
            write_json(self.folder / NAME, noted)
        except OSError as error:
            raise InputError(self.stopped(error.strerror or str(error))) from None


def _layout(plan: Plan) -> dict[str, bytes]:
    """Metadata and coordinates by path in the run folder, and the list of their sha256."""
    skeleton = make_skeleton(plan)
    digests = {name: digest_of_bytes(content) for name, content in skeleton.items()}
    return {
        LAYOUT: json_text(digests).encode(),
        **{f"{ARRAYS}/{k}": v for k, v in skeleton.items()},
    }
