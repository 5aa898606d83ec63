"""The work that every way does: networks, data, initial weights, what is recorded, and the truth.

Network, without biases and with one output: h_0 = x, h_l = relu(h_{l-1} W_l), f = h_L a, with signs
for a that never train. Full-batch gradient descent on loss = (1/2n) sum (f - y)^2 moves W_1..W_L.
Recorded at step 0 and every `every` steps: the loss, the residual r = f - y, each layer's tangent
kernel, and the largest eigenvalue of each.

Numpy alone, so that every environment can read it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

# An n x n product replaces two n x d ones, and they break even near n = 1.2 d.
BREAK_EVEN = 1.2


@dataclass(frozen=True)
class Case:
    """One amount of work.

    Attributes:
        name: What the command line calls it.
        depth: Hidden layers L.
        width: Neurons a layer N.
        n_samples: Training samples n.
        n_inputs: Features d.
        seeds: Initial weights S, one network each.
        steps: Steps T, a multiple of `every`.
        every: Steps between records.
    """

    name: str
    depth: int
    width: int
    n_samples: int
    n_inputs: int
    seeds: int
    steps: int
    every: int

    @property
    def step_size(self) -> float:
        """2 / N: kernels are of order N here."""
        return 2.0 / self.width

    @property
    def records(self) -> int:
        """Times at which something is recorded."""
        return self.steps // self.every + 1

    @property
    def gram(self) -> bool:
        """Whether the first layer is cheaper as its preactivations than as its weights."""
        return self.n_samples <= BREAK_EVEN * self.n_inputs


CASES = {
    case.name: case
    for case in (
        Case("tiny", 2, 16, n_samples=12, n_inputs=11, seeds=3, steps=20, every=5),
        Case("small", 2, 64, n_samples=64, n_inputs=16, seeds=16, steps=200, every=20),
        Case("medium", 3, 256, n_samples=128, n_inputs=256, seeds=16, steps=200, every=20),
        Case("deep", 4, 64, n_samples=64, n_inputs=16, seeds=64, steps=400, every=10),
        Case("wide", 2, 1024, n_samples=128, n_inputs=256, seeds=2, steps=40, every=10),
        Case("highd", 1, 256, n_samples=128, n_inputs=3072, seeds=4, steps=100, every=20),
    )
}


class Records(NamedTuple):
    """What a way returns, leading axes (seed, record).

    Attributes:
        loss: Shape (S, R).
        residual: Shape (S, R, n).
        kernels: One a layer, shape (S, R, L, n, n).
        top: Largest eigenvalue of each, shape (S, R, L).
    """

    loss: np.ndarray
    residual: np.ndarray
    kernels: np.ndarray
    top: np.ndarray


def data(case: Case, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    """Inputs of mean square norm 1, shape (n, d), and a smooth planted target, shape (n,)."""
    rng = np.random.default_rng(2606)
    inputs = rng.normal(scale=case.n_inputs**-0.5, size=(case.n_samples, case.n_inputs))
    bent, straight = (inputs @ rng.normal(size=(case.n_inputs, 2))).T
    return inputs.astype(dtype), (np.tanh(bent) + 0.5 * straight).astype(dtype)


def initial(case: Case, dtype: str = "float64") -> tuple[list[np.ndarray], np.ndarray]:
    """Weights of each layer, shapes (S, fan in, N), entries N(0, 2/N); readout signs (S, N)."""
    fans = [case.n_inputs, *[case.width] * (case.depth - 1)]
    drawn = []
    for seed in range(case.seeds):
        rng = np.random.default_rng((9744, seed))
        weights = [rng.normal(scale=(2 / case.width) ** 0.5, size=(f, case.width)) for f in fans]
        drawn.append((weights, rng.choice([-1.0, 1.0], size=case.width)))
    layers = [np.stack([ws[i] for ws, _ in drawn]).astype(dtype) for i in range(case.depth)]
    return layers, np.stack([signs for _, signs in drawn]).astype(dtype)


def reference(case: Case, seeds: int | None = None) -> Records:
    """The truth: plain float64 numpy in weight coordinates, for the first few seeds."""
    inputs, targets = data(case)
    layers, readouts = initial(case)
    rows = []
    for seed in range(case.seeds if seeds is None else min(seeds, case.seeds)):
        weights, readout = [layer[seed].copy() for layer in layers], readouts[seed]
        seen = []
        for step in range(case.steps + 1):
            acts, sens, residual = _passes(weights, readout, inputs, targets)
            if step % case.every == 0:
                seen.append(_observe(acts, sens, residual))
            for weight, act, sensitivity in zip(weights, acts[:-1], sens, strict=True):
                gradient = act.T @ (residual[:, None] * sensitivity) / case.n_samples
                weight -= case.step_size * gradient
        rows.append([np.stack(part) for part in zip(*seen, strict=True)])
    return Records(*(np.stack(part) for part in zip(*rows, strict=True)))


def _passes(weights, readout, inputs, targets):
    """Activations from the inputs up, d output / d preactivation of each layer, residual."""
    acts = [inputs]
    for weight in weights:
        acts.append(np.maximum(acts[-1] @ weight, 0.0))
    sens, conj = [], np.broadcast_to(readout, acts[-1].shape)
    for weight, act in zip(weights[::-1], acts[:0:-1], strict=True):
        sens.append(np.where(act > 0, conj, 0.0))
        conj = sens[-1] @ weight.T
    return acts, sens[::-1], acts[-1] @ readout - targets


def _observe(acts, sens, residual):
    pairs = zip(acts[:-1], sens, strict=True)
    kernels = np.stack([(act @ act.T) * (one @ one.T) for act, one in pairs])
    return 0.5 * np.mean(residual**2), residual, kernels, np.linalg.eigvalsh(kernels)[:, -1]


def discrepancies(found: Records, wanted: Records) -> dict[str, float]:
    """Largest differences, each beside the largest value there is.

    Kernels are compared in Frobenius norm: those at step 0, and all records of a seed and layer
    together. Masks of units that rest on their kink are decided by rounding, so later float32
    kernels of any two ways differ by per cents, single ones of deep networks by ten; `top_own`
    therefore holds the eigenvalues against those of the way's own kernels.

    Args:
        found: Of a way.
        wanted: The truth, of as many seeds or fewer.
    """
    seeds = len(wanted.loss)
    found = Records(*(np.asarray(part[:seeds], np.float64) for part in found))
    gaps = {
        name: float(np.max(np.abs(one - two)) / np.max(np.abs(two)))
        for name, one, two in zip(Records._fields, found, wanted, strict=True)
        if name in ("loss", "residual")
    }
    gaps["first_kernels"] = _apart(found.kernels[:, :1], wanted.kernels[:, :1])
    gaps["kernels"] = _apart(found.kernels, wanted.kernels)
    gaps["top"] = float(np.max(np.abs(found.top / wanted.top - 1)))
    gaps["top_own"] = eigenvalue_error(found.kernels, found.top)
    return gaps


def _apart(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest relative difference of a seed and layer, Frobenius norm over records and entries."""
    axes = (1, 3, 4)
    gap = np.sum((found - wanted) ** 2, axis=axes) / np.sum(wanted**2, axis=axes)
    return float(np.sqrt(np.max(gap)))


def eigenvalue_error(kernels: np.ndarray, top: np.ndarray) -> float:
    """Largest relative error of the largest eigenvalues of these very kernels."""
    exact = np.linalg.eigvalsh(np.asarray(kernels, np.float64))[..., -1]
    return float(np.max(np.abs(np.asarray(top, np.float64) / exact - 1)))


def model_flops(case: Case) -> float:
    """Operations of the products that the work cannot do without, training and recording.

    A step: 2 n^2 N for the first layer as preactivations or 4 n d N as weights, whichever the case
    takes, and three products of 2 n N^2 for each other layer. A record: two Grams a layer of which
    that of the inputs is known.
    """
    n, d, width, depth = case.n_samples, case.n_inputs, case.width, case.depth
    first = 2 * n * n * width if case.gram else 4 * n * d * width
    step = first + 6 * n * (depth - 1) * width**2
    record = 2 * n * n * width * (2 * depth - 1)
    return float(case.seeds * (case.steps * step + case.records * record))
