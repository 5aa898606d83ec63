"""What do structured layers cost: a step, their kernels, growth with sizes, transforms?

1. A step of networks of structured layers by the engine (`gramdyn.simulate_many`), and by hand: own
   forward pass, `jax.grad` of the loss, plain update, in `lax.scan`, seeds batched as the engine
   does; both from the same starts, and both must give the same losses. Beside it what a step calls:
   factorisations, triangular solves, transforms in the compiled program.
2. Kernels of a layer in closed form, by derivatives of its matrix (`generic_kernel`), and by
   `jax.jacrev` of the layer: time, and numbers held.
3. Growth of a step with every size, and of compiling with the depth.
4. Products with a circulant matrix: the matrix against transforms, by size.

    taskset -c 0 python benchmarks/structured.py [--quick] [--only steps ...] [--rounds 7] [--out F]

float32, CPU seconds, all ways of one row in turn; ratios are medians over the rounds.
"""

import argparse
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from engine import Effort, seconds_a_call, slope

import gramdyn as gd
from gramdyn.dynamics.batch import choose_batching
from gramdyn.dynamics.simulate import DIVERGED_ABOVE, gaps_between, run_many
from gramdyn.kernels.gram import conj_gram
from gramdyn.models import convolving_pathways, enriched_network, make_pathway
from gramdyn.models.pathway import generic_kernel, split
from gramdyn.store.manifest import versions

STEP, D, C = 1e-4, 8, 3
CAYLEY, HOUSEHOLDER = "orthogonal", {"kind": "orthogonal", "method": "householder"}
# As `gramdyn.sweep.compute` does.
QUICK_TO_COMPILE = {"xla_cpu_use_fusion_emitters": False}
Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """Layers, sizes, and how many seeds and steps."""

    name: str
    pathway: Any
    correction: str = "none"
    width: int = 24
    depth: int = 4
    n_samples: int = 240
    seeds: int = 10
    steps: int = 100


SMALL = (
    Case("dense", "dense"),
    Case("orthogonal", CAYLEY),
    Case("householder", HOUSEHOLDER),
    Case("low rank + diagonal", "lowrank_diag"),
    Case("spectral clip", "spectral"),
    Case("orthogonal + bottleneck", CAYLEY, "bottleneck"),
    Case("circulant", "circulant", width=64),
)
LARGE = tuple(
    replace(case, width=256, n_samples=256, seeds=2, steps=20)
    for case in SMALL
    if case.pathway != "circulant"
)
CASES = (*SMALL, *LARGE, Case("circulant", "circulant", width=1024, seeds=2, steps=10))
QUICK = (SMALL[2], SMALL[5])
LADDER = Case("ladder", CAYLEY, width=64, seeds=2, steps=20)
GROWN = {"orthogonal": CAYLEY, "circulant": "circulant", "spectral clip": "spectral"}
RUNGS = {
    "n_samples": (60, 120, 240, 480),
    "width": (32, 64, 128, 256),
    "depth": (2, 4, 6, 8),
    "seeds": (1, 2, 4, 8),
}


@dataclass
class Times:
    """Seconds a call of each way, one number a round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Median over the rounds."""
        return float(np.median(self.seconds[name]))

    def over(self, name: str, base: str) -> float:
        """Median over the rounds of a way's seconds by those of another in the same round."""
        pairs = zip(self.seconds[name], self.seconds[base], strict=True)
        return float(np.median([own / other for own, other in pairs]))


def times_of(ways: Mapping[str, Callable[[], Any]], effort: Effort) -> Times:
    """CPU seconds of each way in each round, after a first call that compiles."""
    for way in ways.values():
        way()
    found = Times({name: [] for name in ways})
    for _ in range(effort.rounds):
        for name, way in ways.items():
            found.seconds[name].append(seconds_a_call(way, effort.least, time.process_time))
    return found


