"""The fields as a system: (z, q, r) stepped by their own laws, weights carried as transport.

With every operator and every mask flip kept it is gradient descent on the weights, to rounding.
Leaving parts out asks what the fields need to close: see `Closure`.
Source: arXiv 2606.09744.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check
from gramdyn._types import Scalar
from gramdyn.data.task import Task
from gramdyn.models.layers import Dense, GramDense, Pulled, Trace
from gramdyn.models.network import Network
from gramdyn.systems.base import AbstractSystem
from gramdyn.systems.closure import Closure, make_closure
from gramdyn.systems.field_laws import own_backward, own_forward
from gramdyn.systems.gram import to_gram
from gramdyn.systems.losses import AbstractLoss
from gramdyn.systems.make import make_system
from gramdyn.systems.network import NetworkSystem
from gramdyn.systems.network_fields import NetworkFields

Parts = dict[tuple[int, int], Array]


class FieldState(eqx.Module):
    """State of the fields.

    Attributes:
        pre: Preactivations of each hidden layer, (n, N_l).
        conj: Conjugate field of each hidden layer, (n, C, N_l).
        weights: What trains above the first layer, as a network with None for all else; only the
            operators read it.
    """

    pre: tuple[Float[Array, "n _"], ...]
    conj: tuple[Float[Array, "n C _"], ...]
    weights: Network


class SteppedFields(NetworkFields):
    """Fields that are the state itself, not what a network makes of its weights."""

    def __init__(self, state: FieldState, network: Network, *seen: Any):
        super().__init__(network, None, *seen)
        self.traces = _traces(network, state.pre)  # in place of the cached sweeps
        n, n_outputs = self.targets.shape
        eye = jnp.eye(n_outputs, dtype=self.targets.dtype)[None]
        conjs = (*state.conj, jnp.broadcast_to(eye, (n, n_outputs, n_outputs)))
        back = zip(network.layers, self.traces, conjs, strict=True)
        self.pulled = tuple(
            Pulled(layer.backward(trace, conj), conj) for layer, trace, conj in back
        )


def _traces(network: Network, pre: tuple[Array, ...]) -> tuple[Trace, ...]:
    """Traces of given preactivations; the readout's own follow from them."""
    found, act = [], None
    for layer, one in zip(network.layers[:-1], pre, strict=True):
        trace = Trace(act, one, layer.activation.value(one))
        found.append(trace)
        act = trace.act
    return (*found, network.readout.forward(act))


class FieldSystem(AbstractSystem):
    """Training of a network, told by its fields alone.

    Attributes:
        start: The network at t = 0, its first layer in Gram coordinates.
        conj: Conjugate fields at t = 0.
        pre: Preactivations at t = 0.
        targets: Training targets, shape (n, C).
        loss: Loss of outputs and targets.
        offset: Subtracted from what the network gives, shape (n, C), or None.
        closure: What of the laws is kept.
    """

    start: Network
    pre: tuple[Float[Array, "n _"], ...]
    conj: tuple[Float[Array, "n C _"], ...]
    targets: Float[Array, "n C"]
    loss: AbstractLoss
    offset: Float[Array, "n C"] | None
    closure: Closure = eqx.field(static=True)

    @property
    def exact_for(self) -> str:
        """Plain gradient "descent" where flips are kept, else a "flow"."""
        return "descent" if self.closure.flips else "flow"

    def initial_state(self) -> FieldState:
        """The fields and the trained weights at t = 0."""
        return FieldState(self.pre, self.conj, _upper(self.start.partition()[0]))

    def fields(self, state: FieldState) -> SteppedFields:
        """The fields, and the network of the transported weights."""
        first = eqx.tree_at(lambda layer: layer.pre, self.start.layers[0], state.pre[0])
        network = eqx.combine(state.weights, Network((first, *self.start.layers[1:])))
        return SteppedFields(state, network, self.targets, self.loss, self.offset)

    def velocity(self, state: FieldState, fields: SteppedFields | None = None) -> FieldState:
        """Velocity by the laws of the flow between mask flips, cut as the closure says."""
        fields = self.fields(state) if fields is None else fields
        return FieldState(
            self._forward(fields),
            self._backward(fields),
            jax.tree.map(lambda leaf: -leaf, _upper(fields.gradient())),
        )

    def _forward(self, fields: SteppedFields) -> tuple[Array, ...]:
        """Velocity of the preactivations, cut."""
        found: list[Array] = []
        parts = Parts()
        for i in range(fields.network.depth):
            if i > 0:
                parts = self._carry(parts, fields, i, fields.masks[i - 1], up=True)
            _add(parts, (0, 0), own_forward(fields, i))
            found.append(functools.reduce(jnp.add, parts.values()))
        return tuple(found)

    def _backward(self, fields: SteppedFields) -> tuple[Array, ...]:
        """Velocity of the conjugate fields, cut."""
        found: list[Array] = []
        parts = Parts()
        for i in range(fields.network.depth - 1, -1, -1):
            if found:
                parts = self._carry(parts, fields, i + 1, fields.masks[i + 1][:, None, :], up=False)
            _add(parts, (0, 0), own_backward(fields, i))
            found.append(functools.reduce(jnp.add, parts.values()))
        return tuple(reversed(found))

    def _carry(
        self, parts: Parts, fields: SteppedFields, i: int, mask: Array, *, up: bool
    ) -> Parts:
        """Parts of a velocity through layer i, by layers crossed and powers of weight movement."""
        now = fields.network.layers[i].matrix()
        steps: tuple[tuple[int, Array], ...] = ((0, now),)
        if self.closure.expansion is not None:
            then = self.start.layers[i].matrix()
            steps = ((0, then), (1, now - then))
        cuts = int(self.closure.order is not None)
        found = Parts()
        for (crossed, moved), part in parts.items():
            for power, matrix in steps:
                place = (crossed + cuts, moved + power)
                if self.closure.keeps(*place):
                    _add(found, place, (mask * part) @ (matrix.T if up else matrix))
        return found

    def descend(self, state: FieldState, step: Scalar, fields: SteppedFields) -> FieldState:
        """One step of gradient descent: by the exact discrete laws where flips are kept."""
        if not self.closure.flips:
            return super().descend(state, step, fields)
        rate = step * fields.loss_scale
        pre = _descend_pre(fields, rate)
        conj = _descend_conj(fields, rate, pre)
        gradient = _upper(fields.gradient())
        weights = jax.tree.map(lambda leaf, slope: leaf - step * slope, state.weights, gradient)
        return FieldState(pre, conj, weights)

    def stiffness(self, fields: SteppedFields) -> Float[Array, ""]:
        """S times the largest eigenvalue of the tangent kernel."""
        return fields.stiffness()


