import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from gramdyn._errors import InputError
from gramdyn.data import Task, make_task

INPUTS = np.arange(6.0).reshape(3, 2)
TARGETS = np.array([[1.0], [-1.0], [0.5]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8])
def test_arrays_are_float64_copies_that_cannot_be_written(dtype):
    inputs = INPUTS.astype(dtype)
    task = make_task(inputs, TARGETS, labels=[1, 0, 1], name="mine", notes=(("seed", 3),))
    inputs[:] = -1
    np.testing.assert_array_equal(task.inputs, INPUTS)
    assert task.inputs.dtype == task.targets.dtype == np.float64
    assert task.labels.tolist() == [1, 0, 1]
    assert (task.name, task.notes) == ("mine", (("seed", 3),))
    for array in (task.inputs, task.targets, task.labels):
        assert not array.flags.writeable


def test_counts():
    task = make_task(np.ones((5, 3)), np.ones((5, 2)))
    assert (task.n_samples, task.n_inputs, task.n_outputs) == (5, 3, 2)
    assert task.labels is None


def test_targets_of_one_axis_become_one_column():
    task = make_task(INPUTS, [1, 2, 3])
    np.testing.assert_array_equal(task.targets, [[1.0], [2.0], [3.0]])


def test_one_sample_and_jax_arrays_are_fine():
    task = make_task(jnp.ones((1, 2)), jnp.ones((1,)))
    assert isinstance(task.inputs, np.ndarray)
    assert task.n_samples == 1


def test_fields_are_shape_checked():
    with pytest.raises(TypeCheckError):
        Task(INPUTS, TARGETS[:2])
    with pytest.raises(TypeCheckError):
        Task(INPUTS, TARGETS, np.zeros(3))


def test_arrays_are_leaves_and_words_are_static():
    task = make_task(INPUTS, TARGETS, labels=[0, 1, 0], name="mine", notes=(("seed", 1),))
    leaves, structure = jax.tree.flatten(task)
    assert [leaf.shape for leaf in leaves] == [(3, 2), (3, 1), (3,)]
    assert jax.tree.unflatten(structure, leaves).notes == (("seed", 1),)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cast(dtype):
    task = make_task(INPUTS / 3, TARGETS, labels=[0, 1, 2], name="mine", notes=(("seed", 1),))
    with jax.enable_x64(True):
        cast = task.cast(dtype)
        assert isinstance(cast.inputs, jax.Array)
        assert cast.inputs.dtype == cast.targets.dtype == dtype
        assert cast.labels.dtype == jnp.int32
        np.testing.assert_array_equal(np.asarray(cast.inputs), (INPUTS / 3).astype(dtype))
        np.testing.assert_array_equal(np.asarray(cast.targets), TARGETS.astype(dtype))
    assert cast.labels.tolist() == [0, 1, 2]
    assert (cast.name, cast.notes) == (task.name, task.notes)
    assert isinstance(task.inputs, np.ndarray)


def test_cast_of_a_cast_without_labels():
    task = make_task(INPUTS, TARGETS).cast(np.float32).cast(jnp.bfloat16)
    assert task.inputs.dtype == jnp.bfloat16
    assert task.labels is None


def test_cast_refuses_float64_when_jax_would_give_float32():
    with jax.enable_x64(False), pytest.raises(InputError, match=r"is float64; work inside `with"):
        make_task(INPUTS, TARGETS).cast("float64")


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("int32", r"`dtype` must be a floating dtype, but is int32\."),
        ("complex64", r"`dtype` must be a floating dtype, but is complex64\."),
        ("floaty", r"`dtype` must be a dtype, but is 'floaty'\."),
    ],
)
def test_cast_errors(dtype, message):
    with pytest.raises(InputError, match=message):
        make_task(INPUTS, TARGETS).cast(dtype)


def with_entry(value):
    inputs = INPUTS.copy()
    inputs[1, 1] = inputs[2, 0] = value
    return inputs


ERRORS = {
    "one axis": ([1.0, 2.0], [1, 2], {}, r"`inputs` must have two axes, but has shape \(2,\)\."),
    "three axes": (np.ones((2, 2, 2)), [1, 2], {}, r"two axes, but has shape \(2, 2, 2\)\."),
    "no sample": (np.ones((0, 2)), [], {}, r"`inputs` must hold at least one sample, but .* none"),
    "no feature": (np.ones((2, 0)), [1, 2], {}, r"`inputs` must have at least one column"),
    "no output": (INPUTS, np.ones((3, 0)), {}, r"`targets` must have at least one column"),
    "scalar": (INPUTS, 1.0, {}, r"`targets` must have two axes, but has shape \(\)\."),
    "lengths": (INPUTS, [1, 2], {}, r"`targets` must have one row .* 3 samples .* but has 2\."),
    "nan": (with_entry(np.nan), TARGETS, {}, r"`inputs` must .* 2 entries .* first in row 1\."),
    "inf": (with_entry(-np.inf), TARGETS, {}, r"`inputs` must .* 2 entries .* first in row 1\."),
    "nan target": (INPUTS, [1, 2, np.nan], {}, r"`targets` must .* 1 entries .* in row 2\."),
    "words": ([["a", "b"]], [1], {}, r"`inputs` must hold real numbers, but is of <U1\."),
    "objects": ([[None]], [1], {}, r"`inputs` must hold real numbers, but is of object\."),
    "complex": (INPUTS * 1j, TARGETS, {}, r"`inputs` must hold real numbers, .* complex128\."),
    "bool": (INPUTS, [True, False, True], {}, r"`targets` must hold real .* is of bool\."),
    "ragged": ([[1.0], [1.0, 2.0]], [1, 2], {}, r"`inputs` must be an array, but its rows differ"),
    "float labels": (INPUTS, TARGETS, {"labels": [0.0, 1.0, 0.0]}, r"`labels` must hold whole"),
    "label axes": (INPUTS, TARGETS, {"labels": [[0], [1], [2]]}, r"`labels` must have one axis"),
    "label number": (INPUTS, TARGETS, {"labels": [0, 1]}, r"`labels` must have .* but has 2\."),
    "negative": (INPUTS, TARGETS, {"labels": [0, -1, 1]}, r"`labels` .* but goes down to -1\."),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_are_one_line(case):
    inputs, targets, options, message = ERRORS[case]
    with pytest.raises(InputError, match=message) as caught:
        make_task(inputs, targets, **options)
    assert "\n" not in str(caught.value)


def test_bad_arrays_are_told_before_lengths():
    with pytest.raises(InputError, match="at least one sample"):
        make_task(np.ones((0, 2)), [1.0, 2.0])


def test_tasks_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_task(INPUTS, TARGETS).name = "other"


def test_public_names_are_there():
    data = importlib.import_module("gramdyn.data")
    order = lambda name: (not name.isupper(), name.islower(), name)  # noqa: E731
    assert sorted(data.__all__, key=order) == data.__all__  # constants, classes, functions
    assert len(set(data.__all__)) == len(data.__all__)
    assert all(hasattr(data, name) for name in data.__all__)
