"""What do feature diagnostics cost: against a loop by hand, in a sweep of widths, as sizes grow?

Gradient descent of GELU networks on digits with cross-entropy; every 20 steps the Target Linearity
of every hidden layer, and how alike weight Grams and virtual covariances move in the next step.

library    `gramdyn.simulate_many`
by hand    the same as one writes it, in one program: `jax.grad` for the steps, least squares for
           the linearity, explicit Grams, gradients by the inputs of each layer, vmap over seeds
script     the same functions, jitted, a seed and a step after the other from Python

Every way must first give the library's numbers.

    taskset -c 0 python benchmarks/features.py [--quick] [--rounds 3] [--out FILE]

float32, CPU microseconds a step of one trajectory, least of the rounds, all ways in turn.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from engine import Effort, in_turn, slope

import gramdyn as gd
from gramdyn.models import make_activation
from gramdyn.store.manifest import versions
from gramdyn.systems import CrossEntropyLoss

STEP, EVERY = 0.05, 20
NAMES = ("loss", "target_linearity", "gram_virtual")


@dataclass(frozen=True)
class Case:
    """Sizes, and how many seeds and steps."""

    name: str
    n_samples: int
    width: int
    depth: int
    seeds: int
    steps: int = 100


CASES = (
    Case("small", 64, 32, 2, 64),
    Case("digits", 256, 64, 3, 16),
    Case("wide", 256, 512, 3, 2, 40),
)
LADDER = Case("ladder", 128, 64, 3, 4, 40)
RUNGS = {
    "n_samples": (64, 128, 256, 512),
    "width": (32, 64, 128, 256),
    "depth": (2, 3, 4, 6),
    "seeds": (1, 2, 4, 8),
}
WIDTHS = (32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Row:
    """Microseconds a step of a trajectory by way, and the largest gap of a record."""

    case: str
    microseconds: dict[str, float]
    difference: dict[str, float]


def task_of(case: Case) -> gd.Task:
    """Digits of all classes, pixels from 0 to 1."""
    options = {"centre": False, "norm": 3.87, "one_hot": True}
    return gd.digits(classes=tuple(range(10)), n_samples=case.n_samples, **options)


def network_of(case: Case, key: Any) -> gd.Network:
    """The network of a key."""
    return gd.init_network(
        key,
        64,
        (case.width,) * case.depth,
        10,
        activation=make_activation("gelu"),
        parametrization="uniform",
        train_readout=True,
        bias=True,
        readout_bias=True,
    )


def keys_of(case: Case) -> Any:
    """A key a seed."""
    return jax.random.split(jax.random.key(0), case.seeds)


def simulated(
    case: Case, of: tuple[str, ...] = NAMES, scheme: Any = None
) -> Callable[[], dict[str, np.ndarray]]:
    """The library."""
    task, record = task_of(case), gd.Record(of, every=EVERY)
    scheme = gd.GradientDescent(STEP) if scheme is None else scheme

    def build(key: Any) -> Any:
        network = network_of(case, key)
        return gd.make_system(network, task, loss=CrossEntropyLoss(), coordinates="weights"), scheme

    device = tuple(jax.local_devices()[:1])

    def run() -> dict[str, np.ndarray]:
        found = gd.simulate_many(build, keys_of(case), case.steps, record, devices=device)
        return {name: np.asarray(array) for name, array in found.records.items()}

    return run


Params = list[tuple[jax.Array, jax.Array]]


class ByHand:
    """The mathematics as one writes it for a single network."""

    def __init__(self, case: Case):
        task = task_of(case)
        self.inputs, self.targets = (
            jnp.asarray(part, jnp.float32) for part in (task.inputs, task.targets)
        )

    def start(self, network: gd.Network) -> Params:
        """Weights and biases."""
        return [(layer.weight, layer.bias) for layer in network.layers]

    def forward(self, params: Params, shifts: list[jax.Array] | None = None) -> list[jax.Array]:
        """What enters each layer, then the outputs."""
        found, act = [self.inputs], self.inputs
        for i, (weight, bias) in enumerate(params):
            entering = act if shifts is None else act + shifts[i]
            act = entering @ weight.T + bias
            act = jax.nn.gelu(act, approximate=False) if i < len(params) - 1 else act
            found.append(act)
        return found

    def loss(self, params: Params, shifts: list[jax.Array] | None = None) -> jax.Array:
        """Mean cross-entropy."""
        logs = jax.nn.log_softmax(self.forward(params, shifts)[-1], axis=1)
        return -jnp.mean(jnp.sum(self.targets * logs, axis=1))

    def step(self, params: Params) -> Params:
        """Gradient descent."""
        return jax.tree.map(lambda p, g: p - STEP * g, params, jax.grad(self.loss)(params))

    def linearity(self, features: jax.Array) -> jax.Array:
        """Explained share of the targets by least squares on the features and a constant."""
        rows = jnp.concatenate([features, jnp.ones((len(features), 1))], axis=1)
        wanted = self.targets - self.targets.mean(axis=0)
        fit = rows @ jnp.linalg.lstsq(rows, wanted)[0]
        return 1 - jnp.sum((wanted - fit) ** 2) / jnp.sum(wanted**2)

    def record(self, params: Params) -> dict[str, jax.Array]:
        """What is looked at."""
        entering = self.forward(params)
        after = self.step(params)
        shifts = [jnp.zeros_like(rows) for rows in entering[:-1]]
        pulled = jax.grad(self.loss, argnums=1)(params, shifts)
        cosines = []
        for (old, _), (new, _), rows, pull in zip(params, after, entering, pulled, strict=False):
            # A difference of two Grams in float32 is off by half (0.49 in a cosine of `digits`).
            half, moved = old.T @ (new - old), rows.T @ (-STEP * pull)
            gram = half + half.T + (new - old).T @ (new - old)
            covariance = moved + moved.T + STEP**2 * (pull.T @ pull)
            norm = jnp.linalg.norm(gram) * jnp.linalg.norm(covariance)
            cosines.append(jnp.sum(gram * covariance) / norm)
        values = [self.linearity(rows) for rows in entering[1:-1]]
        return {
            "loss": self.loss(params),
            "linearity": jnp.stack(values),
            "gram_cosine": jnp.stack(cosines),
        }


def by_hand(case: Case) -> Callable[[], dict[str, np.ndarray]]:
    """One program for all seeds."""
    own = ByHand(case)

    def stretch(params: Params, _: Any) -> Any:
        found = own.record(params)
        return jax.lax.fori_loop(0, EVERY, lambda _, p: own.step(p), params), found

    def run(key: Any) -> Any:
        params = own.start(network_of(case, key))
        params, found = jax.lax.scan(stretch, params, None, case.steps // EVERY)
        last = own.record(params)
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), found, last)

    program = jax.jit(jax.vmap(run))
    return lambda: {name: np.asarray(a) for name, a in program(keys_of(case)).items()}


def script(case: Case, seeds: int) -> Callable[[], dict[str, np.ndarray]]:
    """One seed and step after the other from Python."""
    own = ByHand(case)
    step, record = jax.jit(own.step), jax.jit(own.record)

    def run() -> dict[str, np.ndarray]:
        rows = []
        for key in keys_of(case)[:seeds]:
            params, found = own.start(network_of(case, key)), []
            for i in range(case.steps + 1):
                if i % EVERY == 0:
                    found.append(jax.tree.map(np.asarray, record(params)))
                params = step(params)
            rows.append({name: np.stack([one[name] for one in found]) for name in found[0]})
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    return run


def measure(case: Case, effort: Effort) -> Row:
    """All ways on one case."""
    ways = {
        "library": simulated(case),
        "by hand": by_hand(case),
        "script": script(case, min(case.seeds, 2)),
    }
    records = {name: way() for name, way in ways.items()}
    true = records["library"]
    difference = {
        name: max(float(np.max(np.abs(a - true[key][: len(a)]))) for key, a in found.items())
        for name, found in records.items()
    }
    # float32, a decomposition against least squares: a thousandth at worst
    for name, off in difference.items():
        assert off < 5e-3, f"{case.name}: {name} gives other numbers, by {off:.1e}"
    spent = in_turn(ways, effort)
    counts = {name: len(found["loss"]) * case.steps for name, found in records.items()}
    return Row(case.name, {name: 1e6 * s / counts[name] for name, s in spent.items()}, difference)


def parts(effort: Effort) -> dict[str, float]:
    """Microseconds a step with less recorded."""
    case = Case("tiny", 32, 16, 2, 2, 20) if effort.quick else CASES[0]
    chosen = {"loss": NAMES[:1], "and linearity": NAMES[:2], "and Grams": NAMES}
    spent = in_turn({name: simulated(case, of) for name, of in chosen.items()}, effort)
    return {name: 1e6 * s / case.seeds / case.steps for name, s in spent.items()}


def exponents(effort: Effort) -> dict[str, float]:
    """Growth of the library's cost with each size, everything recorded."""
    found = {}
    for size, rungs in {"width": (8, 16)}.items() if effort.quick else RUNGS.items():
        ways = {str(rung): simulated(replace(LADDER, **{size: rung})) for rung in rungs}
        found[size] = slope(rungs, in_turn(ways, effort).values())
    return found


