"""Which layout of the same computation is fastest on this platform?

Six choices that change no result. Of each, the way the library takes comes first, and the goal is
that it costs at most 1.1 times the fastest; every way must first give what the first gives.

runs       many networks: a map, in lockstep (vmap), or a map of small blocks in lockstep
unroll     steps between records: a loop of any length, or of known length, unrolled 1, 2, 4 times
donate     a program of few steps whose weights come in and go out: given up by the caller or not
products   small products of many networks: mapped outside a loop or inside it, or all in one
symmetric  A A^T: whole, or its upper blocks alone and mirrored
masks      products of 0/1 masks, exact: in float32, bfloat16 or int8, summed in float32 or int32

    taskset -c 0 python benchmarks/layouts.py [--quick] [--only runs ...] [--rounds 3] [--out FILE]

float32; least seconds of the rounds, all ways of a row in turn in one process. CPU seconds decide
on a CPU, wall seconds elsewhere.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))

from library import WANTED, Build
from problem import CASES, Case, data, initial

import gramdyn as gd
from gramdyn.dynamics.batch import choose_batching
from gramdyn.dynamics.loop import trajectory
from gramdyn.dynamics.simulate import DIVERGED_ABOVE, gaps_between
from gramdyn.store.manifest import versions

GOAL = 1.1
# Losses after some hundred float32 steps, summed in another order; products of some hundred terms.
SAME_LOSS, SAME_PRODUCT = 1e-3, 1e-4
BLOCKS = (2, 4, 8)

Ways = dict[str, Callable[[], Any]]


@dataclass(frozen=True)
class Effort:
    """How much is measured: rounds, seconds of one measurement at least, and whether in earnest."""

    rounds: int
    least: float
    quick: bool


@dataclass(frozen=True)
class Row:
    """One choice on one case.

    Attributes:
        choice: Which of the questions.
        case: Sizes.
        cpu: CPU seconds of each way.
        wall: Wall seconds of each.
        over_best: The library's way, which is the first, over the fastest.
    """

    choice: str
    case: str
    cpu: dict[str, float]
    wall: dict[str, float]
    over_best: float


def compare(choice: str, case: str, ways: Ways, effort: Effort, same: float) -> Row:
    """Check that all ways agree, then time them in turn."""
    first, *others = [np.asarray(way(), np.float64) for way in ways.values()]
    for name, found in zip([*ways][1:], others, strict=True):
        gap = np.max(np.abs(found - first)) / np.max(np.abs(first))
        assert gap <= same, f"{choice}, {case}: {name} is off by {gap:.1e}"
    best = {name: (np.inf, np.inf) for name in ways}
    for _ in range(effort.rounds):
        for name, way in ways.items():
            spent = seconds(way, effort.least)
            best[name] = tuple(map(min, best[name], spent))
    cpu, wall = ({name: pair[i] for name, pair in best.items()} for i in (0, 1))
    decides = [*(cpu if jax.default_backend() == "cpu" else wall).values()]
    return Row(choice, case, cpu, wall, decides[0] / min(decides))


def seconds(way: Callable[[], Any], least: float) -> tuple[float, float]:
    """CPU and wall seconds a call, over calls that take at least so long together."""
    calls, cpu, wall = 0, time.process_time(), time.perf_counter()
    while calls == 0 or time.perf_counter() - wall < least:
        way()
        calls += 1
    return (time.process_time() - cpu) / calls, (time.perf_counter() - wall) / calls


def waited(program: Callable[..., Any], *given: Any) -> Callable[[], Any]:
    """A call of a program that ends when it does."""
    return lambda: jax.block_until_ready(program(*given))


def cases(effort: Effort, *names: str) -> list[Case]:
    return [CASES[name] for name in (("tiny",) if effort.quick else names)]


def runs(effort: Effort) -> Iterator[Row]:
    """Networks one after the other, in lockstep, or in blocks; everything recorded."""
    many = () if effort.quick else (replace(CASES["small"], name="small", seeds=128),)
    for case in (*cases(effort, "small", "medium", "wide"), *many):
        blocks = (block for block in BLOCKS if block <= case.seeds)
        ways = {how: by_library(case, how) for how in ("map", "vmap")}
        ways |= {f"map of {block}": in_blocks(case, block) for block in blocks}
        chosen = choose_batching("auto", jax.default_backend())
        ways = {chosen: ways[chosen], **ways}
        yield compare("runs", f"{case.name}, {case.seeds} seeds", ways, effort, SAME_LOSS)


def library_work(case: Case) -> tuple[Any, Any, gd.Record]:
    """Build, parameters and record of the library's own way of `peers/library.py`."""
    weights, signs = initial(case, "float32")
    params = [jnp.asarray(weight.swapaxes(1, 2)) for weight in weights], jnp.asarray(signs)
    build = Build(gd.make_task(*data(case)).cast("float32"), case.step_size)
    return build, params, gd.Record(WANTED, every=case.every)


