"""Many runs at once: a function of one run mapped over a leading axis and over devices."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from gramdyn._checks import check, check_known

BATCHING = ("auto", "map", "vmap")


# Operations of a step below which all runs go in lockstep on CPU too.
_SMALL_STEP = 1e6


def choose_batching(batching: str, platform: str, step_flops: float = 0.0) -> str:
    """How to batch, "map" or "vmap": one run after the other on CPU, all in lockstep elsewhere.

    Measured on CPU, whole trajectories: a map keeps one run's arrays in cache and is flat in the
    number of runs, up to 2 times faster than vmap; but steps of less than a million operations cost
    more to start than to make, and are up to 6 times faster in lockstep. Accelerators need the
    batch to fill them.

    Args:
        batching: "map", "vmap", or "auto" for the choice.
        platform: Kind of the devices.
        step_flops: Operations of one run's step; 0 where they are not known.
    """
    check_known("batching", batching, BATCHING)
    if batching != "auto":
        return batching
    return "map" if platform == "cpu" and not 0 < step_flops < _SMALL_STEP else "vmap"


def map_runs(
    run: Callable[[Any, Any], Any],
    params: Any,
    shared: Any,
    *,
    batching: str,
    devices: tuple[jax.Device, ...] = (),
) -> Any:
    """`run(params[b], shared)` for every b, stacked; traceable.

    The axis is split over the devices outside and mapped inside each: a map over a sharded axis
    would gather it and repeat all work on every device.

    Args:
        run: Function of one run's parameters and of what all runs share.
        params: Pytree of arrays with a leading run axis of length B, a multiple of the devices.
        shared: Pytree of arrays without it.
        batching: "map" or "vmap".
        devices: Devices to split the axis over; the default device when empty or one.
    """

    def block(params: Any, shared: Any) -> Any:
        if batching == "map":
            return lax.map(lambda one: run(one, shared), params)
        return jax.vmap(lambda one: run(one, shared))(params)

    if len(devices) < 2:
        return block(params, shared)
    mesh = jax.make_mesh((len(devices),), ("runs",), axis_types=(AxisType.Auto,), devices=devices)
    split, whole = PartitionSpec("runs"), PartitionSpec()
    return jax.shard_map(
        block, mesh=mesh, in_specs=(split, whole), out_specs=split, check_vma=False
    )(params, shared)


def pad_runs(params: Any, multiple: int) -> Any:
    """Params filled up along the run axis to a multiple of `multiple` by repeating the last run."""

    def fill(leaf: Any) -> Any:
        missing = -leaf.shape[0] % multiple
        if not missing:
            return leaf
        library = np if isinstance(leaf, np.ndarray) else jnp
        return library.concatenate([leaf, library.repeat(leaf[-1:], missing, axis=0)])

    return jax.tree.map(fill, params)


def n_runs(params: Any) -> int:
    """Length of the leading run axis.

    Raises:
        InputError: if there is none, it is empty, or its length differs between leaves.
    """
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(params)]
    lengths = {shape[0] if shape else 0 for shape in shapes}
    good = len(lengths) == 1 and 0 not in lengths
    check(good, "params", "have one leading run axis of one length, at least 1", shapes)
    return int(lengths.pop())
