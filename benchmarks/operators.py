"""What do the operators cost: does a sweep of the field laws grow like n^2 N + n N^2?

Three measurements, one process, float64:

1. CPU seconds of the field laws (`forward_law` and `conjugate_law`: every pushforward and pullback
   operator applied once) and of the exact field-space step, for ladders of n and N; the model
   t = a n^2 N + b n N^2 + c n N is fitted to them, and each measurement is told beside it.
2. Exponents of n and N at both ends of the ladders, from neighbouring sizes.
3. What the compiled programs hold by their own memory analysis, in units of
   L (n^2 C^2 + n C N + N^2) numbers.

    python benchmarks/operators.py [--quick] [--out FILE]

Times are CPU seconds of one process, best of the repeats after a first call that compiles; all
sizes run in turn in each repeat, so read ratios, not times.
"""

import argparse
import itertools
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gramdyn as gd
from gramdyn.store.manifest import versions
from gramdyn.systems import conjugate_law, forward_law, make_field_system

DEPTH, N_INPUTS = 3, 16


@dataclass
class Size:
    """One size: samples, width, outputs; what was measured."""

    n: int
    width: int
    outputs: int = 1
    law_seconds: float = np.inf
    step_seconds: float = np.inf
    laws_held: float = 0.0
    step_held: float = 0.0


def system_of(size: Size) -> Any:
    """A field-space system of that size."""
    task = gd.gaussian(n_samples=size.n, n_inputs=N_INPUTS, n_outputs=size.outputs)
    network = gd.init_network(
        jax.random.key(0),
        N_INPUTS,
        (size.width,) * DEPTH,
        size.outputs,
        dtype=jnp.float64.dtype.type,
    )
    return make_field_system(network, task)


def programs(size: Size) -> tuple[Any, Any, Any]:
    """The compiled laws, the compiled step, and the state they take."""
    system = system_of(size)
    state = system.initial_state()

    def laws(state: Any) -> Any:
        fields = system.fields(state)
        return [one.total for one in (*forward_law(fields), *conjugate_law(fields))]

    def step(state: Any) -> Any:
        return system.descend(state, jnp.asarray(1e-3), system.fields(state))

    return jax.jit(laws).lower(state).compile(), jax.jit(step).lower(state).compile(), state


def held_share(compiled: Any, size: Size) -> float:
    """Numbers a program holds besides arguments and results, over L (n^2 C^2 + n C N + N^2)."""
    n, c, width = size.n, size.outputs, size.width
    held = compiled.memory_analysis().temp_size_in_bytes / 8
    return held / (DEPTH * (n * n * c * c + n * c * width + width * width))


def cpu_seconds(compiled: Any, state: Any, least: float) -> float:
    """CPU seconds a call, over calls that last at least `least` seconds."""
    calls, begun = 0, time.process_time()
    while calls == 0 or time.process_time() - begun < least:
        jax.block_until_ready(compiled(state))
        calls += 1
    return (time.process_time() - begun) / calls


def measure(sizes: list[Size], repeats: int, least: float) -> None:
    """Best of the repeats for every size, sizes in turn."""
    made = [programs(size) for size in sizes]
    for (laws, step, state), size in zip(made, sizes, strict=True):
        size.laws_held, size.step_held = held_share(laws, size), held_share(step, size)
        jax.block_until_ready((laws(state), step(state)))
    for _ in range(repeats):
        for (laws, step, state), size in zip(made, sizes, strict=True):
            size.law_seconds = min(size.law_seconds, cpu_seconds(laws, state, least))
            size.step_seconds = min(size.step_seconds, cpu_seconds(step, state, least))


def fit(sizes: list[Size], name: str) -> dict[str, float]:
    """Non-negative a, b, c of t = a n^2 N + b n N^2 + c n N, by relative least squares."""
    from scipy.optimize import nnls

    n, width = (np.array([getattr(s, key) for s in sizes], float) for key in ("n", "width"))
    seconds = np.array([getattr(size, name) for size in sizes])
    terms = np.stack([n**2 * width, n * width**2, n * width], axis=1)
    found, _ = nnls(terms / seconds[:, None], np.ones(len(sizes)))
    error = float(np.max(np.abs(terms @ found / seconds - 1)))
    return {**dict(zip(("n2N", "nN2", "nN"), found.tolist(), strict=True)), "worst": error}


def exponent(first: Size, last: Size, key: str, name: str) -> float:
    """Slope of log seconds against the log of one size."""
    ratio = getattr(last, name) / getattr(first, name)
    return float(np.log(ratio) / np.log(getattr(last, key) / getattr(first, key)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="only show that it runs")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_default_matmul_precision", "highest")
    ns, widths = ((8, 16), (8, 16)) if options.quick else ((32, 64, 128, 256, 512),) * 2
    sizes = [Size(n, width) for n, width in itertools.product(ns, widths)]
    outputs = [] if options.quick else [Size(64, 128, outputs=c) for c in (4, 10)]
    repeats, least = (1, 0.0) if options.quick else (5, 0.05)
    measure([*sizes, *outputs], repeats, least)
    report = {"depth": DEPTH, "versions": versions(), "platform": jax.default_backend()}
    for name in ("law_seconds", "step_seconds"):
        report[name] = fit(sizes, name)
    report["sizes"] = [asdict(size) for size in (*sizes, *outputs)]
    show(sizes, outputs, report)
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


def show(sizes: list[Size], outputs: list[Size], report: dict[str, Any]) -> None:
    """Print the tables."""
    print("| n | N | C | laws, ms | step, ms | laws hold | step holds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in (*sizes, *outputs):
        print(
            f"| {size.n} | {size.width} | {size.outputs} | {size.law_seconds * 1e3:.3f} "
            f"| {size.step_seconds * 1e3:.3f} | {size.laws_held:.2f} | {size.step_held:.2f} |"
        )
    for name in ("law_seconds", "step_seconds"):
        found = report[name]
        terms = " + ".join(f"{found[key] * 1e12:.2f} {key}" for key in ("n2N", "nN2", "nN"))
        print(f"{name}: {terms} ps, worst size off by {found['worst']:.0%}")
    grid = {(size.n, size.width): size for size in sizes}
    n, width = (sorted({key[i] for key in grid}) for i in (0, 1))
    for key, pairs in (
        ("n", [((n[-2], width[0]), (n[-1], width[0]))]),
        ("width", [((n[0], width[-2]), (n[0], width[-1]))]),
    ):
        for one, two in pairs:
            slope = exponent(grid[one], grid[two], key, "law_seconds")
            print(f"exponent of {key} from {one} to {two}: {slope:.2f}")


if __name__ == "__main__":
    main()
