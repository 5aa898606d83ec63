import hashlib

import numpy as np
import pytest

from gramdyn._errors import InputError
from gramdyn.data import arrays

INPUTS = np.arange(6.0).reshape(3, 2)
TARGETS = np.array([1.0, -1.0, 0.5])


@pytest.fixture
def save(tmp_path):
    def write(name="task.npz", **arrays):
        with open(tmp_path / name, "wb") as file:
            np.savez(file, **arrays)
        return tmp_path / name

    return write


def test_arrays_come_back_as_they_were(save):
    path = save(inputs=INPUTS, targets=TARGETS)
    task = arrays(path)
    np.testing.assert_array_equal(task.inputs, INPUTS)
    np.testing.assert_array_equal(task.targets, TARGETS[:, None])
    assert (task.name, task.labels) == ("arrays", None)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert dict(task.notes) == {"path": str(path), "sha256": digest}


def test_names_can_be_chosen_and_paths_be_text(save):
    path = save(x=INPUTS, y=TARGETS, k=np.array([2, 0, 1]), more=TARGETS)
    task = arrays(str(path), inputs="x", targets="y", labels="k")
    np.testing.assert_array_equal(task.inputs, INPUTS)
    assert task.labels.tolist() == [2, 0, 1]


def test_compressed_files_are_fine(tmp_path):
    np.savez_compressed(tmp_path / "task.npz", inputs=INPUTS, targets=TARGETS)
    np.testing.assert_array_equal(arrays(tmp_path / "task.npz").inputs, INPUTS)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.npz: there is no such file\."):
        arrays(tmp_path / "nothing.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InputError, match=r"folder\.npz: there is no such file\."):
        arrays(tmp_path / "folder.npz")


def test_wrong_suffix(save):
    path = save("task.zip", inputs=INPUTS, targets=TARGETS)
    with pytest.raises(InputError, match=r"task\.zip: must be a file that ends in \.npz"):
        arrays(path)


def test_another_kind_of_file_under_the_name(tmp_path):
    (tmp_path / "task.npz").write_bytes(b"inputs,targets\n1,2\n")
    with pytest.raises(InputError, match=r"task\.npz: is not an \.npz file inside"):
        arrays(tmp_path / "task.npz")


def test_missing_names_are_told_with_those_present(save):
    path = save(x=INPUTS, targets=TARGETS)
    with pytest.raises(InputError, match=r"has no array `inputs`; arrays in it: x, targets\."):
        arrays(path)
    with pytest.raises(InputError, match=r"has no array `y`; arrays in it: x, targets\."):
        arrays(path, inputs="x", targets="y")
    with pytest.raises(InputError, match=r"has no array `k`; arrays in it"):
        arrays(path, inputs="x", labels="k")
    with pytest.raises(InputError, match=r"has no array `inputs`; arrays in it: none\."):
        arrays(save("empty.npz"))


def test_objects_are_never_unpickled(save):
    path = save(inputs=INPUTS, targets=np.array([[1], None], dtype=object))
    with pytest.raises(InputError, match=r"array `targets` holds Python objects and cannot be"):
        arrays(path)


def test_damaged_array(save):
    path = save(inputs=np.zeros((40, 40)), targets=np.zeros(40))
    content = bytearray(path.read_bytes())
    content[2000] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"array `inputs` is damaged and cannot be read\."):
        arrays(path)


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (np.ones((0, 2)), np.ones(0), r"`inputs` must hold at least one sample"),
        (INPUTS, TARGETS[:2], r"`targets` must have one row for each of the 3 .* but has 2\."),
        (INPUTS, [1.0, np.nan, 2.0], r"`targets` must be finite .* the first in row 1\."),
        (INPUTS.ravel(), TARGETS, r"`inputs` must have two axes, but has shape \(6,\)\."),
        (INPUTS, ["a", "b", "c"], r"`targets` must hold real numbers"),
    ],
)
def test_arrays_that_are_refused(save, inputs, targets, message):
    path = save(inputs=inputs, targets=targets)
    with pytest.raises(InputError, match=message) as caught:
        arrays(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
