"""What does a step of both layers on a planted map cost, against a loop by hand; how does it grow?

Gradient descent on the population, many seeds at once, the loss recorded every 100 steps. Ways:

library       `gramdyn.simulate_many` of a `PlantedSystem` in thin coordinates
by hand       the same gradient in bare JAX with `@` on all d inputs, vmap over seeds, one program
thin by hand  the same in thin coordinates
own parts     the library's `population_gradient` in a loop by hand: what the engine adds
one at a time NumPy in thin coordinates, a seed after the other, as most scripts are

Every way must first give the library's losses. Growth is fitted over four sizes each.

    taskset -c 0 python benchmarks/planted.py [--quick] [--large] [--rounds 3] [--out FILE]

float64, microseconds a step of one trajectory, least of the rounds, all ways in turn; CPU seconds
on a CPU, wall seconds elsewhere. `--large` takes as many seeds as an accelerator wants.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from engine import Effort, in_turn, slope

import gramdyn as gd
from gramdyn.kernels.planted import population_gradient, population_loss
from gramdyn.planted import gradient_of, loss_of
from gramdyn.store.manifest import versions


@dataclass(frozen=True)
class Case:
    """Neurons, outputs and inputs, of so many seeds."""

    name: str
    width: int
    n_outputs: int = 1
    n_inputs: int = 100
    seeds: int = 2000
    steps: int = 400


CASES = (
    Case("pair", 2),
    Case("four", 4, 2),
    Case("ten", 10),
    Case("many", 32, 4, seeds=64),
    Case("wide", 128, 10, 1000, seeds=4, steps=100),
)
LADDER = Case("ladder", 16, 2, seeds=128, steps=200)
RUNGS = {
    "width": (16, 32, 64, 128),
    "n_outputs": (1, 2, 4, 8),
    "n_inputs": (10, 100, 10_000, 1_000_000),
    "seeds": (32, 128, 512, 2048),
}
QUICK_RUNGS = {"seeds": (1, 2)}
STEP, SCALE, EVERY = 0.05, 0.3, 100


@dataclass(frozen=True)
class Row:
    """Microseconds a step of a trajectory, by way, and the largest gap of losses."""

    case: str
    microseconds: dict[str, float]
    difference: dict[str, float]


def simulated(case: Case, of: tuple[str, ...] = ("loss",)) -> Callable[[], np.ndarray]:
    """The library."""
    d = jnp.asarray(float(case.n_inputs))
    population = gd.Population(jnp.eye(case.n_outputs), d)
    record = gd.Record(of, every=EVERY)

    def build(params: Any) -> Any:
        key, inputs = params
        network = gd.thin_network(key, inputs, case.width, case.n_outputs, sigma=SCALE)
        return gd.make_planted_system(network, population), gd.GradientDescent(STEP)

    keys = jax.random.split(jax.random.key(0), case.seeds)
    params = keys, jnp.full(case.seeds, d)
    device = tuple(jax.local_devices()[:1])
    return lambda: np.asarray(
        gd.simulate_many(build, params, case.steps, record, devices=device)["loss"]
    )


def starts_of(case: Case) -> tuple[jax.Array, jax.Array]:
    """W in thin coordinates and V of all seeds."""

    def start(key: Any) -> tuple[jax.Array, jax.Array]:
        network = gd.thin_network(
            key, float(case.n_inputs), case.width, case.n_outputs, sigma=SCALE
        )
        return network.layers[0].weight, network.layers[1].weight.T

    keys = jax.random.split(jax.random.key(0), case.seeds)
    return jax.jit(jax.vmap(start))(keys)


def textbook_gradient(w: jax.Array, v: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The gradient as one writes it: angles by arctan2 of safe sines, products with `@`."""
    norms = jnp.linalg.norm(w, axis=1)
    units = w / norms[:, None]
    cosine = jnp.clip(units @ units.T, -1.0, 1.0)
    sine = jnp.sqrt(jnp.maximum((1 - cosine) * (1 + cosine), 0.0))
    angle = jnp.arctan2(sine, cosine)
    gram = norms[:, None] * norms[None, :] * (sine + (jnp.pi - angle) * cosine) / (2 * jnp.pi)
    inner = v @ v.T
    moments = inner * (jnp.pi - angle) / (2 * jnp.pi)
    moments = moments + jnp.diag((inner * sine) @ norms / (2 * jnp.pi * norms))
    return moments @ w - v @ b / 2, gram @ v - w @ b.T / 2


