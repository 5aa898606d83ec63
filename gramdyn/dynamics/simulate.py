"""`simulate` and `simulate_many`: from a system and a scheme to records."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gramdyn._checks import check_positive, check_positive_int
from gramdyn.dynamics.batch import choose_batching, map_runs, n_runs, pad_runs
from gramdyn.dynamics.loop import Recorder, trajectory
from gramdyn.dynamics.schemes import AbstractScheme
from gramdyn.dynamics.status import status_name
from gramdyn.systems.base import AbstractSystem

DIVERGED_ABOVE = 1e6


@dataclass(frozen=True)
class Result:
    """What came out of one run, or of many along a leading axis B.

    Attributes:
        records: Named arrays, shape (T, ...) or (B, T, ...); NaN after a failure.
        steps: Steps at which they were recorded, shape (T,).
        status: Codes of `Status`, shape () or (B,).
        failed_at: Step of the failure, -1 for none, shape () or (B,).
        step_size: Step size or time step, relative ones resolved, shape () or (B,).
        state: State at the end, a pytree, leaves with the run axis leading where there is one.
    """

    records: dict[str, Array]
    steps: np.ndarray
    status: Array
    failed_at: Array
    step_size: Array
    state: Any

    def __getitem__(self, name: str) -> Array:
        """The record called `name`."""
        return self.records[name]

    def __repr__(self) -> str:
        codes, counts = np.unique(np.asarray(self.status), return_counts=True)
        status = ", ".join(f"{n} {status_name(int(c))}" for c, n in zip(codes, counts, strict=True))
        records = ", ".join(f"{name} {tuple(v.shape)}" for name, v in self.records.items())
        return (
            f"Result of {np.size(self.status)} run(s): {status}\n"
            f"  steps    {self.steps[0]} to {self.steps[-1]}, {len(self.steps)} saved\n"
            f"  records  {records}"
        )


def simulate(
    system: AbstractSystem,
    scheme: AbstractScheme,
    n_steps: int,
    record: Recorder,
    *,
    diverged_above: float = DIVERGED_ABOVE,
) -> Result:
    """One trajectory, compiled as a whole.

    Args:
        system: What evolves, from its own initial state.
        scheme: How it is stepped.
        n_steps: Number of steps.
        record: What is looked at, and when (`gramdyn.Record`).
        diverged_above: A run whose loss exceeds this multiple of its first one has diverged.

    Raises:
        InputError: for a scheme the coordinates are not exact for, a diagnostic that does not read
            these fields, or counts below 1.
    """
    _check_run(system, scheme, n_steps, diverged_above)
    steps = record.saved_steps(n_steps)
    with jax.default_matmul_precision("highest"):
        # As arrays, so that another step size compiles nothing.
        scheme = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, float) else x, scheme)
        found = _run_one(system, scheme, record, gaps_between(steps), diverged_above)
    return _result(found, steps)


def simulate_many(
    build: Callable[[Any], tuple[AbstractSystem, AbstractScheme]],
    params: Any,
    n_steps: int,
    record: Recorder,
    *,
    batching: str = "auto",
    devices: tuple[jax.Device, ...] | None = None,
    diverged_above: float = DIVERGED_ABOVE,
) -> Result:
    """Many trajectories in one compiled program, sharded over all local devices.

    Each run equals the same run alone. Nothing is recompiled for other values of `params`.

    Args:
        build: From one run's parameters to its (system, scheme); traced once. Arrays it holds (an
            equinox module, say) are shared by all runs; arrays it closes over become constants.
        params: Pytree of arrays with a leading run axis: keys, step sizes, scales.
        n_steps: Number of steps.
        record: What is looked at, and when (`gramdyn.Record`).
        batching: "map" (one run after the other), "vmap" (in lockstep), or "auto": by platform and
            by the operations of a step.
        devices: Devices to split the runs over; all local ones by default.
        diverged_above: A run whose loss exceeds this multiple of its first one has diverged.

    Raises:
        InputError: as `simulate`.
    """
    check_positive_int("n_steps", n_steps)
    check_positive("diverged_above", diverged_above)
    steps = record.saved_steps(n_steps)
    devices = tuple(jax.local_devices()) if devices is None else devices
    runs = n_runs(params)
    devices = devices[: max(1, min(len(devices), runs))]
    padded = pad_runs(params, len(devices))
    with jax.default_matmul_precision("highest"):
        found = run_many(
            build, padded, record, gaps_between(steps), diverged_above, n_steps, batching, devices
        )
    found = jax.tree.map(lambda leaf: leaf[:runs], found)
    return _result(found, steps)


@eqx.filter_jit
def run_many(
    build: Callable[[Any], tuple[AbstractSystem, AbstractScheme]],
    params: Any,
    record: Recorder,
    gaps: Array,
    diverged_above: float,
    n_steps: int,
    batching: str,
    devices: tuple[jax.Device, ...],
    keep_state: bool = True,
) -> Any:
    """The compiled core of `simulate_many`: (records, status, failed_at, step_size, state).

    The state is None where it is not kept: of all runs together it is far more than the records.
    """
    shared, code = eqx.partition((build, record), eqx.is_array)

    def one(params: Any, shared: Any) -> Any:
        (build, record), gaps = eqx.combine(shared[0], code), shared[1]
        system, scheme = build(params)
        _check_run(system, scheme, n_steps, diverged_above)
        found = _outcome(*trajectory(system, scheme, record, gaps, diverged_above))
        return found if keep_state else (*found[:-1], None)

    platform = devices[0].platform if devices else jax.default_backend()
    if batching == "auto":
        batching = choose_batching(batching, platform, _step_flops(build, params))
    return map_runs(one, params, (shared, gaps), batching=batching, devices=devices)


def _step_flops(
    build: Callable[[Any], tuple[AbstractSystem, AbstractScheme]], params: Any
) -> float:
    """Operations of one run's step, from a trace of how it is built."""
    found = []

    def trace(params: Any) -> None:
        found.append(build(params)[0].step_flops())

    jax.eval_shape(trace, jax.tree.map(lambda leaf: leaf[0], params))
    return float(found[0])


@eqx.filter_jit
def _run_one(
    system: AbstractSystem,
    scheme: AbstractScheme,
    record: Recorder,
    gaps: Array,
    diverged_above: float,
) -> Any:
    return _outcome(*trajectory(system, scheme, record, gaps, diverged_above))


def _outcome(carry: Any, records: dict[str, Array]) -> Any:
    return records, carry.status, carry.failed_at, carry.scheme.step_size, carry.state


def _result(found: Any, steps: np.ndarray) -> Result:
    records, status, failed_at, step_size, state = found
    return Result(records, steps, status, failed_at, step_size, state)


def _check_run(
    system: AbstractSystem, scheme: AbstractScheme, n_steps: int, diverged_above: float
) -> None:
    check_positive_int("n_steps", n_steps)
    check_positive("diverged_above", diverged_above)
    system.check_scheme(scheme)


def gaps_between(steps: np.ndarray) -> Array:
    """Steps from each saved time to the next, 0 after the last, shape (T,)."""
    return jnp.asarray(np.diff(steps, append=steps[-1]), jnp.int32)
