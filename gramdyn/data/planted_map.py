"""The task of a planted linear map: Gaussian inputs, or their whole population."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from gramdyn._checks import check, check_nonnegative, check_positive, check_positive_int, check_seed
from gramdyn._errors import InputError
from gramdyn.data._random import make_generator
from gramdyn.data.task import Task


class Population(eqx.Module):
    """All inputs x ~ N(0, I_d) at once, with the targets B x.

    Attributes:
        target: B in its first C columns, shape (C, C); all others are 0.
        n_inputs: Number of inputs d, at least 1, as a number that programs do not depend on.
    """

    target: Float[Array | np.ndarray, "C C"]
    n_inputs: Float[Array | np.ndarray, ""]

    @property
    def n_outputs(self) -> int:
        """Number of outputs C."""
        return self.target.shape[0]


def planted_map(
    *,
    n_inputs: int,
    n_outputs: int = 1,
    singular_values: tuple[float, ...] | None = None,
    samples_per_input: float | None = None,
    seed: int = 0,
) -> Task:
    """Gaussian inputs x ~ N(0, I) and the targets B x of a linear map, as samples or without any.

    B = diag(sv) in its first columns. This loses nothing: the law of the inputs prefers no
    direction, nor do starts that are drawn in the frame of B (`gramdyn.models.thin_network`).
    Without samples the task is its population, for coordinates "thin", whatever d.

    Args:
        n_inputs: Number of features d.
        n_outputs: Number of outputs C.
        singular_values: sv, at least 0 and not all 0, at most min(d, C) of them, those left out
            being 0; all 1 unless given.
        samples_per_input: n / d, above 0; no samples by default.
        seed: Seed of the inputs. A larger ratio has the samples of a smaller one first.

    Returns:
        Task without labels, n = round(samples_per_input d), at least 1; without samples n = 0.

    Raises:
        InputError: An argument out of its range.
    """
    d, outputs = (
        check_positive_int("n_inputs", n_inputs),
        check_positive_int("n_outputs", n_outputs),
    )
    target = np.diag(_check_values(singular_values, min(d, outputs), outputs))
    n = 0
    if samples_per_input is not None:
        n = max(1, round(check_positive("samples_per_input", samples_per_input) * d))
    inputs = make_generator(check_seed("seed", seed), "inputs").standard_normal((n, d))
    seen = min(d, outputs)
    targets = inputs[:, :seen] @ target[:, :seen].T
    for array in (inputs, targets, target):
        array.setflags(write=False)  # jax may share this memory
    notes = (
        ("singular_values", ", ".join(f"{value:.6g}" for value in np.diagonal(target))),
        ("n_inputs", d),
        ("n_samples", n),
        ("seed", seed),
    )
    return Task(inputs, targets, name="planted_map", notes=notes, planted_map=target)


def task_population(task: Task) -> Population:
    """The population that a planted task stands for.

    Raises:
        InputError: for a task without a planted map.
    """
    if task.planted_map is None:
        raise InputError(f"Task `{task.name}` must be `planted_map` for a population, but is not.")
    return Population(task.planted_map, np.asarray(task.n_inputs, np.float64))


def _check_values(given: Any, most: int, n_outputs: int) -> Float[np.ndarray, " C"]:
    """Singular values, zeros filled in."""
    values = (1.0,) * most if given is None else given
    good = isinstance(values, tuple | list) and 1 <= len(values) <= most
    check(good, "singular_values", f"hold 1 to {most} numbers", given)
    found = [check_nonnegative("singular_values", value) for value in values]
    check(any(found), "singular_values", "not be all 0", given)
    return np.pad(np.asarray(found, np.float64), (0, n_outputs - len(found)))
