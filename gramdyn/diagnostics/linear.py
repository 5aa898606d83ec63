"""Diagnostics of deep linear networks in moment coordinates: modes, plateaus, what is conserved.

Modes are the singular triplets (sigma_i, u_i, v_i) of the white target T Sxx^(1/2), sigma
descending; a mode's strength is u_i^T Pi Sxx^(1/2) v_i, and learned at sigma_i.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gramdyn._checks import check, check_positive
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims, EveryState
from gramdyn.diagnostics.registry import diagnostic, register
from gramdyn.kernels.compare import frobenius
from gramdyn.kernels.linear import conserved_quantities
from gramdyn.models.layers import Dense
from gramdyn.systems.moments import MomentFields

# Singular values that differ by less than this share of the largest count as tied.
_TIED = 1e-6


@diagnostic({"excess_loss": ()}, needs=MomentFields, sees_padding=False)
def excess_loss(fields: MomentFields) -> Float[Array, ""]:
    """Loss above that of the best linear map, to its own relative precision."""
    return fields.excess_loss


@diagnostic({"gradient_norm": ()}, needs=MomentFields, sees_padding=False)
def gradient_norm(fields: MomentFields) -> Float[Array, ""]:
    """Norm of the gradient by all trained weights; its square is -dloss/dt under gradient flow."""
    return jnp.sqrt(fields.gradient_square)


@diagnostic(
    {"learned_modes": ("mode",), "off_diagonal": ()}, needs=MomentFields, sees_padding=False
)
def learned_modes(fields: MomentFields) -> dict[str, Array]:
    """Strength of each mode over its sigma, and what of the white map lies off the modes.

    `off_diagonal` is the Frobenius norm of the white map less its part along the modes, over that
    of the white target. A mode with sigma = 0 has nothing to learn: its strength is given over
    the largest sigma, or as it is where all are 0.
    """
    values, strengths = jnp.asarray(fields.moments.values), fields.mode_strengths
    left, right = jnp.asarray(fields.moments.left), jnp.asarray(fields.moments.right)
    off = frobenius(fields.white_map - (left * strengths[None, :]) @ right.T)
    size = jnp.linalg.norm(values)
    scale = jnp.where(values > 0, values, jnp.where(values[0] > 0, values[0], 1.0))
    return {
        "learned_modes": strengths / scale,
        "off_diagonal": off / jnp.where(size > 0, size, 1.0),
    }


@diagnostic(
    {"map_values": ("mode",), "left_alignment": ("mode",), "right_alignment": ("mode",)},
    needs=MomentFields,
    sees_padding=False,
)
def map_alignment(fields: MomentFields) -> dict[str, Array]:
    """Singular values of the white map, and how well its singular vectors are the target's.

    Alignment of the i-th vector is the length of its projection on the target's i-th one, or on
    the span of those tied with it: 1 where they agree, and 0 where the map's singular value is at
    rounding level, so that its vectors mean nothing. Cost: one singular value decomposition of
    a C x d matrix a saved time.
    """
    moments = fields.moments
    left, values, right = jnp.linalg.svd(fields.white_map, full_matrices=False)
    target = jnp.asarray(moments.values)
    tied = jnp.abs(target[:, None] - target[None, :]) <= _TIED * target[0]
    seen = values > max(fields.white_map.shape) * jnp.finfo(values.dtype).eps * values[:1]
    kept = tied & seen[None, :]
    length = lambda overlaps: jnp.sqrt(jnp.sum(jnp.where(kept, overlaps**2, 0.0), axis=0))  # noqa: E731
    return {
        "map_values": values,
        "left_alignment": length(jnp.asarray(moments.left).T @ left),
        "right_alignment": length(jnp.asarray(moments.right).T @ right.T),
    }


def _is_learned(fields: MomentFields, share: float) -> Bool[Array, " k"]:
    """Modes whose strength has reached this share of their sigma; never one with sigma = 0."""
    values = jnp.asarray(fields.moments.values)
    return (fields.mode_strengths >= share * values) & (values > 0)


class _EveryState(EveryState):
    """A fold over every state of a map, which neurons without weights neither change nor move."""

    needs: ClassVar[type] = MomentFields

    @property
    def ignores_padding(self) -> bool:
        """True."""
        return True


class _Crossing(eqx.Module):
    """Memory of `ModeTimes`.

    Attributes:
        dt: Step size of the run.
        seen: States looked at so far.
        share: Strength of each mode over its sigma in the last one.
        times: When each was learned, infinite while it is not.
    """

    dt: Float[Array, ""]
    seen: Int[Array, ""]
    share: Float[Array, " k"]
    times: Float[Array, " k"]


class ModeTimes(_EveryState):
    """Time at which each mode first reaches a share of its sigma, infinite before it does.

    Time is steps times step size, between two steps by linear interpolation. It is kept at every
    step, so that a run need not be saved often. A mode with sigma = 0 is never learned.

    Attributes:
        share: Share of sigma, above 0 and below 1.
    """

    share: float = eqx.field(static=True, default=0.5)
    name: ClassVar[str] = "mode_times"

    def dims(self) -> dict[str, Dims]:
        """Axes of the array."""
        return {"mode_times": ("mode",)}

    def start(self, fields: MomentFields, scheme: Any) -> _Crossing:
        """No state seen, no mode learned."""
        strengths = fields.mode_strengths
        dt = jnp.asarray(scheme.step_size, strengths.dtype)
        nowhere = jnp.full_like(strengths, -jnp.inf)
        return _Crossing(dt, jnp.zeros((), jnp.int32), nowhere, jnp.full_like(strengths, jnp.inf))

    def look(self, memory: _Crossing, fields: MomentFields) -> _Crossing:
        """Note the modes that crossed since the state before."""
        values = jnp.asarray(fields.moments.values)
        share = fields.mode_strengths / jnp.where(values > 0, values, 1.0)
        crossed = _is_learned(fields, self.share) & jnp.isinf(memory.times)
        gap = share - memory.share
        # The first state has none before it: a mode learned at t = 0 has time 0.
        part = jnp.where(jnp.isfinite(gap) & (gap > 0), (share - self.share) / gap, 0.0)
        now = memory.dt * (memory.seen.astype(share.dtype) - part)
        return _Crossing(memory.dt, memory.seen + 1, share, jnp.where(crossed, now, memory.times))

    def tell(self, memory: _Crossing) -> dict[str, Array]:
        """The times so far."""
        return {"mode_times": memory.times}


@register("mode_times")
def make_mode_times(share: float = 0.5) -> ModeTimes:
    """Time at which each mode first reaches `share` of its sigma."""
    check(check_positive("share", share) < 1, "share", "be below 1", share)
    return ModeTimes(share)


@register("plateaus")
class Plateaus(_EveryState):
    """The slowest state of each stage, beside the critical value it should lie near.

    Stage c is all states in which c modes have reached half their sigma. Of each stage: the least
    squared gradient norm seen in it, the loss there, and the critical value of the set of modes
    learned there, floor + 1/2 sum of sigma_i^2 over the others. A stage that a run skips, since
    two modes rose together, is infinite: for three layers and more the order of learning is not
    always that of sigma, so the level is that of the modes learned, whichever they are.
    """

    name: ClassVar[str] = "plateaus"

    def dims(self) -> dict[str, Dims]:
        """Axes of the three arrays."""
        return dict.fromkeys(("plateau_loss", "plateau_speed", "plateau_level"), ("stage",))

    def start(self, fields: MomentFields, scheme: Any) -> Float[Array, "3 stages"]:
        """No stage seen: rows are speed, loss and level."""
        count = fields.mode_strengths.shape[0] + 1
        return jnp.full((3, count), jnp.inf, fields.loss.dtype)

    def look(self, memory: Float[Array, "3 stages"], fields: MomentFields) -> Array:
        """Keep this state if it is the slowest of its stage."""
        learned = _is_learned(fields, 0.5)
        values = jnp.asarray(fields.moments.values)
        level = fields.moments.floor + 0.5 * jnp.sum(jnp.where(learned, 0.0, values**2))
        found = jnp.stack([fields.gradient_square, fields.loss, level])
        here = jnp.arange(memory.shape[1]) == jnp.sum(learned)
        return jnp.where((here & (found[0] < memory[0]))[None, :], found[:, None], memory)

    def tell(self, memory: Float[Array, "3 stages"]) -> dict[str, Array]:
        """The slowest states so far."""
        return dict(zip(("plateau_speed", "plateau_loss", "plateau_level"), memory, strict=True))


@register("conserved_drift")
class ConservedDrift(AbstractDiagnostic):
    """Largest entry of C_l(t) - C_l(0) at each hidden node, C_l = W_{l+1}^T W_{l+1} - W_l W_l^T.

    Constant under gradient flow where both layers train. The drift over a fixed time is of the
    order of the scheme: eta for gradient descent, dt^4 for Runge-Kutta, rounding for the implicit
    midpoint. Under weight decay lambda, C_l(t) = exp(-2 lambda t) C_l(0).
    """

    name: ClassVar[str] = "conserved_drift"
    needs: ClassVar[type] = MomentFields
    chatters: ClassVar[bool] = False

    @property
    def ignores_padding(self) -> bool:
        """Neurons without weights add rows and columns of zeros."""
        return True

    def dims(self) -> dict[str, Dims]:
        """Axes of the array."""
        return {"conserved_drift": ("hidden",)}

    def start(self, fields: MomentFields, scheme: Any) -> tuple[Float[Array, "_ _"], ...]:
        """C_l at t = 0.

        Raises:
            InputError: for a network without hidden layers.
        """
        found = _conserved(fields)
        check(len(found) > 0, "depth", "be at least 1 for conserved_drift", 0)
        return found

    def observe(self, memory: Any, fields: MomentFields) -> tuple[dict[str, Array], Any]:
        """Drift since t = 0."""
        pairs = zip(_conserved(fields), memory, strict=True)
        drift = jnp.stack([jnp.max(jnp.abs(now - then)) for now, then in pairs])
        return {"conserved_drift": drift}, memory


def _conserved(fields: MomentFields) -> tuple[Float[Array, "_ _"], ...]:
    """C_l of the weights that train, forward multipliers left out: those are what it holds for."""
    layers = fields.network.layers
    return conserved_quantities([one.weight for one in layers if isinstance(one, Dense)])
