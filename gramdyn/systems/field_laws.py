"""The laws of the fields of a network: velocities in training-set space, layer by layer.

    dz^l/dt = W^l (m^{l-1} dz^{l-1}/dt)  - s G^{l-1} drive^l                            forward
    dq^l/dt = W^{l+1,T} (m^{l+1} dq^{l+1}/dt)  - s (delta^{l+1} . drive^{l+1}) h^l      backward

The first term is transport through the layers in between, the second the learning of one layer.
Unrolled, transport is the pushforward operators Gamma and the pullback operators P of
`gramdyn.kernels.operators`; one sweep applies them all. The law of q holds between mask flips: a
flip of layer k makes delta^k jump and every q^l below with it (`conjugate_jump`). Masks that move
smoothly add phi''(z) dz/dt q to d(m q)/dt. A residual layer adds what skips it to both sweeps.
Source: arXiv 2606.09744.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn.models.layers import Pulled, Trace
from gramdyn.models.network import Network
from gramdyn.systems.network_fields import NetworkFields


class FieldVelocity(NamedTuple):
    """Velocity of one field, in its two parts.

    Attributes:
        own: By the learning of one layer.
        transport: Carried over from the neighbouring layer's field.
    """

    own: Float[Array, "n *rows N"]
    transport: Float[Array, "n *rows N"]

    @property
    def total(self) -> Float[Array, "n *rows N"]:
        """The velocity."""
        return self.own + self.transport


def forward_law(fields: NetworkFields) -> tuple[FieldVelocity, ...]:
    """Velocity of every layer's preactivations under gradient flow, the readout's last.

    That of the readout is the velocity of the outputs, so it is the residual law too.

    Returns:
        One a layer, arrays of shape (n, N_l).

    Cost: 2 n N^2 + 4 n^2 N operations a layer.
    """
    return tuple(_sweep(fields)[0])


def _sweep(fields: NetworkFields) -> tuple[list[FieldVelocity], list[Array | None]]:
    """Velocity of every layer's preactivations, and of what enters it: None for the inputs."""
    found: list[FieldVelocity] = []
    entering: list[Array | None] = [None]
    for i, (layer, trace) in enumerate(zip(fields.network.layers, fields.traces, strict=True)):
        moved = entering[i]
        carried = jnp.zeros_like(trace.pre) if moved is None else layer.carry(trace, moved)
        found.append(FieldVelocity(own_forward(fields, i), carried))
        entering.append(_handed_on(fields, i, found[-1].total, moved))
    return found, entering


def _handed_on(
    fields: NetworkFields, i: int, rate: Float[Array, "n N"], moved: Float[Array, "n N_in"] | None
) -> Float[Array, "n N"]:
    """Velocity of what layer i hands on, from that of its preactivations and of what enters it."""
    layer, trace = fields.network.layers[i], fields.traces[i]
    found = layer.hand_on(trace, rate, moved)
    own = layer.learn_act(trace, fields.driven[i]) if layer.trainable else None
    return found if own is None else found - fields.loss_scale * own


def conjugate_law(fields: NetworkFields) -> tuple[FieldVelocity, ...]:
    """Velocity of every hidden layer's conjugate field under gradient flow, between mask flips.

    Returns:
        One a hidden layer, arrays of shape (n, C, N_l).

    Cost: 2 n C N^2 + 4 n^2 C N operations a layer, and those of `forward_law` where masks move
        smoothly.
    """
    found: list[FieldVelocity] = []
    layers = fields.network.layers
    bends = fields.network.skips or any(layer.activation.curvature for layer in layers[1:-1])
    rates, entering = _sweep(fields) if bends else ([], [])
    for i in range(len(layers) - 2, -1, -1):
        carried = jnp.zeros_like(fields.conj[i])
        if found:
            carried = _carried_back(fields, i + 1, found[-1].total, rates)
        if fields.network.skips:
            above, trace, back = layers[i + 1], fields.traces[i + 1], fields.pulled[i + 1]
            bend = above.bend(trace, entering[i + 1], back)
            carried = carried if bend is None else carried + bend
        found.append(FieldVelocity(own_backward(fields, i), carried))
    return tuple(reversed(found))


def _carried_back(
    fields: NetworkFields, i: int, moved: Float[Array, "n C N"], rates: Sequence[FieldVelocity]
) -> Float[Array, "n C N_in"]:
    """Velocity below layer i that one of its own conjugate field, and its bent mask, make."""
    layer, trace = fields.network.layers[i], fields.traces[i]
    sens = fields.masks[i][:, None, :] * moved
    if layer.activation.curvature is not None:
        bent = layer.activation.curvature(trace.pre) * rates[i].total
        sens = sens + bent[:, None, :] * fields.conj[i]
    return layer.below(trace, Pulled(sens, moved))


def own_forward(fields: NetworkFields, i: int) -> Float[Array, "n N"]:
    """Velocity of the preactivations of layer i by its own learning; zero if it does not train."""
    layer, trace = fields.network.layers[i], fields.traces[i]
    if not layer.trainable:
        return jnp.zeros_like(trace.pre)
    return -fields.loss_scale * layer.learn_pre(trace.inputs, trace, fields.driven[i])


def own_backward(fields: NetworkFields, i: int) -> Float[Array, "n C N"]:
    """Velocity of the conjugate field of layer i by the learning of the layer above it."""
    above, trace, back = fields.network.layers[i + 1], fields.traces[i + 1], fields.pulled[i + 1]
    if not above.trainable:
        return jnp.zeros_like(fields.conj[i])
    return -fields.loss_scale * above.learn_conj(back, trace, fields.driven[i + 1])


def conjugate_jump(
    network: Network,
    traces: Sequence[Trace],
    masks_after: Sequence[Float[Array, "n _"]],
    conj_after: Sequence[Float[Array, "n C _"]],
) -> tuple[Float[Array, "n C _"], ...]:
    """Change of each conjugate field over one step that mask flips cause, in it and from above.

    A flip of layer k makes delta^k jump by +-q^k, and the jump is transported down. What is left
    of q' - q is the part that moves smoothly.

    Args:
        network: The network before the step.
        traces: Fields of its hidden layers before the step; the inputs are not read.
        masks_after: Masks after it.
        conj_after: Conjugate fields after it, (n, C, N_l) a layer.

    Returns:
        One a hidden layer, shape (n, C, N_l); zero for the last, whose field sees no flip.
    """
    jumps = [jnp.zeros_like(conj_after[-1])]
    for i in range(len(masks_after) - 1, 0, -1):
        layer = network.layers[i]
        sens = layer.flipped(traces[i], masks_after[i], conj_after[i], jumps[-1])
        jumps.append(layer.below(traces[i], Pulled(sens, jumps[-1])))
    return tuple(reversed(jumps))
