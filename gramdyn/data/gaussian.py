"""Tasks with Gaussian or spherical inputs and targets drawn at random or planted."""

import math

import numpy as np
from jaxtyping import Float

from gramdyn._checks import (
    check_bool,
    check_known,
    check_nonnegative,
    check_positive,
    check_positive_int,
)
from gramdyn.data import scaling
from gramdyn.data._random import make_generator
from gramdyn.data.task import Task, make_task

TARGETS = ("random", "linear", "relu_teacher")


def gaussian(
    *,
    n_samples: int,
    n_inputs: int,
    n_outputs: int = 1,
    target: str = "random",
    norm: float = 1.0,
    on_sphere: bool = False,
    whiten: bool = False,
    teacher_width: int = 4,
    noise: float = 0.0,
    seed: int = 0,
) -> Task:
    """Gaussian inputs, or inputs on a sphere, with random or planted targets.

    Inputs: x ~ N(0, norm^2 / d) in each entry, so that |x|^2 is norm^2 on average; on the sphere
    |x| is norm exactly. Targets of every kind have mean 0 and variance 1 in expectation over the
    inputs, before noise:

        random        y ~ N(0, 1), independent of x
        linear        y_c = u . b_c,  u = x sqrt(d) / norm,  b_c a random unit vector
        relu_teacher  y_c = (a_c . relu(W u) - mean_c) / sd_c, the k rows of W random unit vectors,
                      a_c ~ N(0, 1); mean_c and sd_c are exact for this W and a_c: over Gaussian u,
                      E relu(w.u) = 1 / sqrt(2 pi) and, at angle t between w and v,
                      E relu(w.u) relu(v.u) = (sin t + (pi - t) cos t) / (2 pi).
                      On the sphere the second law is the same and the mean is larger by
                      sqrt(d) / E|g|, g ~ N(0, I_d).

    Inputs, teacher and noise come from separate random streams: changing the kind of target, the
    number of outputs or the noise leaves the inputs as they are.

    Args:
        n_samples: Number of samples n.
        n_inputs: Number of features d.
        n_outputs: Number of outputs C.
        target: Kind of target: "random", "linear" or "relu_teacher".
        norm: Length of an input, root mean square (or exact, on the sphere).
        on_sphere: Put every input at distance `norm` from 0.
        whiten: Make X^T X / n the identity on the span of the inputs, in place of `norm`; targets
            are those of the inputs before it.
        teacher_width: Hidden units k of the ReLU teacher; other targets do not use it.
        noise: Standard deviation of Gaussian noise added to the targets.
        seed: Seed of everything drawn here.

    Returns:
        Task without labels.

    Raises:
        InputError: An argument out of its range.
    """
    shape = (check_positive_int("n_samples", n_samples), check_positive_int("n_inputs", n_inputs))
    check_positive_int("n_outputs", n_outputs)
    check_positive_int("teacher_width", teacher_width)
    check_known("target", target, TARGETS)
    check_nonnegative("noise", float(noise))
    units = _unit_inputs(*shape, check_bool("on_sphere", on_sphere), seed)
    inputs = units * (check_positive("norm", float(norm)) / math.sqrt(n_inputs))
    inputs = scaling.whiten(inputs) if scaling.check_whitening(whiten, norm) else inputs
    targets = _clean_targets(target, units, n_outputs, teacher_width, on_sphere, seed)
    if noise > 0:
        targets = targets + noise * make_generator(seed, "noise").standard_normal(targets.shape)
    notes = (
        ("target", target),
        *((("teacher_width", teacher_width),) if target == "relu_teacher" else ()),
        ("norm", float(norm)),
        ("on_sphere", on_sphere),
        ("whiten", whiten),
        ("noise", float(noise)),
        ("seed", seed),
    )
    return make_task(inputs, targets, name="gaussian", notes=notes)


def _unit_inputs(n: int, d: int, on_sphere: bool, seed: int) -> Float[np.ndarray, "n d"]:
    """Inputs whose entries have mean 0 and variance 1: N(0, 1), or the sphere of radius sqrt(d)."""
    units = make_generator(seed, "inputs").standard_normal((n, d))
    return scaling.norm_each(units, math.sqrt(d)) if on_sphere else units


def _clean_targets(
    target: str,
    units: Float[np.ndarray, "n d"],
    n_outputs: int,
    teacher_width: int,
    on_sphere: bool,
    seed: int,
) -> Float[np.ndarray, "n C"]:
    """Targets of one kind without noise; mean 0 and variance 1 in expectation over the inputs."""
    generator = make_generator(seed, f"target {target}")
    n, d = units.shape
    if target == "random":
        return generator.standard_normal((n, n_outputs))
    if target == "linear":
        return units @ _directions(generator, n_outputs, d).T
    weights = _directions(generator, teacher_width, d)
    readout = generator.standard_normal((n_outputs, teacher_width))
    mean, covariance = _relu_moments(weights, on_sphere)
    variance = np.einsum("ci,ij,cj->c", readout, covariance, readout)
    return (np.maximum(units @ weights.T, 0.0) - mean) @ readout.T / np.sqrt(variance)


def _directions(generator: np.random.Generator, k: int, d: int) -> Float[np.ndarray, "k d"]:
    """Random unit vectors, one a row."""
    return scaling.norm_each(generator.standard_normal((k, d)))


def _relu_moments(
    weights: Float[np.ndarray, "k d"], on_sphere: bool
) -> tuple[float, Float[np.ndarray, "k k"]]:
    """Mean of relu(w.u), the same for every unit row w, and covariance of two of them."""
    cosine = np.clip(weights @ weights.T, -1.0, 1.0)
    np.fill_diagonal(cosine, 1.0)
    angle = np.arccos(cosine)
    second = (np.sin(angle) + (math.pi - angle) * cosine) / (2.0 * math.pi)
    mean = 1.0 / math.sqrt(2.0 * math.pi)
    if on_sphere:  # |u| is sqrt(d) there, and E|g| for a Gaussian: the mean grows by their ratio
        d = weights.shape[1]
        mean_length = math.sqrt(2.0) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))
        mean *= math.sqrt(d) / mean_length
    return mean, second - mean**2
