"""What does a step of a deep linear network cost, against a loop by hand, and how does it grow?

Gradient descent in moment coordinates, many seeds at once, the loss recorded every 100 steps. Ways:

library       `gramdyn.simulate_many` of a `MomentSystem`
by hand       the same mathematics in bare JAX: products of all prefixes and suffixes with `@`, vmap
              over seeds, one program
own parts     the library's `descent_direction` in a loop by hand: what the engine adds
one at a time NumPy, a seed after the other, as most scripts are
on samples    the library's network on n samples in weight coordinates, the same trajectory

Every way must first give the library's losses. Growth is fitted over four sizes each.

    taskset -c 0 python benchmarks/linear.py [--quick] [--rounds 3] [--out FILE]

float32, CPU microseconds a step of one trajectory, least of the rounds, all ways in turn.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from engine import Effort, in_turn, slope

import gramdyn as gd
from gramdyn.kernels.linear import descent_direction, maps_above, multiply
from gramdyn.store.manifest import versions


@dataclass(frozen=True)
class Case:
    """Sizes: widths d-N-...-N-C with `layers` weights, on n samples of d inputs."""

    name: str
    layers: int
    width: int
    n_inputs: int = 4
    n_outputs: int = 4
    n_samples: int = 64
    seeds: int = 256
    steps: int = 400


CASES = (
    Case("tiny", 3, 4, seeds=1024),
    Case("deep", 6, 8),
    Case("middle", 4, 32, 16, 16, seeds=64),
    Case("wide", 3, 256, 64, 10, 1024, seeds=4, steps=100),
)
LADDER = Case("ladder", 4, 32, 16, 16, seeds=16, steps=200)
RUNGS = {
    "layers": (3, 4, 6, 8),
    "width": (32, 64, 128, 256),
    "n_inputs": (32, 64, 128, 256),
    "n_samples": (64, 256, 1024, 4096),
    "seeds": (16, 64, 256, 1024),
}
STEP, SCALE, EVERY = 0.02, 0.5, 100


@dataclass(frozen=True)
class Row:
    """Microseconds a step of a trajectory, by way, and the largest relative gap of losses."""

    case: str
    microseconds: dict[str, float]
    difference: dict[str, float]


def task_of(case: Case) -> gd.Task:
    """White inputs of the sizes asked for; the targets are a map of them."""
    return gd.gaussian(
        n_samples=case.n_samples,
        n_inputs=case.n_inputs,
        n_outputs=case.n_outputs,
        target="linear",
    )


def network_of(case: Case, key: Any) -> gd.Network:
    """The start of a seed."""
    return gd.init_network(
        key,
        case.n_inputs,
        (case.width,) * (case.layers - 1),
        case.n_outputs,
        activation=gd.linear(),
        parametrization="tied",
        weight_scale=SCALE,
        train_readout=True,
    )


def simulated(case: Case, coordinates: str) -> Callable[[], np.ndarray]:
    """The library."""
    loss, record = gd.SquaredLoss("mean"), gd.Record(["loss"], every=EVERY)
    task = task_of(case)

    def build(key: Any) -> Any:
        system = gd.make_system(network_of(case, key), task, loss=loss, coordinates=coordinates)
        return system, gd.GradientDescent(STEP)

    keys = jax.random.split(jax.random.key(0), case.seeds)
    device = tuple(jax.local_devices()[:1])
    return lambda: np.asarray(
        gd.simulate_many(build, keys, case.steps, record, batching="vmap", devices=device)["loss"]
    )


def starts_of(case: Case) -> list[jax.Array]:
    """Weights of all seeds, W_l of shape (seeds, d_l, d_{l-1})."""
    keys = jax.random.split(jax.random.key(0), case.seeds)
    networks = jax.vmap(lambda key: network_of(case, key))(keys)
    return [layer.weight for layer in networks.layers]


def by_hand(case: Case) -> Callable[[], np.ndarray]:
    """The same mathematics in bare JAX."""
    found = gd.task_moments(task_of(case), 1 / case.n_samples)
    target, moment, floor = (
        jnp.asarray(x, jnp.float32) for x in (found.target, found.input_moment, found.floor)
    )

    def step(weights: list[jax.Array]) -> list[jax.Array]:
        error = (target - reduce(lambda a, w: w @ a, weights)) @ moment
        below = [jnp.eye(case.n_inputs)]
        for w in weights[:-1]:
            below.append(w @ below[-1])
        above = [jnp.eye(case.n_outputs)]
        for w in reversed(weights[1:]):
            above.append(above[-1] @ w)
        rows = zip(weights, reversed(above), below, strict=True)
        return [w + STEP * up.T @ error @ low.T for w, up, low in rows]

    def loss(weights: list[jax.Array]) -> jax.Array:
        off = target - reduce(lambda a, w: w @ a, weights)
        return 0.5 * jnp.sum((off @ moment) * off) + floor

    with jax.default_matmul_precision("highest"):
        program = jax.jit(jax.vmap(partial(in_stretches, case, step, loss)))
        starts = starts_of(case)
    return lambda: np.asarray(program(starts))


def own_parts(case: Case) -> Callable[[], np.ndarray]:
    """The library's mathematics without its engine."""
    found = gd.task_moments(task_of(case), 1 / case.n_samples)
    target, moment, floor = (
        jnp.asarray(x, jnp.float32) for x in (found.target, found.input_moment, found.floor)
    )

    def step(weights: list[jax.Array]) -> list[jax.Array]:
        above = maps_above(weights)
        moves = descent_direction(weights, multiply(target - above[0], moment), above)
        return [w + STEP * move for w, move in zip(weights, moves, strict=True)]

    def loss(weights: list[jax.Array]) -> jax.Array:
        off = target - maps_above(weights)[0]
        return 0.5 * jnp.sum(multiply(off, moment) * off) + floor

    with jax.default_matmul_precision("highest"):
        program = jax.jit(jax.vmap(partial(in_stretches, case, step, loss)))
        starts = starts_of(case)
    return lambda: np.asarray(program(starts))


