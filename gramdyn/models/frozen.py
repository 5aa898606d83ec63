"""Which arrays of a module train: a partition by name."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import equinox as eqx
import jax

from gramdyn._errors import InputError


def trained_spec(module: Any, frozen: Sequence[str], trainable: bool = True) -> Any:
    """The module with True for each floating array that trains and False for every other leaf.

    Args:
        module: Any equinox module.
        frozen: Names of arrays, or of modules, that never train; dots lead into modules.
        trainable: False for none.

    Raises:
        InputError: for a name that the module does not have.
    """
    spec = jax.tree.map(lambda leaf: trainable and eqx.is_inexact_array(leaf), module)
    for name in frozen:
        try:
            part = attrgetter(name)(module)
        except AttributeError:
            told = f"{type(module).__name__} has no array `{name}`, which its `frozen` names."
            raise InputError(told) from None
        if part is not None:
            still = jax.tree.map(lambda _: False, part)
            spec = eqx.tree_at(attrgetter(name), spec, still)
    return spec
