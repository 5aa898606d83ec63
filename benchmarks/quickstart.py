"""What do Gram coordinates and factorised kernels gain over weights and over autodiff kernels?

The same work three ways, in one process, one after the other in turn: gradient descent on a ReLU
network, with loss and layer kernels recorded.

    gram       this library, Gram coordinates
    weights    this library, weight coordinates
    autodiff   what one writes by hand: vmap of jax.grad for the steps, jax.jacrev for the kernels

    python benchmarks/quickstart.py [--quick] [--out FILE]

Times are CPU seconds of one process after a first call that compiles; compare ratios, not times.
Accuracy stands beside time: largest differences of the loss and of the first kernels.
"""

import argparse
import functools
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import gramdyn as gd
from gramdyn.store.manifest import versions

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """One group of runs: depth, width, data, seeds, steps, steps between records, step size."""

    name: str
    data: str
    depth: int
    width: int
    n_samples: int = 64
    seeds: int = 16
    steps: int = 100
    every: int = 10
    step_size: float = 0.02


CASES = (
    Case("quickstart group", "digits", depth=2, width=256),
    Case("one layer, 784 inputs", "mnist5k", depth=1, width=256),
    Case("two layers, 784 inputs", "mnist5k", depth=2, width=256),
)
QUICK = (Case("quick", "digits", depth=2, width=16, n_samples=8, seeds=2, steps=10, every=5),)


class Build(eqx.Module):
    """One run of this library, for a seed."""

    task: gd.Task
    case: Case = eqx.field(static=True)
    coordinates: str = eqx.field(static=True)

    def __call__(self, seed: Any) -> Any:
        system = gd.make_system(
            network_of(self.case, self.task, seed), self.task, coordinates=self.coordinates
        )
        return system, gd.GradientDescent(self.case.step_size)


def network_of(case: Case, task: gd.Task, seed: Any) -> gd.Network:
    widths = (case.width,) * case.depth
    return gd.init_network(jax.random.key(seed), task.n_inputs, widths, dtype=jnp.float32)


def by_library(case: Case, task: gd.Task, coordinates: str) -> Callable[[], Any]:
    """Loss and layer kernels of all seeds and records, by this library."""
    build = Build(task, case, coordinates)
    record = gd.Record(["loss", "layer_kernels"], every=case.every)
    devices = tuple(jax.local_devices()[:1])

    def run() -> Any:
        seeds = jnp.arange(case.seeds)
        found = gd.simulate_many(build, seeds, case.steps, record, devices=devices)
        return jax.block_until_ready((found["loss"], found["layer_kernels"]))

    return run


def by_autodiff(case: Case, task: gd.Task) -> Callable[[], Any]:
    """The same by automatic differentiation, batched over seeds with vmap."""
    inputs, targets = task.inputs, task.targets

    def outputs(weights: list[Any], readout: Any) -> Any:
        act = inputs
        for weight in weights:
            act = jnp.maximum(act @ weight.T, 0.0)
        return (act @ readout.T)[:, 0]

    def loss(weights: list[Any], readout: Any) -> Any:
        return 0.5 * jnp.sum((outputs(weights, readout) - targets[:, 0]) ** 2)

    def observe(weights: list[Any], readout: Any) -> Any:
        jacobian = jax.jacrev(outputs)(weights, readout)
        flat = [j.reshape(j.shape[0], -1) for j in jacobian]
        return loss(weights, readout), jnp.stack([j @ j.T for j in flat])

    def trajectory(weights: list[Any], readout: Any) -> Any:
        def step(_: Any, weights: list[Any]) -> list[Any]:
            moves = jax.grad(loss)(weights, readout)
            return [w - case.step_size * g for w, g in zip(weights, moves, strict=True)]

        def save(weights: list[Any], _: Any) -> Any:
            return jax.lax.fori_loop(0, case.every, step, weights), observe(weights, readout)

        times = case.steps // case.every
        weights, (losses, kernels) = jax.lax.scan(save, weights, None, length=times)
        end = observe(weights, readout)
        return jnp.append(losses, end[0]), jnp.concatenate([kernels, end[1][None]])

    networks = jax.vmap(functools.partial(network_of, case, task))(jnp.arange(case.seeds))
    weights = [layer.weight for layer in networks.layers[:-1]]
    program = jax.jit(jax.vmap(trajectory))
    return lambda: jax.block_until_ready(program(weights, networks.readout.weight))


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """Times and differences of the three ways, interleaved."""
    task = getattr(gd, case.data)(n_samples=case.n_samples).cast(jnp.float32)
    ways = {
        "gram": by_library(case, task, "gram"),
        "weights": by_library(case, task, "weights"),
        "autodiff": by_autodiff(case, task),
    }
    first, results = {}, {}
    for name, way in ways.items():
        begun = time.process_time()
        results[name] = way()
        first[name] = time.process_time() - begun
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            begun = time.process_time()
            way()
            spent[name].append(time.process_time() - begun)
    best = {name: min(times) for name, times in spent.items()}
    return {
        "case": asdict(case),
        "first_cpu_s": first,
        "cpu_s": best,
        "spread": {name: max(times) / min(times) for name, times in spent.items()},
        "ratio_to_gram": {name: best[name] / best["gram"] for name in ways},
        "difference_from_autodiff": {n: difference(results[n], results["autodiff"]) for n in ways},
    }


def difference(found: Any, wanted: Any) -> dict[str, float]:
    """Largest relative difference of the loss, and of the kernels at t = 0 in Frobenius norm.

    Later float32 kernels differ by per cents between any two ways: neurons resting on their kink
    flip with rounding. Their losses agree.
    """
    loss = float(np.max(np.abs(found[0] - wanted[0]) / np.abs(wanted[0][:, :1])))
    mine = np.reshape(found[1], wanted[1].shape)[:, 0]
    kernels = np.linalg.norm(mine - wanted[1][:, 0]) / np.linalg.norm(wanted[1][:, 0])
    return {"loss": loss, "first_kernels": float(kernels)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    rows = [measure(case, 1 if given.quick else 3) for case in (QUICK if given.quick else CASES)]
    device = jax.local_devices()[0]
    print(
        f"{'case':24s} {'way':9s} {'CPU s':>8s} {'ratio':>7s} {'loss diff':>10s} {'K(0) diff':>10s}"
    )
    for row in rows:
        for way, seconds in row["cpu_s"].items():
            gap = row["difference_from_autodiff"][way]
            ratio = row["ratio_to_gram"][way]
            name = row["case"]["name"]
            print(
                f"{name:24s} {way:9s} {seconds:8.3f} {ratio:7.2f} "
                f"{gap['loss']:10.1e} {gap['first_kernels']:10.1e}"
            )
            # The bounds of float32 sums over some hundred terms; a wrong law is off by order one.
            assert gap["loss"] < 1e-3, (name, way, gap)
            assert gap["first_kernels"] < 1e-4, (name, way, gap)
    told = {"device": device.device_kind, "dtype": "float32", "versions": versions(), "rows": rows}
    if given.out:
        given.out.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