def in_stretches(case: Case, step: Any, loss: Any, weights: list[jax.Array]) -> jax.Array:
    """Losses at the start and after each stretch of steps."""

    def stretch(weights: list[jax.Array], _: Any) -> Any:
        after = jax.lax.fori_loop(0, EVERY, lambda i, w: step(w), weights)
        return after, loss(after)

    losses = jax.lax.scan(stretch, weights, None, case.steps // EVERY)[1]
    return jnp.concatenate([loss(weights)[None], losses])


def one_at_a_time(case: Case, seeds: int) -> Callable[[], np.ndarray]:
    """NumPy, some of the seeds."""
    found = gd.task_moments(task_of(case), 1 / case.n_samples)
    target, moment, floor = (
        np.asarray(x, np.float32) for x in (found.target, found.input_moment, found.floor)
    )
    starts = [np.asarray(w) for w in starts_of(case)]

    def run(weights: list[np.ndarray]) -> list[float]:
        losses = []
        for i in range(case.steps + 1):
            below = [np.eye(case.n_inputs, dtype=np.float32)]
            for w in weights:
                below.append(w @ below[-1])
            off = target - below[-1]
            error = off @ moment
            if i % EVERY == 0:
                losses.append(float(0.5 * np.sum(error * off) + floor))
            up, moves = error, []
            for w, low in zip(reversed(weights), reversed(below[:-1]), strict=True):
                moves.append(up @ low.T)
                up = w.T @ up
            weights = [w + STEP * m for w, m in zip(weights, reversed(moves), strict=True)]
        return losses

    return lambda: np.asarray([run([w[seed] for w in starts]) for seed in range(seeds)])


def measure(case: Case, effort: Effort) -> Row:
    """All ways on one case."""
    few = min(case.seeds, 2)
    ways = {
        "library": simulated(case, "moments"),
        "by hand": by_hand(case),
        "own parts": own_parts(case),
        "on samples": simulated(case, "weights"),
        "one at a time": one_at_a_time(case, few),
    }
    losses = {name: way() for name, way in ways.items()}
    true = losses["library"]
    difference = {
        name: float(np.max(np.abs(found / true[: len(found)] - 1)))
        for name, found in losses.items()
    }
    for name, off in difference.items():
        assert off < 1e-4, f"{case.name}: {name} gives other losses, by {off:.1e}"
    spent = in_turn(ways, effort)
    counts = {name: len(found) * case.steps for name, found in losses.items()}
    return Row(case.name, {name: 1e6 * s / counts[name] for name, s in spent.items()}, difference)


def exponents(effort: Effort) -> dict[str, float]:
    """Growth of the library's cost with each size."""
    found = {}
    for size, rungs in RUNGS.items():
        cases = [replace(LADDER, **{size: rung}) for rung in (rungs[:2] if effort.quick else rungs)]
        ways = {str(i): simulated(case, "moments") for i, case in enumerate(cases)}
        found[size] = slope([getattr(one, size) for one in cases], in_turn(ways, effort).values())
    return found


def main() -> None:
    """Measure, tell, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    effort = Effort(
        1 if options.quick else options.rounds, 0.0 if options.quick else 0.5, options.quick
    )
    rows = []
    for case in [replace(CASES[0], seeds=8, steps=100)] if options.quick else CASES:
        rows.append(measure(case, effort))
        told = ", ".join(f"{name} {us:.3g}" for name, us in rows[-1].microseconds.items())
        print(f"{case.name:8} us a step: {told}", flush=True)
    growth = exponents(effort)
    print("growth: " + ", ".join(f"{size} {power:.2f}" for size, power in growth.items()))
    if options.out:
        found = {"rows": [asdict(row) for row in rows], "growth": growth, "versions": versions()}
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
