"""Diagnostics of the field laws: who moves the fields, the kernels and the residual."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.registry import diagnostic, register
from gramdyn.kernels.compare import frobenius
from gramdyn.models.layers import Pulled, Trace
from gramdyn.models.network import Network
from gramdyn.systems.field_laws import FieldVelocity, conjugate_jump, conjugate_law, forward_law
from gramdyn.systems.network_fields import NetworkFields

_LAW_AXES: dict[str, Dims] = dict.fromkeys(
    ("pre_velocity", "conj_velocity", "transport_share", "pullback_share"), ("hidden",)
)


@diagnostic(_LAW_AXES, chatters=True)
def transport(fields: NetworkFields) -> dict[str, Array]:
    """Speed of each hidden layer's fields under the flow, and how much of it operators carry.

    `pre_velocity` and `conj_velocity` are |dz^l/dt| and |dq^l/dt| between flips. `transport_share`
    is |T| / (|T| + |O|) with T the part of dz^l/dt that comes from layers below through the
    pushforward operators and O the layer's own; `pullback_share` likewise for dq^l/dt, where O is
    the learning of the next layer and T comes from above through the pullback operators, or by what
    bends a mask or a correction. The first share is 0 in the first layer, the second in the last,
    and with a fixed readout in the last two where nothing bends.
    """
    pre, conj = forward_law(fields)[:-1], conjugate_law(fields)
    return {
        "pre_velocity": jnp.stack([frobenius(one.total) for one in pre]),
        "conj_velocity": jnp.stack([frobenius(one.total) for one in conj]),
        "transport_share": jnp.stack([_carried_share(one) for one in pre]),
        "pullback_share": jnp.stack([_carried_share(one) for one in conj]),
    }


def _carried_share(velocity: FieldVelocity) -> Float[Array, ""]:
    return _share(frobenius(velocity.transport), frobenius(velocity.own))


def _share(part: Float[Array, "*axes"], rest: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """Part / (part + rest), 0 where both vanish."""
    total = part + rest
    return jnp.where(total > 0, part / jnp.where(total > 0, total, 1.0), 0.0)


@diagnostic({"decay_share": ("layer",)}, chatters=True)
def decay_share(fields: NetworkFields) -> Float[Array, " L"]:
    """Share of each trained layer in the residual's decay, r^T K^l r / r^T K r; they sum to 1.

    Cost: 2 n^2 N operations a layer; no kernel is formed.
    """
    rates = jnp.stack(
        [
            fields.network.layers[i].decay_rate(fields.traces[i], fields.driven[i])
            for i in fields.trained
        ]
    )
    total = jnp.sum(rates)
    return jnp.where(total > 0, rates / jnp.where(total > 0, total, 1.0), 0.0)


@diagnostic({"kernel_velocity": (), "layer_kernel_velocity": ("layer",)}, chatters=True)
def kernel_velocity(fields: NetworkFields) -> dict[str, Array]:
    """Relative speed |dK/dt| / |K| of the tangent kernel and of each layer's, between mask flips.

    By the field laws: dK^l = dG^{l-1} * Q^l + G^{l-1} * dQ^l.
    """
    speeds = kernel_velocities(fields)
    kernels = fields.layer_kernels
    each = jax.vmap(_relative)(speeds, kernels)
    whole = _relative(jnp.sum(speeds, axis=0), fields.tangent_kernel)
    return {"kernel_velocity": whole, "layer_kernel_velocity": each}


def _relative(part: Float[Array, "*axes"], whole: Float[Array, "*axes"]) -> Float[Array, ""]:
    """|part| / |whole|, 0 where the whole vanishes."""
    size = frobenius(whole)
    return jnp.where(size > 0, frobenius(part) / jnp.where(size > 0, size, 1.0), 0.0)


def kernel_velocities(fields: NetworkFields) -> Float[Array, "L n C n C"]:
    """dK^l/dt of each trained layer between mask flips, shape (layers, n, C, n, C)."""
    told = "have kernels that are each a product of two Grams, for their velocities"
    check(fields.network.factorised, "network", told, "of convolutions or structured layers")
    pre, conj = forward_law(fields), conjugate_law(fields)
    found = []
    for i in fields.trained:
        layer, trace, sens = fields.network.layers[i], fields.traces[i], fields.sens[i]
        # A change of what enters the layer, and of its sensitivities; the readout's are constant.
        act = None if trace.inputs is None else jnp.zeros_like(trace.inputs)
        if i > 0:
            act = fields.masks[i - 1] * pre[i - 1].total
        turn = jnp.zeros_like(sens)
        if i < len(conj):
            turn = fields.masks[i][:, None, :] * conj[i].total

        def kernel(act: Any, sens: Array, layer: Any = layer, trace: Trace = trace) -> Array:
            return layer.kernel(Trace(act, trace.pre, trace.act), Pulled(sens, sens))

        # The kernel is a polynomial in the two, so its derivative along them is exact.
        found.append(jax.jvp(kernel, (trace.inputs, sens), (act, turn))[1])
    return jnp.stack(found)


@register("flip_current")
class FlipCurrent(AbstractDiagnostic):
    """How much of the conjugate fields' movement since the saved time before mask flips caused.

    Each step q' - q splits into what flips cause, in the layers above, and what moves smoothly.
    Both are added up over the steps since the saved time before, so that a unit at rest on its
    kink, which flips to and fro, counts by what is left. `conj_flip` and `conj_smooth` are the
    norms of the two sums; `flip_current` is conj_flip / (conj_flip + conj_smooth). All 0 at t = 0,
    to rounding; conj_flip is 0 in the last hidden layer, whose field sees no flip. Saved at every
    step it is the share step by step, where jumps outweigh all else: they do not shrink with the
    step.

    Cost: a backward sweep of C rows at every step, and one more to carry the jumps.
    """

    name: ClassVar[str] = "flip_current"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the three arrays."""
        return dict.fromkeys(("flip_current", "conj_flip", "conj_smooth"), ("hidden",))

    def start(self, fields: NetworkFields, scheme: Any) -> Any:
        """The fields now, those of the saved time, and no jump yet."""
        return _now(fields), fields.conj, jax.tree.map(jnp.zeros_like, fields.conj)

    def step(self, memory: Any, fields: NetworkFields, left: Any) -> Any:
        """Add the jumps of one step."""
        (network, traces), saved, jumps = memory
        new = conjugate_jump(network, traces, fields.masks, fields.conj)
        return _now(fields), saved, jax.tree.map(jnp.add, jumps, new)

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """The three, and start again."""
        now, saved, jumps = self.step(memory, fields, None)
        trios = zip(fields.conj, saved, jumps, strict=True)
        flip = jnp.stack([frobenius(jump) for jump in jumps])
        smooth = jnp.stack([frobenius(new - old - jump) for new, old, jump in trios])
        found = {"flip_current": _share(flip, smooth), "conj_flip": flip, "conj_smooth": smooth}
        return found, (now, fields.conj, jax.tree.map(jnp.zeros_like, jumps))


def _now(fields: NetworkFields) -> tuple[Network, tuple[Trace, ...]]:
    """What the next step's jumps are made of: the network, its hidden layers without the inputs."""
    first, *others = fields.traces[:-1]
    return fields.network, (Trace(None, first.pre, first.act), *others)
