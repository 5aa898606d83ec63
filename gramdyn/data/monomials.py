"""The task of a sum of products of inputs, such as a staircase."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from gramdyn._checks import check, check_positive_int, check_seed
from gramdyn.data._random import make_generator
from gramdyn.data.task import Task, make_task


def monomials(
    *,
    n_samples: int,
    n_inputs: int,
    terms: Sequence[Sequence[int]],
    n_heldout: int = 0,
    seed: int = 0,
) -> Task:
    """Gaussian inputs x ~ N(0, I) and y = sum over terms of the product of the inputs they name.

    Inputs are counted from 1: terms [[1], [1, 2], [1, 2, 3]] are the staircase
    x_1 + x_1 x_2 + x_1 x_2 x_3. Its last terms have heavy tails.

    Args:
        n_samples: Number of samples n.
        n_inputs: Number of inputs d.
        terms: Which inputs each product has, each from 1 to d.
        n_heldout: Number of further samples that are not trained on.
        seed: Seed of the inputs.

    Returns:
        Task with one output.

    Raises:
        InputError: An argument out of its range.
    """
    n, d = check_positive_int("n_samples", n_samples), check_positive_int("n_inputs", n_inputs)
    check_seed("n_heldout", n_heldout)
    listed = isinstance(terms, Sequence) and not isinstance(terms, str)
    check(listed, "terms", "list products of inputs", terms)
    places = [_check_term(term, d) for term in terms]
    check(len(places) > 0, "terms", "hold one product at least", terms)
    seen = make_generator(seed, "inputs").standard_normal((n, d))
    new = make_generator(seed, "held-out inputs").standard_normal((n_heldout, d))
    told = " + ".join(" ".join(f"x{i}" for i in term) for term in terms)
    return make_task(
        seen,
        _sum_of_products(seen, places),
        name="monomials",
        notes=(("target", told), ("seed", seed)),
        held_out=(new, _sum_of_products(new, places)) if n_heldout else None,
    )


def _check_term(term: Sequence[int], n_inputs: int) -> list[int]:
    """Places of a term's inputs, from 0."""
    listed = isinstance(term, Sequence) and not isinstance(term, str) and len(term) > 0
    good = listed and all(type(i) is int and 1 <= i <= n_inputs for i in term)
    check(good, "terms", f"list inputs from 1 to {n_inputs}", term)
    return [i - 1 for i in term]


def _sum_of_products(
    inputs: Float[np.ndarray, "n d"], places: list[list[int]]
) -> Float[np.ndarray, " n"]:
    return np.sum([inputs[:, term].prod(axis=1) for term in places], axis=0)
