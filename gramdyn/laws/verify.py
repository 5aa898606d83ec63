"""Every law that applies, checked on the states of a configuration's own runs."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from gramdyn._checks import check_known
from gramdyn._errors import InputError
from gramdyn.diagnostics.base import Instant
from gramdyn.diagnostics.record import Record
from gramdyn.dynamics import Result, simulate
from gramdyn.dynamics.schemes import AbstractScheme
from gramdyn.dynamics.status import status_name
from gramdyn.laws.moment import Moment
from gramdyn.laws.registry import LAWS, Law, Sizes, samples_for
from gramdyn.models.network import Network
from gramdyn.plan.config import Config
from gramdyn.plan.plan import Group, Plan, make_plan
from gramdyn.systems import (
    AbstractFields,
    AbstractSystem,
    MomentFields,
    MomentSystem,
    NetworkFields,
    NetworkSystem,
    PlantedSystem,
    SquaredLoss,
)


@dataclass(frozen=True)
class Verdict:
    """What became of one law in one group of runs.

    Attributes:
        law: Name of the law.
        group: Name of the group, as `gramdyn plan` tells it.
        step: Step of the run at which the error was largest, -1 where nothing was checked.
        error: The largest relative error over the checked steps, None where nothing was checked.
        tolerance: Largest error of a law that holds.
        holds: Whether it holds; None where nothing was checked.
        note: What else there is to say: samples checked, flips, what was skipped.
        applies: Whether the law says anything of the group; the note has the reason where not.
    """

    law: str
    group: str
    step: int
    error: float | None
    tolerance: float
    holds: bool | None
    note: str = ""
    applies: bool = True


def verify_config(
    config: Config,
    laws: Sequence[str] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Verdict]:
    """As `verify_plan`, from the configuration."""
    return verify_plan(make_plan(config), laws, tell)


def verify_plan(
    plan: Plan,
    laws: Sequence[str] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Verdict]:
    """Check every law that applies on the first run of each group, at four times of it.

    The run is made in its own precision, coordinates and scheme. At its start, a third, two thirds
    and its end the weights are taken, rounded to single precision and checked in float64: laws
    hold for any weights, and those of a converged run lie within rounding of kinks, where a mask
    means nothing. Checks that hold too much at once see the first samples alone, and say so.

    Args:
        plan: What `gramdyn.make_plan` gives.
        laws: Names in `LAWS`; all by default.
        tell: Called with a line of progress before each group.

    Returns:
        One verdict a law and group; laws that say nothing about a group are left out, or tell why.

    Raises:
        InputError: for an unknown law, or a run that starts with a loss that is not finite.

    Cost: the runs themselves, and a few seconds a group, most of them compiling.
    """
    chosen = [LAWS[check_known("law", name, LAWS)] for name in (LAWS if laws is None else laws)]
    found = []
    for i, group in enumerate(plan.groups):
        tell(f"group {i + 1} of {len(plan.groups)}: {group.name}, {group.n_steps} steps")
        found += _verify_group(group, plan, chosen)
    return found


@dataclass(frozen=True)
class _Run:
    """States of a run in float64 and weight coordinates: a system that starts at each.

    The note says what became of the run where that is not the usual.
    """

    moments: dict[int, NetworkSystem]
    scheme: AbstractScheme
    note: str


def _verify_group(group: Group, plan: Plan, laws: Sequence[Law]) -> list[Verdict]:
    run = _run(group, plan)
    if not run.moments:
        raise InputError(f"Group `{group.name}`: no state of its first run has a finite loss.")
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        system = next(iter(run.moments.values()))
        applies = lambda law: law.applies(system.start, run.scheme)  # noqa: E731
        why = {one: one.excuse(system.start, run.scheme) for one in laws if not applies(one)}
        size = Sizes.of(system)
        counts = {law: samples_for(law, size) for law in laws if law not in why}
        found = _examine(run, {law: count for law, count in counts.items() if count})
    told = [law for law in laws if law not in why or why[law]]
    return [
        _excused(law, group.name, why[law])
        if law in why
        else _judge(law, group.name, found[law.name], counts[law], size, run)
        for law in told
    ]


def _excused(law: Law, group: str, why: str) -> Verdict:
    """Of a law that does not apply, where it says why."""
    note = f"does not apply: {why}"
    return Verdict(law.name, group, -1, None, law.tolerance, None, note, applies=False)


def _run(group: Group, plan: Plan) -> _Run:
    """The first run of a group at its checked steps; a failed run up to its failure."""
    dtype = plan.runtime.dtype
    n = group.n_steps
    steps = sorted({0, n // 3, 2 * n // 3, n})
    record = Record([Instant("weights", _leaves, needs=AbstractFields)], at=steps)
    with plan.runtime.precision():
        params = jax.tree.map(lambda leaf: jnp.asarray(_cast(leaf, dtype)[0]), group.params)
        system, scheme = group.build(params)
        _check_lawful(system)
        diverged = plan.config.runtime.diverged_above
        result = simulate(system, scheme, n, record, diverged_above=diverged)
    structure = jax.tree.structure(system.initial_state())
    host: dict[str, np.ndarray] = {name: np.asarray(leaf) for name, leaf in result.records.items()}
    with jax.enable_x64(True):
        system = _as_float64(_on_data(system, group))
        moments = {}
        for i, step in enumerate(result.steps):
            leaves = [host[str(k)][i] for k in range(len(host))]
            if all(np.all(np.isfinite(leaf)) for leaf in leaves):
                state = jax.tree.unflatten(structure, leaves)
                moments[int(step)] = _start_at(system, _as_float64(state))
        step_size = jnp.asarray(np.asarray(result.step_size), jnp.float64)
    return _Run(moments, scheme.with_step_size(step_size), _note(result, moments))


def _check_lawful(system: AbstractSystem) -> None:
    """Refuse what the laws say nothing of."""
    if isinstance(system, PlantedSystem):
        raise InputError(
            "The laws are those of networks on samples; the population of coordinates thin has "
            "its own: gramdyn paper planted-formulas."
        )
    if not isinstance(system, NetworkSystem | MomentSystem):
        raise InputError(
            "The laws are those of one network on its targets; this run trains a "
            f"{type(system).__name__}."
        )
    if isinstance(system, NetworkSystem) and system.start.shares_weights:
        raise InputError("The laws are those of dense layers; this run has convolutions.")
    if system.start.depth == 0:
        raise InputError("The laws are those of networks with hidden layers; this run has none.")


def _on_data(system: AbstractSystem, group: Group) -> NetworkSystem:
    """The system of the group's first run on its training samples, whatever its coordinates."""
    if isinstance(system, NetworkSystem):
        return system
    assert isinstance(system, MomentSystem)
    task = group.tasks[int(group.params["task"][0])].cast(jnp.float64)
    loss = SquaredLoss(group.config.loss.reduction)
    inputs, targets = jnp.asarray(task.inputs), jnp.asarray(task.targets)
    return NetworkSystem(system.start, None, inputs, targets, loss)


