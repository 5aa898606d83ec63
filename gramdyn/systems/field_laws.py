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

from gramdyn.kernels.field_laws import flip_jump
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
    found: list[FieldVelocity] = []
    layers, moved = fields.network.layers, None  # dh/dt of the layer below
    for i, (layer, trace) in enumerate(zip(layers, fields.traces, strict=True)):
        carried = jnp.zeros_like(trace.pre) if moved is None else moved @ layer.matrix().T
        found.append(FieldVelocity(own_forward(fields, i), carried))
        if i < len(fields.masks):
            own = fields.masks[i] * found[-1].total
            moved = own + moved if layer.skips and moved is not None else own
    return tuple(found)


def conjugate_law(fields: NetworkFields) -> tuple[FieldVelocity, ...]:
    """Velocity of every hidden layer's conjugate field under gradient flow, between mask flips.

    Returns:
        One a hidden layer, arrays of shape (n, C, N_l).

    Cost: 2 n C N^2 + 4 n^2 C N operations a layer, and those of `forward_law` where masks move
        smoothly.
    """
    found: list[FieldVelocity] = []
    layers = fields.network.layers
    smooth = any(layer.activation.curvature is not None for layer in layers[1:-1])
    rates = [one.total for one in forward_law(fields)] if smooth else []
    for i in range(len(layers) - 2, -1, -1):
        carried = jnp.zeros_like(fields.conj[i])
        if found:
            moved = fields.masks[i + 1][:, None, :] * found[-1].total
            carried = layers[i + 1].below(moved + _bent(fields, i + 1, rates), found[-1].total)
        found.append(FieldVelocity(own_backward(fields, i), carried))
    return tuple(reversed(found))


def _bent(fields: NetworkFields, i: int, rates: Sequence[Array]) -> Float[Array, "n C N"]:
    """phi''(z) dz/dt q of layer i, by which a smooth mask moves its sensitivities."""
    curvature = fields.network.layers[i].activation.curvature
    if curvature is None:
        return jnp.zeros_like(fields.conj[i])
    return (curvature(fields.traces[i].pre) * rates[i])[:, None, :] * fields.conj[i]


def own_forward(fields: NetworkFields, i: int) -> Float[Array, "n N"]:
    """Velocity of the preactivations of layer i by its own learning; zero if it does not train."""
    layer, trace = fields.network.layers[i], fields.traces[i]
    if not layer.trainable:
        return jnp.zeros_like(trace.pre)
    return -fields.loss_scale * layer.learn_pre(trace.inputs, trace, fields.drives[i])


def own_backward(fields: NetworkFields, i: int) -> Float[Array, "n C N"]:
    """Velocity of the conjugate field of layer i by the learning of the layer above it."""
    above, trace, sens = fields.network.layers[i + 1], fields.traces[i + 1], fields.sens[i + 1]
    if not above.trainable:
        return jnp.zeros_like(fields.conj[i])
    return -fields.loss_scale * above.learn_conj(sens, trace, fields.drives[i + 1])


def conjugate_jump(
    network: Network,
    masks: Sequence[Float[Array, "n _"]],
    masks_after: Sequence[Float[Array, "n _"]],
    conj_after: Sequence[Float[Array, "n C _"]],
) -> tuple[Float[Array, "n C _"], ...]:
    """Change of each conjugate field over one step that mask flips cause, in it and from above.

    A flip of layer k makes delta^k jump by +-q^k, and the jump is transported down. What is left
    of q' - q is the part that moves smoothly.

    Args:
        network: The network before the step.
        masks: Masks of the hidden layers before the step, (n, N_l) a layer.
        masks_after: Masks after it.
        conj_after: Conjugate fields after it, (n, C, N_l) a layer.

    Returns:
        One a hidden layer, shape (n, C, N_l); zero for the last, whose field sees no flip.
    """
    jumps = [jnp.zeros_like(conj_after[-1])]
    for i in range(len(masks) - 1, 0, -1):
        jump = flip_jump(masks[i], masks_after[i], conj_after[i])
        carried = masks[i][:, None, :] * jumps[-1]
        jumps.append(network.layers[i].below(jump + carried, jumps[-1]))
    return tuple(reversed(jumps))
