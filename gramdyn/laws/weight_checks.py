"""Checks of the laws of the weights: their velocity, the loss, what is conserved, coordinates."""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn.dynamics import Adaptive, GradientDescent
from gramdyn.dynamics.schemes import AbstractScheme
from gramdyn.kernels.compare import frobenius
from gramdyn.kernels.linear import layer_map_velocities
from gramdyn.laws.activations import is_homogeneous, is_linear
from gramdyn.laws.moment import Moment, compare, relative, worst
from gramdyn.laws.registry import Found, law
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network
from gramdyn.systems import NetworkFields, NetworkSystem
from gramdyn.systems.gram import to_gram

BALANCE = "Du, Hu and Lee, arXiv 1806.00900"


@law("weight velocity", source="chain rule")
def weight_velocity(moment: Moment) -> Found:
    """The velocity that schemes step by is minus the gradient of the loss, by autodiff."""
    fields, loss = moment.fields, moment.system.loss
    scaled = jax.grad(loss.value)(fields.outputs, moment.system.targets)
    leaves = [
        jax.tree.leaves(tree)
        for tree in (
            moment.system.velocity(moment.state, fields),
            moment.velocity,
            moment.other.gradient(),
        )
    ]
    errors = [relative(scaled, fields.loss_scale * fields.residual), compare(*leaves)]
    return Found(worst(errors))


@law("loss decay", needs="kernels")
def loss_decay(moment: Moment) -> Found:
    """dLoss/dt = -s^2 r^T K r = -|velocity|^2, velocity and kernel the library's."""
    fields, system = moment.fields, moment.system

    def told(fields: NetworkFields) -> Float[Array, ""]:
        r, kernel = fields.residual, fields.tangent_kernel
        return -(fields.loss_scale**2) * jnp.einsum("mc,mcne,ne->", r, kernel, r)

    loss = lambda outputs: system.loss.value(outputs, system.targets)  # noqa: E731
    rate = jax.jvp(loss, (fields.outputs,), (moment.pre_rates[-1],))[1]
    leaves = jax.tree.leaves(system.velocity(moment.state, fields))
    squares = -jnp.sum(jnp.stack([jnp.sum(leaf**2) for leaf in leaves]))
    size = jnp.abs(told(moment.other))
    return Found(worst([relative(told(fields), one, size) for one in (rate, squares)]))


def balanced_pairs(network: Network) -> tuple[int, ...]:
    """Positions i such that free layers i and i + 1 train, a homogeneous activation between."""
    pairs = enumerate(itertools.pairwise(network.layers))
    return tuple(
        i
        for i, pair in pairs
        if all(one.trainable and one.free and not one.skips for one in pair)
        and is_homogeneous(pair[0].activation)
    )


def _has_pairs(network: Network, scheme: AbstractScheme) -> bool:
    return bool(balanced_pairs(network))


@law("balance of neighbours", source=BALANCE, applies=_has_pairs)
def balance(moment: Moment) -> Found:
    """|W^l_i|^2 + b_i^2 - |W^{l+1}_{:,i}|^2 stands still along the flow.

    For a linear activation without bias all of W^l W^{l,T} - W^{l+1,T} W^{l+1} does. The velocity
    is the library's.
    """
    start, system = moment.system.start, moment.system
    velocity = system.velocity(moment.state, moment.fields)
    other = system.velocity(moment.state, moment.other)
    errors = []
    for i in balanced_pairs(start):
        here, moves, sizes = (_sides(network, i) for network in (start, velocity, other))
        rates = [_overlap(w, v, start, i) for w, v in zip(here, moves, strict=True)]
        size = frobenius(_overlap(here[0], sizes[0], start, i))
        errors.append(relative(rates[0], rates[1], size))
    return Found(worst(errors))


@law(
    "balance after one step",
    source=BALANCE,
    reason="rounding of the squares, in units of their size",
    applies=_has_pairs,
)
def balance_step(moment: Moment) -> Found:
    """One descent step changes the balance by eta^2 times that of the gradient, exactly."""
    start, system = moment.system.start, moment.system
    velocity = system.velocity(moment.state, moment.fields)
    step = jnp.asarray(moment.scheme.step_size)
    after = jax.tree.map(lambda leaf, move: leaf + step * move, moment.state, velocity)
    errors = []
    for i in balanced_pairs(start):
        now, then, moves = (
            [_overlap(side, side, start, i) for side in _sides(network, i)]
            for network in (start, after, velocity)
        )
        drift = (then[0] - then[1]) - (now[0] - now[1])
        gap = drift - step**2 * (moves[0] - moves[1])
        sizes = frobenius(then[0]) + frobenius(then[1])
        errors.append(frobenius(gap) / jnp.maximum(sizes, jnp.finfo(sizes.dtype).tiny))
    return Found(worst(errors))