def by_library(case: Case, batching: str) -> Callable[[], Any]:
    build, params, record = library_work(case)
    device = tuple(jax.local_devices()[:1])

    def run() -> Any:
        found = gd.simulate_many(
            build, params, case.steps, record, batching=batching, devices=device
        )
        jax.block_until_ready(found.records)
        return found["loss"]

    return run


def in_blocks(case: Case, block: int) -> Callable[[], Any]:
    """The library's trajectories, so many in lockstep at a time."""
    build, params, record = library_work(case)
    gaps = gaps_between(record.saved_steps(case.steps))

    @eqx.filter_jit
    def program(build: Any, params: Any, gaps: Any) -> Any:
        def one(params: Any) -> Any:
            carry, records = trajectory(*build(params), record, gaps, DIVERGED_ABOVE)
            return records, carry.state

        return lax.map(one, params, batch_size=block)

    def run() -> Any:
        with jax.default_matmul_precision("highest"):
            return jax.block_until_ready(program(build, params, gaps))[0]["loss"]

    return run


def step(case: Case, given: tuple[Any, Any, Any], layers: list[Any], _: Any = None) -> list[Any]:
    """The layers a step of gradient descent later, the first as its preactivations."""
    gram, targets, readout = given
    acts = [jnp.maximum(layers[0], 0)]
    for weight in layers[1:]:
        acts.append(jnp.maximum(acts[-1] @ weight, 0))
    drive = jnp.where(acts[-1] > 0, (acts[-1] @ readout - targets)[:, None] * readout, 0)
    moves = []
    for weight, act in zip(layers[:0:-1], acts[-2::-1], strict=True):
        moves.append(act.T @ drive)
        drive = jnp.where(act > 0, drive @ weight.T, 0)
    moves.append(gram @ drive)
    rate = case.step_size / case.n_samples
    return [layer - rate * move for layer, move in zip(layers, moves[::-1], strict=True)]


def bare_work(case: Case) -> tuple[Any, Any, tuple[list[Any], Any]]:
    """Gram and targets, and the layers and readouts of all networks."""
    inputs, targets = map(jnp.asarray, data(case, "float32"))
    layers, signs = jax.tree.map(jnp.asarray, initial(case, "float32"))
    return inputs @ inputs.T, targets, ([inputs @ layers[0], *layers[1:]], signs)


def unroll(effort: Effort) -> Iterator[Row]:
    """Steps in loops, a map over networks outside."""
    for case in cases(effort, "small", "medium", "wide"):
        gram, targets, states = bare_work(case)

        def known(times: int, case: Case, given: Any, layers: list[Any], count: Any) -> list[Any]:
            del count
            body = lambda layers, _: (step(case, given, layers), None)  # noqa: E731
            return lax.scan(body, layers, length=case.steps, unroll=times)[0]

        def unknown(case: Case, given: Any, layers: list[Any], count: Any) -> list[Any]:
            return lax.fori_loop(0, count, lambda _, x: step(case, given, x), layers)

        loops = {"any length": unknown}
        loops |= {f"unrolled {times}": partial(known, times) for times in (1, 2, 4)}
        ways = {
            name: waited(mapped(case, loop), gram, targets, states, case.steps)
            for name, loop in loops.items()
        }
        yield compare("unroll", f"{case.name}, {case.seeds} seeds", ways, effort, SAME_LOSS)


def mapped(case: Case, loop: Callable[..., list[Any]]) -> Callable[..., Any]:
    """The outputs of all networks after a loop of steps."""

    @jax.jit
    def program(gram: Any, targets: Any, states: Any, count: Any) -> Any:
        def one(state: tuple[list[Any], Any]) -> Any:
            layers, readout = state
            layers = loop(case, (gram, targets, readout), layers, count)
            act = jnp.maximum(layers[0], 0)
            for weight in layers[1:]:
                act = jnp.maximum(act @ weight, 0)
            return act @ readout

        return lax.map(one, states)

    return program


def donate(effort: Effort) -> Iterator[Row]:
    """Two steps a call, each from where the one before ended."""
    for case in cases(effort, "small", "medium", "wide"):
        ways = {name: chained(case, given) for name, given in (("kept", ()), ("donated", (0,)))}
        yield compare("donate", f"{case.name}, 2 steps a call", ways, effort, SAME_LOSS)


def chained(case: Case, donated: tuple[int, ...]) -> Callable[[], Any]:
    """A program of two steps, called on what it gave; shows the first weights it made."""
    gram, targets, (layers, signs) = bare_work(case)

    @partial(jax.jit, donate_argnums=donated)
    def program(layers: list[Any], signs: Any) -> list[Any]:
        def one(state: tuple[list[Any], Any]) -> list[Any]:
            given = gram, targets, state[1]
            return lax.fori_loop(0, 2, lambda _, x: step(case, given, x), state[0])

        return lax.map(one, (layers, signs))

    held = [jax.tree.map(jnp.copy, layers)]

    def run() -> Any:
        held[0] = jax.block_until_ready(program(held[0], signs))
        return held[0][0][0, 0]

    return run


