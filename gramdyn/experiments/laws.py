"""The laws of the hierarchy as checks: each compares what the library says with something else.

The other side of nearly every check is automatic differentiation: the motion of the weights is the
pull of the residual through the outputs, and how a field moves is its derivative along that motion.
A law holds for any weights and any training set, so it may be checked at any state of any run, and
on part of its samples. Entered here in the order in which they are told; to add one, write a
function `Moment -> Found` under `@law`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gramdyn._types import Scalar
from gramdyn.dynamics import Adaptive, GradientDescent
from gramdyn.dynamics.schemes import AbstractScheme, resolve_step
from gramdyn.kernels.compare import frobenius
from gramdyn.kernels.gram import as_matrix, conj_gram
from gramdyn.kernels.operators import (
    Path,
    apply_operator,
    gram_operator_velocity,
    operator_matrix,
    reversed_path,
)
from gramdyn.models.activations import Activation
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network
from gramdyn.systems import NetworkFields, NetworkSystem, conjugate_law, field_system, forward_law
from gramdyn.systems.gram import to_gram

PAPER = "arXiv 2606.09744"
BALANCE = "Du, Hu and Lee, arXiv 1806.00900"

# Sums of up to some thousand products in float64 agree to about 1e-14 of the size of their terms;
# any mistake in a law is many orders above.
ROUNDING = 1e-12


class Found(NamedTuple):
    """What a check gives.

    Attributes:
        error: Relative error, shape ().
        seen: How many there were of what the law counts beside it, shape ().
    """

    error: Float[Array, ""]
    seen: Int[Array, ""] | int = 0


class Moment:
    """One state of a run in weight coordinates, and its true motion by automatic differentiation.

    Lives inside one trace, like the fields.

    Attributes:
        system: The system whose start is the state.
        scheme: The scheme of the run with its step resolved.
    """

    def __init__(self, system: NetworkSystem, scheme: AbstractScheme):
        self.system = system
        self.state, self._rest = system.start.partition()
        self.scheme = resolve_step(scheme, system, self.fields)

    @cached_property
    def fields(self) -> NetworkFields:
        """The library's fields of the state."""
        return self.system.fields(self.state)

    @cached_property
    def other(self) -> NetworkFields:
        """The fields with each residual multiplied by a fixed random number.

        Laws are linear in the residual. Near a stationary point the terms of a law cancel and what
        is left is rounding; with this residual they do not, which gives their size.
        """
        fields = self.system.fields(self.state)
        residual = self.fields.residual
        factors = jax.random.normal(jax.random.key(0), residual.shape, residual.dtype)
        fields.residual = factors * residual  # in place of the cached one
        return fields

    def network(self, state: Network) -> Network:
        """The network of a state."""
        network: Network = eqx.combine(state, self._rest)
        return network

    @cached_property
    def velocity(self) -> Network:
        """Velocity of the weights, -s J^T r, by pulling the residual through the outputs."""
        _, pull = jax.vjp(lambda state: self.network(state)(self.system.inputs), self.state)
        (gradient,) = pull(self.fields.loss_scale * self.fields.residual)
        return jax.tree.map(lambda leaf: -leaf, gradient)

    def rate(self, of: Callable[[Network], Any]) -> Any:
        """How something of the network moves: its derivative along the velocity."""
        along = lambda state: of(self.network(state))  # noqa: E731
        return jax.jvp(along, (self.state,), (self.velocity,))[1]

    @cached_property
    def pre_rates(self) -> tuple[Float[Array, "n _"], ...]:
        """How the preactivations of each layer move; the readout's last."""
        inputs = self.system.inputs
        return self.rate(lambda network: tuple(trace.pre for trace in network.traces(inputs)))

    @cached_property
    def stepped(self) -> Network:
        """The state after one step of gradient descent."""
        step = self.scheme.step_size
        return jax.tree.map(lambda leaf, move: leaf + step * move, self.state, self.velocity)


