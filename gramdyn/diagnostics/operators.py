"""Diagnostics of the operators that carry fields across layers."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_positive_int, check_seed
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.registry import register
from gramdyn.kernels.operators import (
    Path,
    estimate_traces,
    operator_traces,
    top_operator_eigenvalues,
)
from gramdyn.systems.network_fields import NetworkFields

# Gamma^{l,k} at [l, k], k <= l; P^{l,k+1} at [l, k], k >= l; the identities on the diagonal, and
# zero where there is no operator.
PAIRS = ("hidden", "hidden_2")


def _table(
    depth: int, path: Callable[[int, int], Path | None], of: Callable[[Path], Array], same: Any
) -> Float[Array, "L L ..."]:
    """What `of` gives for each pair of layers, `same[l]` on the diagonal, zero without a path."""
    cells: list[Array] = []
    for end in range(depth):
        for start in range(depth):
            found = path(end, start)
            here = same(end) if end == start else None
            cells.append(of(found) if found else jnp.zeros_like(same(0)) if here is None else here)
    return jnp.stack(cells).reshape(depth, depth, *cells[0].shape)


def _push(fields: NetworkFields) -> Callable[[int, int], Path | None]:
    return lambda end, start: fields.push_path(end, start) if start < end else None


def _pull(fields: NetworkFields) -> Callable[[int, int], Path | None]:
    return lambda end, start: fields.pull_path(end, start + 1) if start > end else None


class OperatorTraces(AbstractDiagnostic):
    """Traces of the operators of every pair of samples, for every pair of hidden layers.

    `push_traces[l, k]` of Gamma^{l,k} for k <= l, and `pull_traces[l, k]` of P^{l,k+1} for k >= l:
    the operators that the laws of z^l and q^l need. On the diagonal stand the identities, whose
    trace is the width, padding included; entries without an operator are 0. With a fixed readout
    the operators at [l, L - 1] of `pull_traces` are there but move nothing.

    Attributes:
        probes: Random probes of Hutchinson's estimate, or None for the exact traces. With probes
            `push_traces_error` and `pull_traces_error` hold the standard errors.
        seed: Seed of the probes, the same at every saved time.

    Cost: a pair of layers 2 n^2 N^2 + 2 n N^3 operations exactly, N / probes times less with them.
    """

    probes: int | None = eqx.field(static=True, default=None)
    seed: int = eqx.field(static=True, default=0)
    name: ClassVar[str] = "operator_traces"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = True

    def dims(self) -> dict[str, Dims]:
        """Axes of the arrays."""
        ends = ("",) if self.probes is None else ("", "_error")
        names = [f"{kind}_traces{end}" for kind in ("push", "pull") for end in ends]
        return dict.fromkeys(names, (*PAIRS, "sample", "sample_2"))

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """Traces, exact or estimated."""
        found: dict[str, Array] = {}
        for kind, path in (("push", _push(fields)), ("pull", _pull(fields))):
            table = self._traces(fields, path)
            found[f"{kind}_traces"] = table[:, :, 0]
            if self.probes is not None:
                found[f"{kind}_traces_error"] = table[:, :, 1]
        return found, memory

    def _traces(self, fields: NetworkFields, path: Callable[[int, int], Path | None]) -> Array:
        """Traces and their errors, shape (L, L, 2, n, n); without probes the error is left out."""
        ones = jnp.ones_like(fields.targets[:, :1] @ fields.targets[:, :1].T)

        def of(one: Path) -> Array:
            if self.probes is None:
                return operator_traces(one)[None]
            return jnp.stack(estimate_traces(one, jax.random.key(self.seed), self.probes))

        def same(layer: int) -> Array:
            width = fields.masks[layer].shape[1] * ones
            return width[None] if self.probes is None else jnp.stack([width, jnp.zeros_like(ones)])

        return _table(len(fields.masks), path, of, same)


@register("operator_traces")
def make_operator_traces(probes: int | None = None, seed: int = 0) -> OperatorTraces:
    """Traces of the operators between layers; exact, or by Hutchinson `probes` (at least 2)."""
    if probes is not None:
        check(check_positive_int("probes", probes) >= 2, "probes", "be at least 2", probes)
    return OperatorTraces(probes, check_seed("seed", seed))


class OperatorSpectra(AbstractDiagnostic):
    """Largest eigenvalues of the operators of each sample with itself, J_mu J_mu^T.

    `push_spectra[l, k]` of Gamma^{l,k}_{mu mu} and `pull_spectra[l, k]` of P^{l,k+1}_{mu mu}, laid
    out as in `operator_traces`; the identities have 1.

    Attributes:
        count: How many, at most the smallest width.
    """

    count: int = eqx.field(static=True, default=1)
    name: ClassVar[str] = "operator_spectra"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = True

    def dims(self) -> dict[str, Dims]:
        """Axes of the two arrays."""
        axes = (*PAIRS, "sample", "operator_rank")
        return {"push_spectra": axes, "pull_spectra": axes}

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """Eigenvalues by products with the operators."""
        width = min(mask.shape[1] for mask in fields.masks)
        check(self.count <= width, "count", f"be at most the smallest width {width}", self.count)
        shape, dtype = (fields.targets.shape[0], self.count), fields.targets.dtype
        of = lambda path: top_operator_eigenvalues(path, self.count)  # noqa: E731
        same = lambda layer: jnp.ones(shape, dtype)  # noqa: E731
        paths = {"push_spectra": _push(fields), "pull_spectra": _pull(fields)}
        depth = len(fields.masks)
        return {name: _table(depth, path, of, same) for name, path in paths.items()}, memory


@register("operator_spectra")
def make_operator_spectra(count: int = 1) -> OperatorSpectra:
    """Largest `count` eigenvalues of the operators of each sample with itself."""
    return OperatorSpectra(check_positive_int("count", count))
