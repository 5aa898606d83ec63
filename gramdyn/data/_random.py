"""Random numbers for tasks: one independent stream for each purpose."""

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check_seed


def make_generator(seed: int, purpose: str) -> np.random.Generator:
    """Random stream that depends on the seed and on what its numbers are for.

    Streams of different purposes are independent, so drawing more or other targets leaves the
    inputs of the same seed as they were.

    Args:
        seed: Whole number of at least 0.
        purpose: Name of what is drawn, such as "inputs".

    Returns:
        A numpy generator at the start of its stream.

    Raises:
        InputError: The seed is not a whole number of at least 0.
    """
    spawn_key = tuple(purpose.encode())
    return np.random.default_rng(
        np.random.SeedSequence(check_seed("seed", seed), spawn_key=spawn_key)
    )


def random_frame(n: int, d: int, seed: int, purpose: str) -> Float[np.ndarray, "n d"]:
    """Orthonormal rows, n of them in d >= n dimensions, no direction preferred (Haar)."""
    columns, triangle = np.linalg.qr(make_generator(seed, purpose).standard_normal((d, n)))
    return (columns * np.sign(np.diag(triangle))).T  # the signs QR leaves open would bias it
