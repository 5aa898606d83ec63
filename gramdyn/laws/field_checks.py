"""Checks of the laws of kernels, fields and operators."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gramdyn.dynamics.schemes import AbstractScheme
from gramdyn.kernels.compare import frobenius
from gramdyn.kernels.gram import as_matrix, conj_gram
from gramdyn.kernels.operators import (
    Path,
    apply_operator,
    gram_operator_velocity,
    operator_matrix,
    reversed_path,
)
from gramdyn.laws.activations import is_homogeneous
from gramdyn.laws.moment import Moment, compare, relative, worst
from gramdyn.laws.registry import PAPER, ROUNDING, Found, law
from gramdyn.models.layers import Dense
from gramdyn.models.network import Network
from gramdyn.systems import NetworkFields, conjugate_law, field_system, forward_law


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
        total = sum((leaf @ leaf.T for leaf in leaves), jnp.zeros((rows, rows)))
        found.append(total.reshape(fields.tangent_kernel.shape))
    pairs = zip(found, fields.layer_kernels, strict=True)
    errors = [relative(one, two) for one, two in pairs]
    return Found(worst([*errors, relative(sum(found[1:], found[0]), fields.tangent_kernel)]))


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
    return Found(compare(moment.pre_rates, told, sizes))


def _in_a_row(network: Network, scheme: AbstractScheme) -> bool:
    """Operators, and the fields as a system, are those of free matrices in a row."""
    return network.free and not network.skips


@law("forward fields by Gamma", applies=_in_a_row)
def forward_by_operators(moment: Moment) -> Found:
    """dz^l/dt = -s sum_{k <= l} sum_nu G^{k-1} Gamma^{l,k} drive^l, by pushforward operators."""
    told, sizes = (_pushed(fields) for fields in (moment.fields, moment.other))
    return Found(compare(moment.pre_rates, told, sizes))


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
    return Found(worst([compare(now, conj, conj), compare(rates, told, sizes)]))


def _pulls(network: Network, scheme: AbstractScheme) -> bool:
    """Whether learning reaches some q^l through another layer, without a bias on the way."""
    layers = network.layers
    bias = any(layer.bias is not None for layer in layers if isinstance(layer, Dense))
    last = max(i for i, layer in enumerate(layers) if layer.trainable)
    plain = not bias and _in_a_row(network, scheme)
    return last >= 2 and plain and all(is_homogeneous(layer.activation) for layer in layers)


@law("conjugate fields by P", needs="kernels", applies=_pulls)
def conjugate_by_operators(moment: Moment) -> Found:
    """dq^l/dt = -s sum_{k > l} sum_{nu, e} Q^k r P^{l,k} h^l, by the pullback operators.

    Only without biases: h^{k-1} must be the transport of h^l.
    """
    inputs = moment.system.inputs
    rates = moment.rate(lambda network: conjugate_fields(network, inputs))
    told, sizes = (_pulled(fields) for fields in (moment.fields, moment.other))
    return Found(compare(rates, told, sizes))


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


@law("exact step of the fields", counts="masks flipped", applies=_in_a_row)
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
    return Found(worst(errors), _flips(fields, seen))


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


def _has_operators(network: Network, scheme: AbstractScheme) -> bool:
    return network.free and any(layer.trainable for layer in network.layers[1:-1])


@law("operator law", needs="operators", applies=_has_operators)
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
    return Found(worst(errors))


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
    """Most negative eigenvalue over the largest, of every G, Q, layer kernel and their sum.

    Of each G that is part of a kernel: structured layers have none.
    """
    fields = moment.fields
    pairs = zip(fields.network.layers, fields.traces, strict=True)
    matrices = [layer.input_gram(trace) for layer, trace in pairs if layer.factorised]
    matrices += [as_matrix(conj_gram(sens)) for sens in fields.sens[:-1]]
    matrices += [as_matrix(kernel) for kernel in fields.all_kernels]
    return Found(worst([_negative(matrix) for matrix in matrices]))


def _negative(matrix: Float[Array, "m m"]) -> Float[Array, ""]:
    """How far below 0 the eigenvalues reach, over the largest magnitude; and the asymmetry."""
    values = jnp.linalg.eigvalsh(matrix)
    largest = jnp.maximum(jnp.max(jnp.abs(values)), jnp.finfo(values.dtype).tiny)
    below = jnp.maximum(-values[0], jnp.zeros_like(values[0])) / largest
    return jnp.maximum(below, relative(matrix, matrix.T))
