"""The task of a linear map itself: white inputs, targets by their singular values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_bool, check_positive_int, check_seed
from gramdyn.data._random import make_generator, random_frame
from gramdyn.data.task import Task, make_task


def linear_map(
    *,
    n_inputs: int,
    n_outputs: int,
    singular_values: tuple[float, ...] | None = None,
    between: tuple[float, float] | None = None,
    rotate: bool = False,
    seed: int = 0,
) -> Task:
    """The unit vectors as inputs and a linear map T of them as targets.

    With the sum over samples the second moment of the inputs is the identity exactly and
    loss = 1/2 |T - map|_F^2: the population problem of white inputs. T = U diag(sigma) V^T, with
    U = V = I unless turned.

    Args:
        n_inputs: Number of features d, which is the number of samples too.
        n_outputs: Number of outputs C.
        singular_values: sigma, at least 0, at most min(d, C) of them; those left out are 0, so that
            the target has a lower rank. Tied and zero values are allowed.
        between: (low, high) to draw min(d, C) singular values uniformly, in place of naming them.
        rotate: Turn inputs and outputs by random rotations.
        seed: Seed of values and rotations, each with its own random stream.

    Returns:
        Task without labels; n = d.

    Raises:
        InputError: An argument out of its range, both or neither of values and bounds.
    """
    shape = check_positive_int("n_outputs", n_outputs), check_positive_int("n_inputs", n_inputs)
    check_seed("seed", seed)
    given = (singular_values is None) != (between is None)
    check(given, "singular_values", "be given, or else `between`", singular_values)
    if between is None:
        values = _check_values(singular_values, min(shape))
    else:
        values = _draw_values(between, min(shape), seed)
    target = np.zeros(shape)
    np.fill_diagonal(target, np.pad(values, (0, min(shape) - len(values))))
    if check_bool("rotate", rotate):
        left, right = (
            random_frame(size, size, seed, side)
            for size, side in zip(shape, ("left", "right"), strict=True)
        )
        target = left @ target @ right
    notes = (
        ("singular_values", ", ".join(f"{value:.6g}" for value in values)),
        ("rotate", rotate),
        ("seed", seed),
    )
    return make_task(np.eye(n_inputs), target.T, name="linear_map", notes=notes)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_values(given: Sequence[float] | None, most: int) -> Float[np.ndarray, "k"]:
    demand = f"hold 1 to {most} finite numbers of at least 0"
    good = isinstance(given, tuple | list) and 1 <= len(given) <= most
    good = good and all(_is_number(x) and 0 <= x < np.inf for x in given or ())
    check(good, "singular_values", demand, given)
    return np.sort(np.asarray(given, np.float64))[::-1]


def _draw_values(between: Sequence[float], count: int, seed: int) -> Float[np.ndarray, "k"]:
    good = isinstance(between, tuple | list) and len(between) == 2
    good = good and all(map(_is_number, between)) and 0 <= between[0] <= between[1] < np.inf
    check(good, "between", "be a pair (low, high) with 0 <= low <= high", between)
    return np.sort(make_generator(seed, "values").uniform(between[0], between[1], count))[::-1]