def starts_of(case: Case) -> tuple[Any, Any]:
    """Arrays of the networks at t = 0, one a seed, and the rest of a network."""

    def make(key: Any) -> Any:
        return enriched_network(
            key,
            D,
            (case.width,) * case.depth,
            C,
            pathway=case.pathway,
            correction=case.correction,
        )

    static = eqx.filter_eval_shape(make, jax.random.key(0))
    static = eqx.partition(static, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))[1]
    arrays = jax.jit(jax.vmap(lambda key: eqx.filter(make(key), eqx.is_array)))
    return arrays(jax.random.split(jax.random.key(0), case.seeds)), static


def task_of(case: Case) -> gd.Task:
    """Gaussian inputs and targets."""
    return gd.gaussian(n_samples=case.n_samples, n_inputs=D, n_outputs=C)


def system_of(case: Case, network: Any) -> Any:
    """Squared loss, weight coordinates."""
    return gd.make_system(network, task_of(case), coordinates="weights")


def built(case: Case) -> tuple[Callable[[Any], Any], Any, gd.Record]:
    """What the engine is asked for: a system from arrays, the arrays, what is recorded."""
    arrays, static = starts_of(case)
    scheme = gd.GradientDescent(STEP)

    def build(own: Any) -> Any:
        return system_of(case, eqx.combine(own, static)), scheme

    return build, arrays, gd.Record(["loss"], every=max(1, case.steps // 2))


def simulated(case: Case, batching: str = "auto") -> Callable[[], np.ndarray]:
    """The library."""
    build, arrays, record = built(case)
    device = tuple(jax.local_devices()[:1])

    def run() -> np.ndarray:
        found = gd.simulate_many(
            build, arrays, case.steps, record, batching=batching, devices=device
        )
        return np.asarray(found["loss"])

    return run


def batching_of(case: Case) -> str:
    """How the engine batches the seeds."""
    arrays, static = starts_of(replace(case, seeds=1))
    network = eqx.combine(jax.tree.map(lambda leaf: leaf[0], arrays), static)
    flops = system_of(case, network).step_flops()
    return choose_batching("auto", jax.default_backend(), flops)


# By hand: parameters are dictionaries; what does not train is beside them.


def cayley_row(own: Any, rest: Any, act: jax.Array) -> jax.Array:
    """O_0 (1 - A/2)^{-1} (1 + A/2) h."""
    side = rest["frame"].shape[0]
    lower = jnp.zeros((side, side)).at[jnp.tril_indices(side, -1)].set(own["generator"])
    half, eye = (lower - lower.T) / 2, jnp.eye(side)
    return act @ (rest["frame"] @ jnp.linalg.solve(eye - half, eye + half)).T


def householder_row(own: Any, rest: Any, act: jax.Array) -> jax.Array:
    """One reflection after the other."""

    def one(act: jax.Array, v: jax.Array) -> tuple[jax.Array, None]:
        return act - jnp.outer(2 * (act @ v) / (v @ v), v), None

    return jax.lax.scan(one, act, own["vectors"], reverse=True)[0]


def circulant_row(own: Any, rest: Any, act: jax.Array) -> jax.Array:
    """By the matrix, or by transforms."""
    column, size = own["column"], act.shape[1]
    if convolving_pathways.by_transforms(size):
        return jnp.fft.irfft(jnp.fft.rfft(column)[None] * jnp.fft.rfft(act), size)
    places = (jnp.arange(size)[:, None] - jnp.arange(size)[None]) % size
    return act @ column[places].T


def low_rank_row(own: Any, rest: Any, act: jax.Array) -> jax.Array:
    """U V^T h + d h."""
    return (act @ own["right"]) @ own["left"].T + act * own["diagonal"]


def clipped_row(own: Any, rest: Any, act: jax.Array) -> jax.Array:
    """W min(1, c / sigma_1) h."""
    share = jnp.minimum(1.0, rest["bound"] / jnp.linalg.norm(own["weight"], 2))
    return act @ (share * own["weight"]).T


def dense_row(own: Any, rest: Any, act: jax.Array) -> jax.Array:
    """The product W h."""
    return act @ own["weight"].T


ROWS: dict[str, Callable[[Any, Any, jax.Array], jax.Array]] = {
    "dense": dense_row,
    "orthogonal": cayley_row,
    "householder": householder_row,
    "lowrank_diag": low_rank_row,
    "spectral": clipped_row,
    "circulant": circulant_row,
}


def arrays_of(part: Any) -> dict[str, jax.Array]:
    """The arrays of a pathway or a correction by name."""
    return {name: leaf for name, leaf in vars(part).items() if eqx.is_array(leaf)}


class ByHand:
    """The mathematics as one writes it for a single network."""

    def __init__(self, case: Case):
        task = task_of(case)
        self.case = case
        self.inputs, self.targets = (
            jnp.asarray(part, jnp.float32) for part in (task.inputs, task.targets)
        )
        kind = case.pathway if isinstance(case.pathway, str) else case.pathway["method"]
        self.row = ROWS[kind]

    def start(self, network: Any) -> tuple[Any, Any]:
        """What trains, and what does not."""
        ends = [(end.weight, end.bias) for end in (network.layers[0], network.layers[-1])]
        trained, rest = [], []
        for layer in network.layers[1:-1]:
            own = arrays_of(layer.pathway)
            held = {name: own.pop(name) for name in layer.pathway.frozen if name in own}
            own["bias"] = layer.bias
            if layer.correction is not None:
                own["beside"] = arrays_of(layer.correction) | {"alpha": layer.alpha}
            trained.append(own)
            rest.append(held)
        return (ends, trained), rest

    def forward(self, params: Any, rest: Any) -> jax.Array:
        """The outputs."""
        (first, last), layers = params
        act = jnp.tanh(self.inputs @ first[0].T + first[1])
        for own, held in zip(layers, rest, strict=True):
            new = jnp.tanh(self.row(own, held, act) + own["bias"])
            if "beside" in own:
                side: dict[str, jax.Array] = own["beside"]
                code = jnp.tanh(act @ side["right"] + side["bias"])
                new = new + side["alpha"] * (code @ side["left"].T)
            act = new
        return act @ last[0].T + last[1]

    def loss(self, params: Any, rest: Any) -> jax.Array:
        """Half the sum of squares."""
        return 0.5 * jnp.sum((self.forward(params, rest) - self.targets) ** 2)

    def step(self, params: Any, rest: Any) -> Any:
        """Gradient descent."""
        return jax.tree.map(lambda p, g: p - STEP * g, params, jax.grad(self.loss)(params, rest))

    def run(self, network: Any) -> jax.Array:
        """Losses at the saved times."""
        params, rest = self.start(network)
        every = max(1, self.case.steps // 2)

        def stretch(params: Any, _: Any) -> Any:
            after = jax.lax.scan(
                lambda p, _: (self.step(p, rest), None), params, None, length=every
            )
            return after[0], self.loss(params, rest)

        params, losses = jax.lax.scan(stretch, params, None, self.case.steps // every)
        return jnp.append(losses, self.loss(params, rest))


def by_hand(case: Case) -> Any:
    """One jitted program for all seeds, batched as the engine does, of the arrays at t = 0."""
    own, batching = ByHand(case), batching_of(case)
    static = starts_of(replace(case, seeds=1))[1]
    run = lambda arrays: own.run(eqx.combine(arrays, static))  # noqa: E731
    many = jax.vmap(run) if batching == "vmap" else lambda arrays: jax.lax.map(run, arrays)
    return jax.jit(many)


def steps(effort: Effort) -> Iterable[Row]:
    """Question 1: microseconds a step of a trajectory, and what a step calls."""
    tiny = [replace(case, n_samples=12, width=8, depth=1, seeds=2, steps=4) for case in QUICK]
    for case in tiny if effort.quick else CASES:
        program, arrays = by_hand(case), starts_of(case)[0]
        ways = {
            "library": simulated(case),
            "by hand": lambda program=program, arrays=arrays: np.asarray(program(arrays)),
        }
        losses = {name: way() for name, way in ways.items()}
        off = float(np.max(np.abs(losses["by hand"] / losses["library"] - 1)))
        # float32, a few hundred steps of descent, other orders of sums
        assert off < 1e-3, f"{case.name}: losses differ by {off:.1e}"
        spent = times_of(ways, effort)
        scale = 1e6 / case.seeds / case.steps
        yield {
            "case": case.name,
            "width": case.width,
            "batching": batching_of(case),
            "library us": scale * spent.median("library"),
            "by hand us": scale * spent.median("by hand"),
            "library over by hand": spent.over("library", "by hand"),
            "losses differ": off,
            "a step calls": calls_of_a_step(case),
        }


def calls_of_a_step(case: Case) -> dict[str, str]:
    """Calls of a step with one structured layer, by the library and by hand."""
    one = replace(case, depth=1, seeds=1)
    arrays, static = starts_of(one)
    network = eqx.combine(jax.tree.map(lambda leaf: leaf[0], arrays), static)
    system, scheme, own = system_of(one, network), gd.GradientDescent(STEP), ByHand(one)
    params, rest = own.start(network)

    def engine(state: Any) -> Any:
        fields = system.fields(state)
        return scheme.step(system, state, None, fields)[0], fields.loss

    return {
        "library": calls(jax.jit(engine).lower(system.initial_state()).compile()),
        "by hand": calls(jax.jit(own.step).lower(params, rest).compile()),
    }


def calls(program: Any) -> str:
    """Calls of LAPACK, transforms, products, loops and scatters in a compiled program."""
    text = program.as_text()
    found = Counter(re.findall(r'custom_call_target="lapack_(\w+?)(?:_ffi)?"', text))
    for name in ("fft", "dot", "while", "scatter"):
        found[name] += len(re.findall(rf"^.* = \(?[^=]*\)? {name}\(", text, re.MULTILINE))
    return ", ".join(f"{count} {name}" for name, count in found.items() if count)


def kernels(effort: Effort) -> Iterable[Row]:
    """Question 2: closed forms against derivatives of the matrix and of the layer."""
    n, width, outputs = (6, 8, 2) if effort.quick else (64, 64, 2)
    keys = jax.random.split(jax.random.key(1), 4)
    act = jax.random.normal(keys[0], (n, width))
    sens = jax.random.normal(keys[1], (n, outputs, width))
    kinds = ("orthogonal", "circulant", "lowrank_diag", "spectral")
    for kind in kinds[1:2] if effort.quick else kinds:
        pathway = off_its_start(make_pathway(kind, width, width, key=keys[2]), keys[3])
        ways = {
            name: jax.jit(of).lower(pathway, act, sens).compile()
            for name, of in {
                "closed": lambda pathway, act, sens: pathway.kernel(act, sens),
                "generic": generic_kernel,
                "jacrev": by_jacrev,
            }.items()
        }
        call = lambda way: lambda: jax.block_until_ready(way(pathway, act, sens))  # noqa: B023, E731
        spent = times_of({name: call(way) for name, way in ways.items()}, effort)
        size = sum(leaf.size for leaf in jax.tree.leaves(split(pathway)[0]))
        held = {name: way.memory_analysis().temp_size_in_bytes / 4 for name, way in ways.items()}
        found = {name: np.asarray(way(pathway, act, sens)) for name, way in ways.items()}
        off = [np.max(np.abs(one - found["closed"])) for one in found.values()]
        yield {
            "pathway": kind,
            "parameters": size,
            "us": {name: 1e6 * spent.median(name) for name in ways},
            "over closed": {name: spent.over(name, "closed") for name in ways},
            "numbers held, n C P": {k: v / (n * outputs * size) for k, v in held.items()},
            "numbers held": held,
            "differ": float(max(off) / np.max(np.abs(found["closed"]))),
        }


def off_its_start(pathway: Any, key: Any) -> Any:
    """The pathway with a tenth of noise on what trains."""
    trained, rest = split(pathway)
    moved = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(key, a.shape), trained)
    return eqx.combine(moved, rest)


def by_jacrev(pathway: Any, act: jax.Array, sens: jax.Array) -> jax.Array:
    """The Gram of the whole Jacobian of the layer's rows."""
    trained, rest = split(pathway)
    rows = lambda own: jnp.einsum("nci,ni->nc", sens, eqx.combine(own, rest)(act))  # noqa: E731
    leaves = jax.tree.leaves(jax.jacrev(rows)(trained))
    return conj_gram(jnp.concatenate([leaf.reshape(*sens.shape[:2], -1) for leaf in leaves], -1))


def growth(effort: Effort) -> Iterable[Row]:
    """Question 3: exponents of a step."""
    for name, pathway in [*GROWN.items()][-1:] if effort.quick else GROWN.items():
        for size, rungs in {"width": (8, 16)}.items() if effort.quick else RUNGS.items():
            cases = [replace(LADDER, pathway=pathway, **{size: rung}) for rung in rungs]
            spent = times_of({str(i): simulated(case) for i, case in enumerate(cases)}, effort)
            seconds = [spent.median(str(i)) / LADDER.steps for i in range(len(cases))]
            yield {
                "pathway": name,
                "size": size,
                "rungs": rungs,
                "exponent": slope(rungs, seconds),
                "us a step of all seeds": [1e6 * one for one in seconds],
            }


def compiling(effort: Effort) -> Iterable[Row]:
    """Question 3: CPU seconds of tracing and of compiling, by depth."""
    depths = (1, 2) if effort.quick else (4, 8, 16, 32)
    ways = ("library",) if effort.quick else ("library", "by hand")
    for base in SMALL[:1] if effort.quick else SMALL[:2]:
        for way in ways:
            found = [program_seconds(replace(base, depth=depth), way) for depth in depths]
            spent = {name: [one[name] for one in found] for name in found[0]}
            both = np.add(spent["tracing"], spent["compiling"])
            yield {
                "case": base.name,
                "way": way,
                "depths": depths,
                "seconds": spent,
                "exponent": slope(depths[-3:], both[-3:]),
                "seconds a layer": float(both[-1] - both[0]) / (depths[-1] - depths[0]),
            }


def program_seconds(case: Case, way: str) -> dict[str, float]:
    """CPU seconds of tracing, of compiling, and of compiling as a sweep does."""
    jax.clear_caches()
    lower = lowered_run(case) if way == "library" else lowered_by_hand(case)
    clock = [time.process_time()]
    program = lower()
    for options in (None, QUICK_TO_COMPILE):
        clock.append(time.process_time())
        program.compile(options)
    clock.append(time.process_time())
    return dict(
        zip(("tracing", "compiling", "as in a sweep"), np.diff(clock).tolist(), strict=True)
    )


def lowered_run(case: Case) -> Callable[[], Any]:
    """Traces the library's program."""
    build, arrays, record = built(case)
    gaps = gaps_between(record.saved_steps(case.steps))
    device = tuple(jax.local_devices()[:1])
    rest = (gaps, DIVERGED_ABOVE, case.steps, "map", device)
    lower: Callable[..., Any] = run_many.lower  # type: ignore[attr-defined]
    return lambda: lower(build, arrays, record, *rest)


def lowered_by_hand(case: Case) -> Callable[[], Any]:
    """Traces the program by hand, its layers unrolled too."""
    program, arrays = by_hand(case), starts_of(case)[0]
    return lambda: program.lower(arrays)


@contextmanager
def transforms_from(size: int) -> Iterator[None]:
    """Programs traced inside take transforms from this size on."""
    names = ("FFT_FROM", "ROUGH_FFT_FROM")
    kept = [getattr(convolving_pathways, name) for name in names]
    for name in names:
        setattr(convolving_pathways, name, size)
    try:
        yield
    finally:
        for name, value in zip(names, kept, strict=True):
            setattr(convolving_pathways, name, value)


def transforms(effort: Effort) -> Iterable[Row]:
    """Question 4: products with a circulant or Toeplitz matrix, and all three of a step."""
    sizes = (16,) if effort.quick else (128, 192, 256, 384, 512, 1024, 2048)
    for kind, size in [(kind, size) for kind in ("circulant", "toeplitz") for size in sizes]:
        ways = {}
        for way, start in {"matrix": 10**9, "transforms": 0}.items():
            for what, of in {"products": both_products, "step": all_products}.items():
                ways[f"{what} by {way}"] = compiled(of, kind, size, start)
        same(ways["step by matrix"](), ways["step by transforms"]())
        spent = times_of(ways, effort)
        yield {
            "pathway": kind,
            "rows": 240,
            "size": size,
            "us": {name: 1e6 * spent.median(name) for name in ways},
            "matrix over transforms": {
                what: spent.over(f"{what} by matrix", f"{what} by transforms")
                for what in ("products", "step")
            },
        }


def compiled(of: Callable[..., Any], kind: str, size: int, start: int) -> Callable[[], Any]:
    """Products of 240 rows with a matrix of this kind, transforms taken from a size on."""
    keys = jax.random.split(jax.random.key(2), 3)
    pathway = make_pathway(kind, size, size, key=keys[0])
    act, sens = (jax.random.normal(key, (240, size)) for key in keys[1:])
    given = pathway, act, sens[:, None]
    with transforms_from(start):
        # A function of its own: what was traced for another start must not be taken again.
        program = jax.jit(lambda *own: of(*own)).lower(*given).compile()
    return lambda: jax.block_until_ready(program(*given))


def same(one: Any, other: Any) -> None:
    """Refuse results that differ by more than float32 explains."""
    for own, its in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        off = float(jnp.max(jnp.abs(own - its)) / jnp.max(jnp.abs(own)))
        # Sums of some 1e5 terms in other orders.
        assert off < 1e-4, f"matrix and transforms differ by {off:.1e}"


def both_products(pathway: Any, act: jax.Array, sens: jax.Array) -> Any:
    """Forward and back."""
    return pathway(act), pathway.pull(sens)


def all_products(pathway: Any, act: jax.Array, sens: jax.Array) -> Any:
    """Forward, back and the gradient, as a structured layer makes them in a step."""
    _, pull = jax.vjp(lambda own: own(act), pathway)
    return pathway(act), pathway.pull(sens), pull(sens[:, 0])


QUESTIONS = {one.__name__: one for one in (steps, kernels, growth, compiling, transforms)}


def main() -> None:
    """Measure, tell, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="only show that it runs")
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=[*QUESTIONS])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    effort = Effort(1, 0.0, True) if given.quick else Effort(given.rounds, 0.1, False)
    found: dict[str, Any] = {}
    with jax.default_matmul_precision("highest"):
        for name in given.only:
            found[name] = []
            for row in QUESTIONS[name](effort):
                found[name].append(row)
                print(f"{name}: {told(row)}", flush=True)
    if given.out:
        found |= {"load": os.getloadavg(), "device": jax.devices()[0].device_kind}
        given.out.write_text(json.dumps(found | {"versions": versions()}, indent=1) + "\n")


def told(value: Any) -> str:
    """A row in words, three digits a number."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {told(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return "[" + " ".join(told(one) for one in value) + "]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