def _sides(network: Network, i: int) -> tuple[Float[Array, "N _"], Float[Array, "N _"]]:
    """What enters and what leaves each neuron of layer i: [W^i, b^i] and W^{i+1,T}."""
    below, above = network.layers[i], network.layers[i + 1]
    assert isinstance(below, Dense)
    assert isinstance(above, Dense)
    into = below.weight
    if below.bias is not None:
        into = jnp.concatenate([into, below.bias[:, None]], axis=1)
    return into, above.weight.T


def _overlap(
    one: Float[Array, "N M"], two: Float[Array, "N M"], network: Network, i: int
) -> Float[Array, "N *N"]:
    """Symmetric overlaps of neurons that layer i keeps: each with itself, or all with all."""
    layer = network.layers[i]
    assert isinstance(layer, Dense)
    if is_linear(layer.activation) and layer.bias is None:
        return one @ two.T + two @ one.T
    return 2.0 * jnp.sum(one * two, axis=1)


def _has_gram(network: Network, scheme: AbstractScheme) -> bool:
    """Whether the first layer has Gram coordinates, exact for the scheme."""
    return scheme.linear and isinstance(network.layers[0], Dense)


@law("Gram coordinates = weights", applies=_has_gram)
def coordinates(moment: Moment) -> Found:
    """One step of the run's scheme from rest in both coordinates: every z and the outputs.

    A step of plain gradient descent where the scheme is adaptive, since its error control sees the
    coordinates.
    """
    weights = moment.system
    first, *rest = weights.start.layers
    assert isinstance(first, Dense)
    start = Network((to_gram(first, weights.inputs), *rest))
    gram = NetworkSystem(
        start, first, weights.inputs, weights.targets, weights.loss, weights.offset
    )
    scheme = moment.scheme
    if isinstance(scheme, Adaptive):
        scheme = GradientDescent(scheme.step_size)
    traces = [_after_step(system, scheme) for system in (weights, gram)]
    return Found(worst([relative(one, two) for one, two in zip(*traces, strict=True)]))


def _after_step(system: NetworkSystem, scheme: AbstractScheme) -> list[Float[Array, "n _"]]:
    """Preactivations of every layer after one step, the readout's last."""
    state = system.initial_state()
    state, _ = scheme.step(system, state, scheme.init(state), system.fields(state))
    return [trace.pre for trace in system.fields(state).traces]


def _is_linear_map(network: Network) -> bool:
    """Whether all layers are linear without biases."""
    dense = [layer for layer in network.layers if isinstance(layer, Dense)]
    plain = len(dense) == len(network.layers) and all(one.bias is None for one in dense)
    return plain and not network.skips and all(is_linear(layer.activation) for layer in dense)


@law(
    "linear kernels = Gram form",
    needs="kernels",
    source="arXiv 2511.10362",
    applies=lambda network, scheme: _is_linear_map(network),
)
def linear_kernels(moment: Moment) -> Found:
    """K^l r, layer by layer, is what each layer's share in dPi/dt does to the inputs.

    The share is (W_L ... W_{l+1})(W_L ... W_{l+1})^T error (W_{l-1} ... W_1)^T (W_{l-1} ... W_1),
    with error = -s r^T X, times the square of the layer's multiplier.
    """
    fields, inputs = moment.fields, moment.system.inputs
    layers = [layer for layer in fields.network.layers if isinstance(layer, Dense)]
    error = -fields.loss_scale * fields.residual.T @ inputs
    shares = layer_map_velocities([layer.matrix() for layer in layers], error)
    errors = []
    for kernel, i in zip(fields.layer_kernels, fields.trained, strict=True):
        scale = layers[i].scale
        square = 1.0 if scale is None else scale**2
        moved = -fields.loss_scale * jnp.einsum("mcne,ne->mc", kernel, fields.residual)
        errors.append(relative(moved, square * inputs @ shares[i].T))
    return Found(worst(errors))