def products(effort: Effort) -> Iterator[Row]:
    """Products x W W^T, again and again, one orthogonal W a network."""
    times = 2 if effort.quick else 50
    n, seeds, widths = (8, 4, (8,)) if effort.quick else (64, 16, (32, 64, 128, 256))
    rng = np.random.default_rng(0)
    for width in widths:
        left = jnp.asarray(rng.normal(size=(seeds, n, width)), jnp.float32)
        square = rng.normal(size=(seeds, width, width))
        right = jnp.asarray(np.linalg.qr(square)[0], jnp.float32)
        programs = {"mapped outside": outside, "mapped inside": inside, "all in one": in_one}
        if choose_batching("auto", jax.default_backend()) == "vmap":
            programs = {"all in one": in_one, **programs}
        ways = {
            name: waited(jax.jit(partial(program, times)), left, right)
            for name, program in programs.items()
        }
        yield compare("products", f"n {n}, N {width}, {seeds} seeds", ways, effort, SAME_PRODUCT)


def outside(times: int, left: Any, right: Any) -> Any:
    there_and_back = lambda pair: in_one(times, *pair)  # noqa: E731
    return lax.map(there_and_back, (left, right))


def inside(times: int, left: Any, right: Any) -> Any:
    one = lambda pair: (pair[0] @ pair[1]) @ pair[1].T  # noqa: E731
    return lax.fori_loop(0, times, lambda _, x: lax.map(one, (x, right)), left)


def in_one(times: int, left: Any, right: Any) -> Any:
    back = jnp.swapaxes(right, -1, -2)
    return lax.fori_loop(0, times, lambda _, x: (x @ right) @ back, left)


def symmetric(effort: Effort) -> Iterator[Row]:
    """Gram matrices of some networks, one after the other."""
    rng = np.random.default_rng(0)
    for n in (16,) if effort.quick else (64, 128, 256, 512):
        rows = jnp.asarray(rng.normal(size=(8, n, 256)), jnp.float32)
        ways = {"whole": waited(jax.jit(partial(lax.map, lambda a: a @ a.T)), rows)}
        for count in (2, 4):
            program = jax.jit(partial(lax.map, partial(upper, count)))
            ways[f"{count} x {count} blocks"] = waited(program, rows)
        yield compare("symmetric", f"n {n}, N 256", ways, effort, SAME_PRODUCT)


def upper(count: int, rows: Any) -> Any:
    """A A^T from its blocks on and above the diagonal."""
    parts = jnp.split(rows, count)
    above = {(i, j): parts[i] @ parts[j].T for i in range(count) for j in range(i, count)}
    whole = [[above[i, j] if i <= j else above[j, i].T for j in range(count)] for i in range(count)]
    return jnp.block(whole)


def masks(effort: Effort) -> Iterator[Row]:
    """Counts of units that two samples share, whole numbers up to the width."""
    rng = np.random.default_rng(0)
    kinds = {
        "float32": (jnp.float32, jnp.float32),
        "bfloat16": (jnp.bfloat16, jnp.float32),
        "int8": (jnp.int8, jnp.int32),
    }
    for n, width in ((16, 32),) if effort.quick else ((64, 64), (128, 256), (512, 1024)):
        # From bools: making the numbers is part of the work.
        given = jnp.asarray(rng.random((8, n, width)) < 0.5)
        ways = {}
        for name, (kind, summed) in kinds.items():
            one = partial(shared_units, kind, summed)
            ways[name] = waited(jax.jit(partial(lax.map, one)), given)
        yield compare("masks", f"n {n}, N {width}", ways, effort, 0.0)


def shared_units(kind: Any, summed: Any, mask: Any) -> Any:
    numbers = mask.astype(kind)
    counts = jnp.matmul(numbers, numbers.T, preferred_element_type=summed)
    return counts.astype(jnp.float32)


CHOICES = {one.__name__: one for one in (runs, unroll, donate, products, symmetric, masks)}


def show(row: Row) -> None:
    """Print one line of the table."""
    cpu, wall = (
        ", ".join(f"{name} {1e3 * one:.4g}" for name, one in times.items())
        for times in (row.cpu, row.wall)
    )
    found = f"{next(iter(row.cpu))} | {row.over_best:.2f} | <= {GOAL}"
    print(f"| {row.choice} | {row.case} | {found} | {cpu} | {wall} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--only", nargs="+", choices=CHOICES, default=[*CHOICES])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    effort = Effort(1, 0.0, True) if given.quick else Effort(given.rounds, 0.2, False)
    print("| choice | case | library | over fastest | goal | CPU ms | wall ms |")
    print("| --- " * 7 + "|")
    rows = []
    for name in given.only:
        for row in CHOICES[name](effort):
            rows.append(row)
            show(row)
    device, load = jax.local_devices()[0], os.getloadavg()
    print(f"{device.device_kind}, load average {load[0]:.1f}")
    told = {"device": device.device_kind, "load": load, "versions": versions()}
    if given.out:
        told["rows"] = [asdict(row) for row in rows]
        given.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
