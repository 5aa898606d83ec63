"""How well conditioned the hidden layers of a network are, end to end."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_positive_int
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.registry import register
from gramdyn.kernels.chain_spectra import (
    chain_rank,
    log_singular_values,
    relative_spectral_sensitivity,
)
from gramdyn.models.layers import Trace
from gramdyn.systems.network_fields import NetworkFields

_ARRAYS = (
    *("log_condition", "log_top_singular", "log_gradient_ratio", "spectral_sensitivity"),
    *("chain_rank", "log_rank_condition"),
)


class Conditioning(AbstractDiagnostic):
    """Of the Jacobian from the input of the first square hidden layer to the last hidden layer.

    Medians over the first few samples of: `log_condition`, log10 of its condition number (infinite
    where dead units make a factor singular); `log_top_singular`, log10 of its largest singular
    value; `log_gradient_ratio`, log10 of the norm of the conjugate field at its input over that at
    its output; `spectral_sensitivity`, the relative sensitivity of singular values to one layer
    (see `gramdyn.kernels.relative_spectral_sensitivity`), median over values of means over layers,
    NaN where the condition is beyond the dtype; `chain_rank`, how many singular values are not 0,
    and `log_rank_condition`, log10 of the largest over the least of those
    (infinite where none is).

    Attributes:
        samples: How many samples, at most.

    Cost: Jacobians of all those layers, and as many QR and singular value decompositions, a sample.
    """

    samples: int = eqx.field(static=True, default=4)
    name: ClassVar[str] = "conditioning"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the arrays."""
        return dict.fromkeys(_ARRAYS, ())

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """The medians."""
        start = first_square(fields)
        factors = chain_factors(fields, start, self.samples)
        rows = fields.conj[-1][: self.samples]
        found = jax.vmap(_of_chain)(factors, rows)
        return dict(zip(_ARRAYS, (jnp.median(one) for one in found), strict=True)), memory


def first_square(fields: NetworkFields) -> int:
    """Position of the first of the square layers at the end of the hidden ones.

    Raises:
        InputError: where the last hidden layer is not square.
    """
    width = fields.traces[-2].act.shape[1]
    square = [_is_square(trace, width) for trace in fields.traces[:-1]]
    check(square[-1], "network", "have a square hidden layer for `conditioning`", "without")
    return max((i + 1 for i, one in enumerate(square) if not one), default=0)


def _is_square(trace: Trace, width: int) -> bool:
    """Whether as much enters as is handed on; a layer told by its fields alone does not know."""
    return trace.inputs is not None and trace.inputs.shape[1] == trace.act.shape[1] == width


def chain_factors(fields: NetworkFields, start: int, samples: int) -> Float[Array, "n L N N"]:
    """Jacobians of the hidden layers from `start` on, of the first samples."""
    found = []
    for layer, trace in zip(fields.network.layers[start:-1], fields.traces[start:], strict=False):
        found.append(layer.jacobians(trace.first(samples)))
    return jnp.stack(found, axis=1)


def _of_chain(
    factors: Float[Array, "L N N"], rows: Float[Array, "C N"]
) -> tuple[Float[Array, ""], ...]:
    pulled, _ = jax.lax.scan(lambda now, one: (now @ one, None), rows, factors, reverse=True)
    ratio = jnp.linalg.norm(pulled) / jnp.linalg.norm(rows)
    logs, rank = log_singular_values(factors) / math.log(10.0), chain_rank(factors)
    sensitivity = jnp.median(jnp.mean(relative_spectral_sensitivity(factors), axis=0))
    left = jnp.where(rank > 0, logs[0] - logs[rank - 1], jnp.inf)
    condition = jnp.where(rank < len(logs), jnp.inf, left)
    return condition, logs[0], jnp.log10(ratio), sensitivity, rank.astype(logs.dtype), left


@register("conditioning")
def make_conditioning(samples: int = 4) -> Conditioning:
    """Condition, largest singular value, gradients' ratio and sensitivity of the hidden layers."""
    return Conditioning(check_positive_int("samples", samples))