@dataclass(frozen=True)
class Law:
    """One law and how it is checked.

    Attributes:
        name: What tables call it.
        check: From a moment to the relative error.
        needs: What a check holds at once, a key of `NEEDS`.
        tolerance: Largest error of a law that holds.
        reason: Why the tolerance is what it is.
        source: Where the law stands.
        counts: What the check counts beside the error, or "".
        applies: Whether the law says anything about a network trained by a scheme.
    """

    name: str
    check: Callable[[Moment], Found]
    needs: str
    tolerance: float
    reason: str
    source: str
    counts: str
    applies: Callable[[Network, AbstractScheme], bool]


LAWS: dict[str, Law] = {}


def law(
    name: str,
    *,
    needs: str = "fields",
    tolerance: float = ROUNDING,
    reason: str = "rounding of sums in float64",
    source: str = PAPER,
    counts: str = "",
    applies: Callable[[Network, AbstractScheme], bool] = lambda network, scheme: True,
) -> Callable[[Callable[[Moment], Found]], Callable[[Moment], Found]]:
    """Enter a check by name."""

    def enter(check: Callable[[Moment], Found]) -> Callable[[Moment], Found]:
        LAWS[name] = Law(name, check, needs, tolerance, reason, source, counts, applies)
        return check

    return enter


@dataclass(frozen=True)
class Sizes:
    """Counts that decide on how many samples a law can be checked.

    Attributes:
        samples: Training samples n.
        outputs: Outputs C.
        layers: Layers, the readout among them.
        width: Neurons of the widest layer.
        weights: Trained numbers.
    """

    samples: int
    outputs: int
    layers: int
    width: int
    weights: int

    @classmethod
    def of(cls, system: NetworkSystem) -> "Sizes":
        """The sizes of a system in weight coordinates."""
        n, n_outputs = system.targets.shape
        layers = system.start.layers
        width = max(layer.weight.shape[0] for layer in layers if isinstance(layer, Dense))
        leaves = jax.tree.leaves(system.initial_state())
        return cls(n, n_outputs, len(layers), width, sum(leaf.size for leaf in leaves))


# Numbers a check may hold at once: 0.8 GB.
BUDGET = 10**8
# Rows of a matrix that is diagonalised, since the cost is their cube.
MOST_ROWS = 512

# What a check on n samples holds, and whether that is allowed.
NEEDS: dict[str, Callable[[Sizes, int], bool]] = {
    "fields": lambda size, n: n * size.outputs * (n + size.layers * size.width) <= BUDGET,
    "kernels": lambda size, n: (2 * size.layers + 1) * (n * size.outputs) ** 2 <= BUDGET,
    "jacobian": lambda size, n: n * size.outputs * (size.weights + n * size.outputs) <= BUDGET,
    "operators": lambda size, n: 8 * size.width**2 + n * size.outputs * size.width <= BUDGET,
    "spectra": lambda size, n: n * size.outputs <= MOST_ROWS,
}


def samples_for(law: Law, size: Sizes) -> int:
    """How many samples the law is checked on: all, or as many as its need allows; 0 for none."""
    fits = NEEDS[law.needs]
    return next((n for n in range(size.samples, 0, -1) if fits(size, n)), 0)


def relative(
    one: Float[Array, "*shape"], two: Float[Array, "*shape"], size: Scalar = 0.0
) -> Float[Array, ""]:
    """|one - two| / max(|one|, |two|, size), whole arrays; 0 where all of them vanish.

    So a law says nothing at a state of zero residual, where both its sides are 0.
    """
    tiny = jnp.finfo(one.dtype).tiny
    scale = jnp.maximum(jnp.maximum(frobenius(one), frobenius(two)), jnp.asarray(size, one.dtype))
    return frobenius(one - two) / jnp.maximum(scale, tiny)


def _worst(errors: list[Float[Array, ""]]) -> Float[Array, ""]:
    """The largest error, NaN if any is."""
    return jnp.max(jnp.stack(errors))


def _compare(ones: Any, twos: Any, sizes: Any) -> Float[Array, ""]:
    """The largest relative error over layers; `sizes` are arrays of the size of the terms."""
    trios = zip(ones, twos, sizes, strict=True)
    return _worst([relative(one, two, frobenius(size)) for one, two, size in trios])


def is_homogeneous(activation: Activation) -> bool:
    """Whether phi(z) = phi'(z) z, tried on a few numbers and only roughly."""
    pre, value, mask = _tried(activation)
    return bool(np.allclose(value, mask * pre, rtol=1e-3))


