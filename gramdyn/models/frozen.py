"""Which arrays of a module train: a partition by name."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import equinox as eqx
import jax


def trained_spec(module: Any, frozen: Sequence[str], trainable: bool = True) -> Any:
    """The module with True for each array that trains and False for every other leaf.

    Args:
        module: Any equinox module.
        frozen: Names of arrays, or of modules, that never train; dots lead into modules.
        trainable: False for none.
    """
    spec = jax.tree.map(lambda leaf: trainable and eqx.is_array(leaf), module)
    for name in frozen:
        part = attrgetter(name)(module)
        if part is not None:
            still = jax.tree.map(lambda _: False, part)
            spec = eqx.tree_at(attrgetter(name), spec, still)
    return spec