def by_hand(case: Case, gradient: Any, *, thin: bool) -> Callable[[], np.ndarray]:
    """A loop of its own around a gradient, in thin coordinates or on all inputs."""
    hidden, readout = starts_of(case)
    size = hidden.shape[-1]
    if not thin and case.n_inputs > size:
        hidden = jnp.pad(hidden, ((0, 0), (0, 0), (0, case.n_inputs - size)))
    target = jnp.eye(case.n_outputs, hidden.shape[-1])

    def step(_: Any, point: Any) -> Any:
        moves = gradient(*point, target)
        return tuple(part - STEP * move for part, move in zip(point, moves, strict=True))

    def stretch(point: Any, _: Any) -> Any:
        after = jax.lax.fori_loop(0, EVERY, step, point)
        return after, population_loss(*after, target)

    def run(w: jax.Array, v: jax.Array) -> jax.Array:
        losses = jax.lax.scan(stretch, (w, v), None, case.steps // EVERY)[1]
        return jnp.concatenate([population_loss(w, v, target)[None], losses])

    program = jax.jit(jax.vmap(run))
    return lambda: np.asarray(program(hidden, readout))


def one_at_a_time(case: Case, seeds: int) -> Callable[[], np.ndarray]:
    """NumPy, some of the seeds."""
    hidden, readout = (np.asarray(part) for part in starts_of(case))
    target = np.eye(case.n_outputs, hidden.shape[-1])

    def run(seed: int) -> list[float]:
        w, v, losses = hidden[seed], readout[seed], []
        for i in range(case.steps + 1):
            if i % EVERY == 0:
                losses.append(float(loss_of(w, v, target)))
            by_w, by_v = gradient_of(w, v, target)
            w, v = w - STEP * by_w, v - STEP * by_v
        return losses

    return lambda: np.asarray([run(seed) for seed in range(seeds)])


def least_seconds(ways: dict[str, Callable[[], Any]], effort: Effort) -> dict[str, float]:
    """Least seconds a call of each: of the CPU on a CPU, of the wall elsewhere."""
    on_cpu = jax.default_backend() == "cpu"
    return in_turn(ways, effort, time.process_time if on_cpu else time.perf_counter)


def measure(case: Case, effort: Effort) -> Row:
    """All ways on one case."""
    ways = {
        "library": simulated(case),
        "own parts": by_hand(case, population_gradient, thin=True),
        "thin by hand": by_hand(case, textbook_gradient, thin=True),
        "by hand": by_hand(case, textbook_gradient, thin=False),
    }
    if jax.default_backend() == "cpu":
        ways["one at a time"] = one_at_a_time(case, min(case.seeds, 2))
    losses = {name: way() for name, way in ways.items()}
    true = losses["library"]
    difference = {n: float(np.max(np.abs(x - true[: len(x)]))) for n, x in losses.items()}
    for name, off in difference.items():
        assert off < 1e-10, f"{case.name}: {name} gives other losses, by {off:.1e}"
    spent = least_seconds(ways, effort)
    counts = {name: len(found) * case.steps for name, found in losses.items()}
    return Row(case.name, {name: 1e6 * s / counts[name] for name, s in spent.items()}, difference)


def exponents(effort: Effort) -> dict[str, float]:
    """Growth of the library's cost with each size."""
    found = {}
    for size, rungs in QUICK_RUNGS.items() if effort.quick else RUNGS.items():
        ways = {str(rung): simulated(replace(LADDER, **{size: rung})) for rung in rungs}
        found[size] = slope(rungs, least_seconds(ways, effort).values())
    return found


def recording(effort: Effort, case: Case) -> dict[str, float]:
    """Cost of diagnostics that look at every step, over that of the loss alone."""
    folds = ("phases", "imbalance_drift", "final_rate")
    chosen = {"loss": (), "phases, drift, rate": folds}
    chosen |= {} if effort.quick else {"phases": folds[:1]}
    ways = {name: simulated(case, ("loss", *of)) for name, of in chosen.items()}
    spent = least_seconds(ways, effort)
    return {name: s / spent["loss"] for name, s in spent.items()}


def main() -> None:
    """Measure, tell, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    quick = options.quick
    effort = Effort(1 if quick else options.rounds, 0.0 if quick else 0.5, quick)
    times = 16 if options.large else 1
    cases = [replace(CASES[0], seeds=8, steps=100)] if quick else CASES
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        rows = []
        for case in cases:
            rows.append(measure(replace(case, seeds=times * case.seeds), effort))
            told = ", ".join(f"{name} {us:.3g}" for name, us in rows[-1].microseconds.items())
            print(f"{case.name:8} us a step: {told}", flush=True)
        growth = exponents(effort)
        print("growth: " + ", ".join(f"{size} {power:.2f}" for size, power in growth.items()))
        shares = recording(effort, cases[0])
        print("recorded: " + ", ".join(f"{name} {share:.2f}" for name, share in shares.items()))
    if options.out:
        device = jax.devices()[0].device_kind
        found = {"rows": [asdict(row) for row in rows], "growth": growth, "recorded": shares}
        found |= {"device": device, "versions": versions()}
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
