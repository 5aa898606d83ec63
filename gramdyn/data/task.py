"""The task: inputs and targets of the training samples, and where they came from."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gramdyn._checks import check, check_matrix, check_real
from gramdyn._errors import InputError

Notes = tuple[tuple[str, str | float | int], ...]


class HeldOut(eqx.Module):
    """Samples that nothing is trained on.

    Attributes:
        inputs: One sample a row, shape (m, d).
        targets: Shape (m, C).
    """

    inputs: Float[Array | np.ndarray, "m d"]
    targets: Float[Array | np.ndarray, "m C"]


class Task(eqx.Module):
    """Training samples of one learning problem.

    `make_task` builds it from any arrays, checked, as float64 numpy arrays that cannot be written
    to. The precision of a run is chosen later, with `cast`.

    Attributes:
        inputs: One sample a row, shape (n, d).
        targets: What the network shall answer, shape (n, C).
        labels: Class index of each sample, from 0, to sort kernels by; None without classes.
        name: Which function made the task.
        notes: How it was made (scaling, centring, seed, classes), as pairs a manifest can store.
        input_gram: X X^T where it is at hand (`with_gram`), shape (n, n): the networks of a batch
            then share it.
        planted_map: What the targets are of the first inputs, in a frame where they are no map of
            the others, shape (C, C); None for targets that are not planted so.
        held_out: Samples that are not trained on, to be looked at alone; None without any.
    """

    inputs: Float[Array | np.ndarray, "n d"]
    targets: Float[Array | np.ndarray, "n C"]
    labels: Int[Array | np.ndarray, "n"] | None = None
    name: str = eqx.field(static=True, default="arrays")
    notes: Notes = eqx.field(static=True, default=())
    input_gram: Float[Array | np.ndarray, "n n"] | None = None
    planted_map: Float[Array | np.ndarray, "C C"] | None = None
    held_out: HeldOut | None = None

    @property
    def n_samples(self) -> int:
        """Number of training samples n."""
        return self.inputs.shape[0]

    @property
    def n_inputs(self) -> int:
        """Number of input features d."""
        return self.inputs.shape[1]

    @property
    def n_outputs(self) -> int:
        """Number of outputs C."""
        return self.targets.shape[1]

    @property
    def n_heldout(self) -> int:
        """Number of samples that are held out."""
        return 0 if self.held_out is None else self.held_out.inputs.shape[0]

    def cast(self, dtype: Any) -> "Task":
        """The same task as jax arrays of one floating dtype; labels become int32.

        Args:
            dtype: "float32", "float64" or any other floating dtype.

        Returns:
            A new task; this one stays as it is.

        Raises:
            InputError: The dtype is unknown or not floating, or float64 is asked for while jax
                computes in 32 bits.
        """
        wanted = _check_dtype(dtype)
        labels = None if self.labels is None else jnp.asarray(self.labels, dtype=jnp.int32)
        numbers = replace(self, labels=None)
        cast = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype=wanted), numbers)
        found: Task = replace(cast, labels=labels)
        return found

    def with_gram(self) -> "Task":
        """The same task with the Gram of its inputs, which Gram coordinates then take from here.

        Cost: 2 n^2 d operations once, in place of once for every network of a batch.
        """
        return replace(self, input_gram=self.inputs @ self.inputs.T)


def make_task(
    inputs: Any,
    targets: Any,
    *,
    labels: Any = None,
    name: str = "arrays",
    notes: Notes = (),
    held_out: tuple[Any, Any] | None = None,
) -> Task:
    """Task from arrays, everything checked.

    Args:
        inputs: Real numbers, shape (n, d) with n, d >= 1.
        targets: Real numbers, shape (n, C) with C >= 1, or (n,) for one output.
        labels: Class index of each sample, whole numbers of at least 0, shape (n,), or None.
        name: Which function made the task.
        notes: How it was made, as pairs (word, value).
        held_out: Inputs and targets of samples that are not trained on, or None.

    Returns:
        The task, with copies of the arrays in float64.

    Raises:
        InputError: Wrong axes, no sample, NaN or inf, not real numbers, or lengths that differ.
    """
    inputs, targets = _check_samples(inputs, targets)
    if labels is not None:
        labels = _check_labels(labels, len(inputs))
        labels.setflags(write=False)
    others = None if held_out is None else HeldOut(*_check_samples(*held_out, "held-out "))
    if others is not None:
        for told, array, like in (
            ("held-out inputs", others.inputs, inputs),
            ("held-out targets", others.targets, targets),
        ):
            demand = f"have {like.shape[1]} columns like those trained on"
            check(array.shape[1] == like.shape[1], told, demand, array.shape[1])
    return Task(inputs, targets, labels, name, notes, held_out=others)


def _check_samples(
    inputs: Any, targets: Any, kind: str = ""
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n C"]]:
    """Inputs and targets as new matrices of equal length; targets with one axis are a column."""
    inputs = check_matrix(f"{kind}inputs", inputs)
    columns = check_real(f"{kind}targets", targets)
    columns = columns[:, None] if columns.ndim == 1 else columns
    targets = check_matrix(f"{kind}targets", columns)
    _check_length(f"{kind}targets", targets, len(inputs))
    for array in (inputs, targets):
        array.setflags(write=False)  # jax may share this memory
    return inputs, targets


def _check_length(name: str, array: np.ndarray, n_samples: int) -> None:
    """Refuse an array that does not have one row a sample."""
    if len(array) != n_samples:
        raise InputError(
            f"Argument `{name}` must have one row for each of the {n_samples} samples in `inputs`, "
            f"but has {len(array)}."
        )


def _check_labels(labels: Any, n_samples: int) -> np.ndarray:
    """Return the labels as a new int64 array of shape (n,)."""
    array = np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise InputError(f"Argument `labels` must hold whole numbers, but is of {array.dtype}.")
    if array.ndim != 1:
        raise InputError(f"Argument `labels` must have one axis, but has shape {array.shape}.")
    _check_length("labels", array, n_samples)
    if array.min() < 0:
        raise InputError(f"Argument `labels` must be at least 0, but goes down to {array.min()}.")
    return np.array(array, dtype=np.int64)


def _check_dtype(dtype: Any) -> np.dtype:
    """Return a floating dtype that jax can hold right now."""
    try:
        wanted = jnp.dtype(dtype)
    except TypeError as error:
        raise InputError(f"Argument `dtype` must be a dtype, but is {dtype!r}.") from error
    if not jnp.issubdtype(wanted, jnp.floating):
        raise InputError(f"Argument `dtype` must be a floating dtype, but is {wanted}.")
    # Outside of 64-bit mode jax would hand out float32 instead.
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        message = f"but is {wanted}; work inside `with jax.enable_x64(True)`"
        raise InputError(f"Argument `dtype` must fit the 32 bits of jax here, {message}.")
    return wanted