def _note(result: Result, moments: dict[int, NetworkSystem]) -> str:
    if int(result.status) != 0:
        return f"run {status_name(int(result.status))} at step {int(result.failed_at)}"
    first, *others = [jax.tree.leaves(system.initial_state()) for system in moments.values()]
    pairs = [zip(first, other, strict=True) for other in others]
    still = all(bool(np.array_equal(one, two)) for pair in pairs for one, two in pair)
    return "nothing moved" if still else ""


def _leaves(fields: NetworkFields | MomentFields) -> dict[str, Any]:
    """The trained arrays, by number."""
    leaves = jax.tree.leaves(fields.network.partition()[0])
    return {str(i): leaf for i, leaf in enumerate(leaves)}


def _cast(leaf: np.ndarray, dtype: str) -> np.ndarray:
    return leaf.astype(dtype) if leaf.dtype.kind == "f" else leaf


def _as_float64(tree: Any) -> Any:
    is_float = lambda leaf: eqx.is_array_like(leaf) and np.asarray(leaf).dtype.kind == "f"  # noqa: E731
    cast = lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64)  # noqa: E731
    return jax.tree.map(lambda leaf: cast(leaf) if is_float(leaf) else leaf, tree)


def _start_at(system: NetworkSystem, state: Network) -> NetworkSystem:
    """The system in weight coordinates that starts at a state, trained numbers rounded."""
    trained, rest = system.network(state).partition()
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.float32).astype(jnp.float64), trained)
    network: Network = eqx.combine(rounded, rest)
    return NetworkSystem(network, None, system.inputs, system.targets, system.loss, system.offset)


def _first(system: NetworkSystem, count: int) -> NetworkSystem:
    """The system on its first samples alone."""
    offset = None if system.offset is None else system.offset[:count]
    return NetworkSystem(
        system.start, None, system.inputs[:count], system.targets[:count], system.loss, offset
    )


# The program is large and runs four times: most of its cost is compiling, which this halves.
_QUICK = {"xla_backend_optimization_level": 0}

Checked = list[tuple[int, float, int]]


def _examine(run: _Run, laws: dict[Law, int]) -> dict[str, Checked]:
    """(step, error, number seen) of each law at each checked step; one program for all of them."""
    code: Any = None

    def examine(arrays: Any) -> dict[str, Any]:
        system, scheme = eqx.combine(arrays, code)
        seen = {count: Moment(_first(system, count), scheme) for count in set(laws.values())}
        return {law.name: law.check(seen[count]) for law, count in laws.items()}

    program = jax.jit(examine, compiler_options=_QUICK)
    found: dict[str, Checked] = defaultdict(list)
    for step, system in run.moments.items():
        arrays, code = eqx.partition((system, run.scheme), eqx.is_array)
        for name, one in program(arrays).items():
            found[name].append((step, float(one.error), int(one.seen)))
    return found


def _judge(law: Law, group: str, found: Checked, count: int, size: Sizes, run: _Run) -> Verdict:
    if not found:
        return Verdict(law.name, group, -1, None, law.tolerance, None, "skipped: size")
    notes = [f"{count} of {size.samples} samples"] if count < size.samples else []
    if law.counts:
        notes.append(f"{sum(one[2] for one in found)} {law.counts}")
    if run.note:
        notes.append(f"{run.note}, {len(found)} state(s) checked")
    # A NaN is the worst of all.
    step, error, _ = max(found, key=lambda one: math.inf if math.isnan(one[1]) else one[1])
    holds = error <= law.tolerance
    return Verdict(law.name, group, step, error, law.tolerance, holds, ", ".join(notes))