def _is_linear(activation: Activation) -> bool:
    pre, value, _ = _tried(activation)
    return bool(np.all(value == pre))


def _tried(activation: Activation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some preactivations, what becomes of them, and their masks; also inside a trace."""
    with jax.ensure_compile_time_eval():
        pre = jnp.linspace(-2.0, 2.0, 9)[None, :]
        return np.asarray(pre), np.asarray(activation.value(pre)), np.asarray(activation.mask(pre))


def balanced_pairs(network: Network) -> tuple[int, ...]:
    """Positions i such that layers i and i + 1 train with a homogeneous activation between."""
    layers = network.layers
    return tuple(
        i
        for i in range(len(layers) - 1)
        if layers[i].trainable and layers[i + 1].trainable and is_homogeneous(layers[i].activation)
    )


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
    errors = [relative(scaled, fields.loss_scale * fields.residual), _compare(*leaves)]
    return Found(_worst(errors))


@law("layer kernels = J J^T", needs="jacobian", source=f"{PAPER}; Jacot et al., arXiv 1806.07572")
def layer_kernels(moment: Moment) -> Found:
    """Each layer's kernel is J J^T of the outputs' Jacobian by its weights, and so is the sum."""

    def outputs(state: Network, one: Float[Array, " d"]) -> Float[Array, " C"]:
        return moment.network(state)(one[None])[0]

    jacobian = jax.vmap(jax.jacrev(outputs), (None, 0))(moment.state, moment.system.inputs)
    fields = moment.fields
    rows = fields.targets.size
    found = []
    for i in fields.trained:
        leaves = [leaf.reshape(rows, -1) for leaf in jax.tree.leaves(jacobian.layers[i])]
        found.append(sum(leaf @ leaf.T for leaf in leaves).reshape(fields.tangent_kernel.shape))
    pairs = zip(found, fields.layer_kernels, strict=True)
    errors = [relative(one, two) for one, two in pairs]
    return Found(_worst([*errors, relative(sum(found), fields.tangent_kernel)]))


@law("residual law", needs="kernels")
def residual_law(moment: Moment) -> Found:
    """dr/dt = -s sum_l K^l r."""

    def told(fields: NetworkFields) -> Float[Array, "n C"]:
        kernels = fields.layer_kernels
        return -fields.loss_scale * jnp.einsum("lmcne,ne->mc", kernels, fields.residual)

    size = frobenius(told(moment.other))
    return Found(relative(moment.pre_rates[-1], told(moment.fields), size))


@law("forward fields")
def forward_fields(moment: Moment) -> Found:
    """dz^l/dt of every layer, transport and learning swept forward."""
    told, sizes = ([v.total for v in forward_law(f)] for f in (moment.fields, moment.other))
    return Found(_compare(moment.pre_rates, told, sizes))


@law("forward fields by Gamma")
def forward_by_operators(moment: Moment) -> Found:
    """dz^l/dt = -s sum_{k <= l} sum_nu G^{k-1} Gamma^{l,k} drive^l, by pushforward operators."""
    told, sizes = (_pushed(fields) for fields in (moment.fields, moment.other))
    return Found(_compare(moment.pre_rates, told, sizes))


def _pushed(fields: NetworkFields) -> list[Array]:
    layers, traces, found = fields.network.layers, fields.traces, []
    for end, drive in enumerate(fields.drives):
        total = jnp.zeros_like(drive)
        for start in (k for k in fields.trained if k <= end):
            gram = layers[start].input_gram(traces[start])
            if start == end:
                total = total + gram @ drive
            else:
                total = total + apply_operator(fields.push_path(end, start), gram, drive)
        found.append(-fields.loss_scale * total)
    return found


def conjugate_fields(
    network: Network, inputs: Float[Array, "n d"]
) -> tuple[Float[Array, "n C _"], ...]:
    """df_c/dh^l of each hidden layer, by autodiff through what is added to its activations.

    Returns:
        One a hidden layer, shape (n, C, N_l).
    """

    def outputs(shifts: list[Array]) -> Float[Array, "n C"]:
        act = inputs
        for layer, shift in zip(network.layers[:-1], shifts, strict=True):
            act = layer.forward(act).act + shift
        return network.readout.forward(act).act

    shifts = [jnp.zeros_like(trace.act) for trace in network.traces(inputs)[:-1]]
    out, pull = jax.vjp(outputs, shifts)
    n_outputs = out.shape[1]
    rows = jnp.broadcast_to(
        jnp.eye(n_outputs, dtype=out.dtype)[:, None, :], (n_outputs, *out.shape)
    )
    (found,) = jax.vmap(pull)(rows)
    return tuple(jnp.swapaxes(field, 0, 1) for field in found)


@law("conjugate fields")
def conjugate(moment: Moment) -> Found:
    """q^l = df/dh^l, and dq^l/dt between mask flips, transport and learning swept backward."""
    inputs = moment.system.inputs
    now = conjugate_fields(moment.system.start, inputs)
    rates = moment.rate(lambda network: conjugate_fields(network, inputs))
    told, sizes = ([v.total for v in conjugate_law(f)] for f in (moment.fields, moment.other))
    conj = moment.fields.conj
    return Found(_worst([_compare(now, conj, conj), _compare(rates, told, sizes)]))


def _pulls(network: Network, scheme: AbstractScheme) -> bool:
    """Whether learning reaches some q^l through another layer, without a bias on the way."""
    layers = network.layers
    bias = any(layer.bias is not None for layer in layers if isinstance(layer, Dense))
    last = max(i for i, layer in enumerate(layers) if layer.trainable)
    return last >= 2 and not bias and all(is_homogeneous(layer.activation) for layer in layers)


@law("conjugate fields by P", needs="kernels", applies=_pulls)
def conjugate_by_operators(moment: Moment) -> Found:
    """dq^l/dt = -s sum_{k > l} sum_{nu, e} Q^k r P^{l,k} h^l, by the pullback operators.

    Only without biases: h^{k-1} must be the transport of h^l.
    """
    inputs = moment.system.inputs
    rates = moment.rate(lambda network: conjugate_fields(network, inputs))
    told, sizes = (_pulled(fields) for fields in (moment.fields, moment.other))
    return Found(_compare(rates, told, sizes))


def _pulled(fields: NetworkFields) -> list[Array]:
    found = []
    for end, conj in enumerate(fields.conj):
        act, total = fields.traces[end].act, jnp.zeros_like(conj)
        for start in (k for k in fields.trained if k > end):
            layer = fields.network.layers[start]
            assert isinstance(layer, Dense)
            scale = 1.0 if layer.scale is None else layer.scale**2
            gram = conj_gram(fields.sens[start])
            mixes = scale * jnp.einsum("mcne,ne->cmn", gram, fields.residual)
            if start == end + 1:
                parts = [mix @ act for mix in mixes]
            else:
                path = fields.pull_path(end, start)
                parts = [apply_operator(path, mix, act) for mix in mixes]
            total = total + jnp.stack(parts, axis=1)
        found.append(-fields.loss_scale * total)
    return found


@law("exact step of the fields", counts="masks flipped")
def exact_step(moment: Moment) -> Found:
    """z', q' and the outputs after one descent step of the weights, by the fields' exact laws.

    Where the two computations differ in the mask of a preactivation that is zero to rounding, its
    sample is left out of the comparison of q', which jumps there.
    """
    fields, inputs = moment.fields, moment.system.inputs
    after = moment.network(moment.stepped)
    system = field_system(fields, "exact")
    start = system.initial_state()
    step = jnp.asarray(moment.scheme.step_size)
    told = system.fields(system.descend(start, step, system.fields(start)))
    seen = moment.system.fields(moment.stepped)
    decided = _decided(seen, told)
    pres = [(one.pre, two.pre) for one, two in zip(seen.traces, told.traces, strict=True)]
    conjs = zip(conjugate_fields(after, inputs), told.conj, strict=True)
    errors = [relative(one, two) for one, two in pres]
    errors += [relative(decided * one, decided * two) for one, two in conjs]
    return Found(_worst(errors), _flips(fields, seen))


def _decided(one: NetworkFields, two: NetworkFields) -> Float[Array, "n 1 1"]:
    """1 for samples where no mask hangs on rounding, else 0."""
    found = jnp.ones_like(one.targets[:, :1])
    for i, masks in enumerate(zip(one.masks, two.masks, strict=True)):
        pre = one.traces[i].pre
        near = jnp.abs(pre) <= ROUNDING * jnp.max(jnp.abs(pre), axis=1, keepdims=True)
        open_ = jnp.any((masks[0] != masks[1]) & near, axis=1, keepdims=True)
        found = jnp.where(open_, 0.0, found)
    return found[:, :, None]


def _flips(before: NetworkFields, after: NetworkFields) -> Int[Array, ""]:
    pairs = zip(before.active, after.active, strict=True)
    counts = [jnp.sum(one != two) for one, two in pairs]
    return jnp.sum(jnp.stack(counts))


@law(
    "operator law",
    needs="operators",
    applies=lambda network, scheme: any(layer.trainable for layer in network.layers[1:-1]),
)
def operator_law(moment: Moment) -> Found:
    """d/dt of W^T D_mu D_nu W of each hidden layer above the first, first and last sample."""
    fields, n = moment.fields, moment.system.targets.shape[0]
    errors = []
    for i in (i for i in fields.trained if 0 < i < len(fields.network.layers) - 1):
        mask = fields.masks[i]

        def operator(network: Network, i: int = i, mask: Array = mask) -> Float[Array, "N N"]:
            path = reversed_path(Path((mask,), (network.layers[i].matrix(),)))
            return operator_matrix(path, 0, n - 1)

        told, size = (_operator_velocity(fields, i) for fields in (fields, moment.other))
        errors.append(relative(moment.rate(operator), told, frobenius(size)))
    return Found(_worst(errors))


def _operator_velocity(fields: NetworkFields, i: int) -> Float[Array, "N N"]:
    layer, mask, act = fields.network.layers[i], fields.masks[i], fields.traces[i].inputs
    assert isinstance(layer, Dense)
    assert act is not None
    scale = 1.0 if layer.scale is None else layer.scale**2
    rate = gram_operator_velocity(
        mask[0], mask[-1], layer.matrix(), fields.sens[i], fields.residual, act
    )
    return fields.loss_scale * scale * rate


@law(
    "Grams and kernels >= 0",
    needs="spectra",
    reason="an eigenvalue of an n x n matrix is found to n eps of the largest",
)
def positive(moment: Moment) -> Found:
    """Most negative eigenvalue over the largest, of every G, Q, layer kernel and their sum."""
    fields = moment.fields
    pairs = zip(fields.network.layers, fields.traces, strict=True)
    matrices = [layer.input_gram(trace) for layer, trace in pairs]
    matrices += [as_matrix(conj_gram(sens)) for sens in fields.sens[:-1]]
    matrices += [as_matrix(kernel) for kernel in fields.all_kernels]
    return Found(_worst([_negative(matrix) for matrix in matrices]))


def _negative(matrix: Float[Array, "m m"]) -> Float[Array, ""]:
    """How far below 0 the eigenvalues reach, over the largest magnitude; and the asymmetry."""
    values = jnp.linalg.eigvalsh(matrix)
    largest = jnp.maximum(jnp.max(jnp.abs(values)), jnp.finfo(values.dtype).tiny)
    below = jnp.maximum(-values[0], jnp.zeros_like(values[0])) / largest
    return jnp.maximum(below, relative(matrix, matrix.T))


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
    return Found(_worst([relative(told(fields), one, size) for one in (rate, squares)]))


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
    return Found(_worst(errors))


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
    return Found(_worst(errors))


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
    if _is_linear(layer.activation) and layer.bias is None:
        return one @ two.T + two @ one.T
    return 2.0 * jnp.sum(one * two, axis=1)


@law("Gram coordinates = weights", applies=lambda network, scheme: scheme.linear)
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
    return Found(_worst([relative(one, two) for one, two in zip(*traces, strict=True)]))


def _after_step(system: NetworkSystem, scheme: AbstractScheme) -> list[Float[Array, "n _"]]:
    """Preactivations of every layer after one step, the readout's last."""
    state = system.initial_state()
    state, _ = scheme.step(system, state, scheme.init(state), system.fields(state))
    return [trace.pre for trace in system.fields(state).traces]