def linearity_in_a_sweep(effort: Effort) -> dict[str, float]:
    """A sweep of widths with Target Linearity every 20 steps over the same without; by width."""
    found, totals = {}, {"without": 0.0, "with": 0.0}
    for width in WIDTHS[:1] if effort.quick else WIDTHS:
        case = Case("sweep", 64 if effort.quick else 512, width, 3, 2, 100)
        ways = {
            "without": simulated(case, ("loss",)),
            "with": simulated(case, ("loss", "target_linearity")),
        }
        spent = in_turn(ways, effort)
        found[f"width {width}"] = spent["with"] / spent["without"]
        totals = {name: totals[name] + s for name, s in spent.items()}
    return found | {"sweep": totals["with"] / totals["without"]}


def whitening(effort: Effort) -> dict[str, float]:
    """A whitened step over the same step as it is."""
    found = {}
    for width in (32,) if effort.quick else (64, 256):
        case = Case("whitening", 64, width, 2, 2, 40)
        ways = {
            name: simulated(case, ("loss",), gd.Optax("sgd", STEP, (), name))
            for name in ("none", "svd", "newton_schulz")
        }
        spent = in_turn(ways, effort)
        for name in ("svd", "newton_schulz"):
            found[f"{name}, width {width}"] = spent[name] / spent["none"]
    return found


def main() -> None:
    """Measure, tell, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    quick = options.quick
    effort = Effort(1 if quick else options.rounds, 0.0 if quick else 0.3, quick)
    cases = [Case("tiny", 32, 16, 2, 2, 20)] if quick else CASES
    found: dict[str, Any] = {"rows": []}
    with jax.default_matmul_precision("highest"):
        for case in cases:
            row = measure(case, effort)
            found["rows"].append(asdict(row))
            told = ", ".join(f"{name} {us:.3g}" for name, us in row.microseconds.items())
            print(f"{case.name:8} us a step: {told}; off by {row.difference}", flush=True)
        questions = {
            "us a step": parts,
            "growth": exponents,
            "linearity in a sweep": linearity_in_a_sweep,
            "whitening": whitening,
        }
        for name, ask in questions.items():
            found[name] = ask(effort)
            told = ", ".join(f"{what} {ratio:.2f}" for what, ratio in found[name].items())
            print(f"{name}: {told}", flush=True)
    if options.out:
        found |= {"device": jax.devices()[0].device_kind, "versions": versions()}
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
