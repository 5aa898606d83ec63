"""The task of a smooth teacher."""

import numpy as np

from gramdyn._checks import check_positive, check_positive_int
from gramdyn.data._random import make_generator
from gramdyn.data.task import Task, make_task


def tanh_teacher(
    *,
    n_samples: int,
    n_inputs: int,
    n_outputs: int = 1,
    teacher_width: int = 12,
    sharpness: float = 2.0,
    seed: int = 0,
) -> Task:
    """Targets y = A tanh(sharpness W x) of x ~ N(0, I), W ~ N(0, 1 / d), A ~ N(0, 1 / k).

    Entries of x are of order one, so the arguments of tanh have the standard deviation `sharpness`.

    Args:
        n_samples: Number of samples n.
        n_inputs: Number of inputs d.
        n_outputs: Number of outputs C.
        teacher_width: Hidden units k of the teacher.
        sharpness: Factor inside tanh, above 0.
        seed: Seed of inputs and teacher.

    Returns:
        Task without labels.

    Raises:
        InputError: An argument out of its range.
    """
    n, d = check_positive_int("n_samples", n_samples), check_positive_int("n_inputs", n_inputs)
    outputs = check_positive_int("n_outputs", n_outputs)
    k = check_positive_int("teacher_width", teacher_width)
    factor = check_positive("sharpness", sharpness)
    inputs = make_generator(seed, "inputs").standard_normal((n, d))
    teacher = make_generator(seed, "teacher")
    hidden = teacher.standard_normal((k, d)) / np.sqrt(d)
    readout = teacher.standard_normal((outputs, k)) / np.sqrt(k)
    targets = np.tanh(factor * inputs @ hidden.T) @ readout.T
    notes = (("teacher_width", k), ("sharpness", factor), ("seed", seed))
    return make_task(inputs, targets, name="tanh_teacher", notes=notes)