def _add(parts: Parts, place: tuple[int, int], part: Array) -> None:
    parts[place] = parts[place] + part if place in parts else part


def _upper(network: Network) -> Network:
    """The network with None for the arrays of its first layer, which the fields replace."""
    first = jax.tree.map(lambda _: None, network.layers[0])
    return Network((first, *network.layers[1:]))


def _descend_pre(fields: SteppedFields, rate: Scalar) -> tuple[Array, ...]:
    """Preactivations after the step, forward."""
    found: list[Array] = []
    act, change = None, None
    for i, layer in enumerate(fields.network.layers[:-1]):
        trace = fields.traces[i]
        pre = trace.pre
        if change is not None:
            pre = pre + change @ layer.matrix().T
        if layer.trainable:
            pre = pre - rate * layer.learn_pre(act, trace, fields.driven[i])
        act = layer.activation.value(pre)
        change = act - trace.act
        found.append(pre)
    return tuple(found)


def _descend_conj(fields: SteppedFields, rate: Scalar, pre: tuple[Array, ...]) -> tuple[Array, ...]:
    """Conjugate fields after the step, backward, given the preactivations after it."""
    found: list[Array] = []
    layers = fields.network.layers
    back = fields.pulled[-1]
    for i in range(len(layers) - 1, 0, -1):
        trace, conj = fields.traces[i], fields.conj[i - 1]
        conj = conj + layers[i].pull(back.sens - fields.sens[i])
        if layers[i].trainable:
            conj = conj - rate * layers[i].learn_conj(back, trace, fields.driven[i])
        found.append(conj)
        back = Pulled(layers[i - 1].activation.mask(pre[i - 1])[:, None, :] * conj, conj)
    return tuple(reversed(found))


def field_system(fields: NetworkFields, closure: str | Closure | Any = "exact") -> FieldSystem:
    """The field-space system that starts from the fields of a network now.

    Args:
        fields: Fields of a network of dense layers, in either coordinates.
        closure: A name in `CLOSURES`, `{order: ..., expansion: ...}`, or a `Closure`.

    Raises:
        InputError: for residual, convolutional or structured layers, or an unknown closure.
    """
    _check_laws(fields.network)
    first = fields.network.layers[0]
    if not isinstance(first, GramDense):
        assert isinstance(first, Dense)
        assert fields.inputs is not None
        first = to_gram(first, fields.inputs)
    return FieldSystem(
        Network((first, *fields.network.layers[1:])),
        tuple(trace.pre for trace in fields.traces[:-1]),
        fields.conj,
        fields.targets,
        fields.loss_function,
        fields.offset,
        make_closure(closure),
    )


def _check_laws(network: Network) -> None:
    """Refuse layers whose steps have no law in the fields alone."""
    told = "have free matrices for fields as a system"
    check(network.free, "network", told, "one of structured layers")
    told = "have no residual layers for fields as a system"
    check(not network.skips, "network", told, "residual")
    told = "have no convolutions for fields as a system"
    check(not network.shares_weights, "network", told, "convolutional")


def make_field_system(
    network: Network,
    task: Task,
    *,
    closure: str | Closure | Any = "exact",
    loss: AbstractLoss | None = None,
    centred: bool = False,
) -> FieldSystem:
    """The field-space system of a network trained on a task.

    Args:
        network: Network of dense layers in weight coordinates at t = 0.
        task: Inputs and targets; cast to the network's dtype.
        closure: What of the laws is kept: "exact", "flips_omitted", "frozen", "dropped",
            `{order: p}`, `{expansion: p}`, or a `Closure`.
        loss: `SquaredLoss("sum")` by default.
        centred: Train outputs minus their value at t = 0.

    Returns:
        A system for `simulate`; with closure "exact" under gradient descent its trajectory is that
        of the weights, otherwise an approximation of gradient flow for any scheme linear in the
        gradient and without weight decay.

    Raises:
        InputError: as `make_system`, and for an unknown closure.

    Cost: a step is about twice that of the network's own system: both sweeps carry changes too,
        with C rows a sample in the backward one.
    """
    made = make_closure(closure)
    _check_laws(network)
    system = make_system(network, task, loss=loss, coordinates="gram", centred=centred)
    assert isinstance(system, NetworkSystem)
    return field_system(system.fields(system.initial_state()), made)
