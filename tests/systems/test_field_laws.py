"""Field laws against autodiff through the weights, formed operators, and steps across flips."""

import functools
from itertools import product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.reference import outputs, plain, random_network, squared_loss

from gramdyn.data import gaussian
from gramdyn.kernels import along, apply_operator
from gramdyn.models import Dense, Network, init_network
from gramdyn.systems import (
    SquaredLoss,
    conjugate_jump,
    conjugate_law,
    forward_law,
    make_field_system,
    make_system,
)

N, D, WIDTHS = 6, 5, (7, 6, 7, 5)
# Sums of a few dozen float64 terms through at most five layers; measured worst 2e-15.
RTOL = 1e-12

# depth, outputs, activation, law, bias, trained readout, reduction, centred, a layer that is frozen
CASES = (
    (1, 1, "relu", "standard", False, False, "sum", False, None),
    (1, 3, "leaky_relu", "ntk", True, True, "mean", True, None),
    (2, 2, "relu", "ntk", False, True, "sum", False, None),
    (2, 3, "linear", "standard", True, False, "mean", False, 0),
    (3, 1, "relu", "ntk", False, False, "sum", False, None),
    (3, 2, "leaky_relu", "standard", True, True, "mean", True, 1),
    (4, 1, "linear", "ntk", False, True, "mean", False, None),
    (4, 2, "relu", "standard", False, False, "sum", True, 2),
    (4, 3, "leaky_relu", "ntk", True, False, "sum", False, None),
)
BY_NAME = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))


def _freeze(layer: Dense) -> Dense:
    return Dense(layer.weight, layer.bias, layer.scale, layer.activation, trainable=False)


def _system(case: tuple, coordinates: str = "weights"):
    depth, n_outputs, activation, law, bias, trained, reduction, centred, frozen = case
    network = random_network(
        jax.random.key(depth),
        D,
        WIDTHS[:depth],
        n_outputs,
        activation=activation,
        parametrization=law,
        bias=bias,
        train_readout=trained,
    )
    layers = [_freeze(one) if i == frozen else one for i, one in enumerate(network.layers)]
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=n_outputs, seed=3)
    loss = SquaredLoss(reduction)
    network = Network(tuple(layers))
    system = make_system(network, task, loss=loss, coordinates=coordinates, centred=centred)
    return network, system


def _fields(case: tuple, coordinates: str = "weights"):
    _, system = _system(case, coordinates)
    return system.fields(system.initial_state())


def _close(found, wanted) -> None:
    wanted = np.asarray(wanted)
    atol = RTOL * max(float(np.abs(wanted).max()), 1e-3)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=atol)


# By differentiation.


def _plain_fields(params, scales, slope: float, x):
    """Preactivations of every layer, and d output / d activation of every hidden one by jacrev."""
    pres, conj, h = [], [], jnp.asarray(x)
    for i, (w, b) in enumerate(params):
        z = scales[i] * (h @ w.T)
        z = z if b is None else z + b[None, :]
        pres.append(z)
        h = jnp.where(z > 0, z, slope * z)
        if i < len(params) - 1:
            # summed over samples: the output of one does not see the activations of another
            tail = lambda h, i=i: outputs(params[i + 1 :], scales[i + 1 :], slope, h).sum(0)  # noqa: E731
            conj.append(jnp.moveaxis(jax.jacrev(tail)(h), 0, 1))
    return pres, conj


@functools.cache
def _by_autodiff(case: tuple):
    """Velocities of z^l and q^l: jvp along minus the autodiff gradient of the trained weights."""
    network, system = _system(case)
    params, scales, slope = plain(network, case[2])
    targets = system.targets if system.offset is None else system.targets + system.offset
    s = 1.0 if case[6] == "sum" else 1.0 / N
    x = system.inputs

    @jax.jit
    def velocities(params):
        gradient = jax.grad(squared_loss)(params, scales, slope, x, targets, s)
        moves = [
            jax.tree.map(lambda g, t=layer.trainable: -g if t else jnp.zeros_like(g), one)
            for one, layer in zip(gradient, network.layers, strict=True)
        ]
        look = lambda params: _plain_fields(params, scales, slope, x)  # noqa: E731
        return jax.jvp(look, (params,), (moves,))

    return velocities(params)


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
@BY_NAME
def test_laws_are_derivatives_along_the_flow_of_the_weights(case: tuple, coordinates: str) -> None:
    (pres, conj), (pre_rates, conj_rates) = _by_autodiff(case)
    _, system = _system(case, coordinates)

    @eqx.filter_jit
    def laws(system):
        fields = system.fields(system.initial_state())
        decay = jnp.einsum("mcne,ne->mc", fields.tangent_kernel, fields.residual)
        law = -fields.loss_scale * decay
        traces = [trace.pre for trace in fields.traces]
        return forward_law(fields), conjugate_law(fields), law, traces, fields.conj

    forward, conjugate, residual_law, traces, found_conj = laws(system)
    assert (len(forward), len(conjugate)) == (case[0] + 1, case[0])
    for found, wanted in zip(traces, pres, strict=True):
        _close(found, wanted)
    for found, wanted in zip(found_conj, conj, strict=True):
        _close(found, wanted)
    for found, wanted in zip(forward, pre_rates, strict=True):
        _close(found.total, wanted)
    for found, wanted in zip(conjugate, conj_rates, strict=True):
        _close(found.total, wanted)
    # the last preactivations are the outputs
    _close(forward[-1].total, residual_law)
    # nothing lies below the first layer or above the last; what does not train does not learn
    assert not np.any(forward[0].transport)
    assert not np.any(conjugate[-1].transport)
    for layer, one in zip(system.start.layers, forward, strict=True):
        assert np.any(one.own) == layer.trainable
    for layer, one in zip(system.start.layers[1:], conjugate, strict=True):
        assert np.any(one.own) == layer.trainable


# Unrolled into operators.


@BY_NAME
def test_the_forward_law_is_a_sum_of_pushforward_operators(case: tuple) -> None:
    """dz^l_mu = -s sum_{k<=l} sum_nu G^{k-1}_{mu nu} Gamma^{l,k}_{mu nu} drive^l_nu."""
    fields = _fields(case)
    layers, drives = fields.network.layers, fields.drives
    for end, law in enumerate(forward_law(fields)):
        total = np.zeros(law.own.shape)
        for start in range(end + 1):
            if not layers[start].trainable:
                continue
            gram = _gram(fields, start)
            if start < end:
                part = apply_operator(fields.push_path(end, start), gram, drives[end])
            else:
                part = gram @ drives[end]
                _close(law.own, -fields.loss_scale * part)
            total = total - fields.loss_scale * np.asarray(part)
        _close(law.total, total)


def _gram(fields, layer: int):
    """scale^2 h h^T (+ 1), written out."""
    one, h = fields.network.layers[layer], fields.traces[layer].inputs
    scale = 1.0 if one.scale is None else float(one.scale)
    return scale**2 * (h @ h.T) + (0.0 if one.bias is None else 1.0)


@BY_NAME
def test_the_conjugate_law_is_a_sum_of_pullback_operators(case: tuple) -> None:
    """dq^l_{mu c} = -s sum_{k>l} sum_{nu e} Q^k_{mu c, nu e} r_{nu e} P^{l,k}_{mu nu} h^l_nu.

    P h^l has J_nu^T h^l = h^{k-1} in it, which biases spoil: with them h^{k-1} itself is carried.
    """
    fields = _fields(case)
    layers, has_bias = fields.network.layers, case[4]
    for end, law in enumerate(conjugate_law(fields)):
        total = np.zeros(law.own.shape)
        for start, c in product(range(end + 1, len(layers)), range(case[1])):
            if not layers[start].trainable:
                continue
            scale = 1.0 if layers[start].scale is None else float(layers[start].scale)
            sens = fields.sens[start]
            gram = scale**2 * jnp.einsum("mi,nei->mne", sens[:, c], sens)
            mix = jnp.einsum("mne,ne->mn", gram, fields.residual)
            if start == end + 1:
                part = mix @ fields.traces[end].act
            elif has_bias:
                act = (mix @ fields.traces[start].inputs)[:, None, :]
                part = along(fields.pull_path(end, start), act)[:, 0, :]
            else:
                path = fields.pull_path(end, start)
                part = apply_operator(path, mix, fields.traces[end].act)
            total[:, c] -= fields.loss_scale * np.asarray(part)
        _close(law.total, total)


# Across mask flips.


def _two_states(case: tuple, eta: float, coordinates: str = "weights"):
    """Fields before and after one step of gradient descent."""
    _, system = _system(case, coordinates)
    state = system.initial_state()
    after = jax.tree.map(lambda a, v: a + eta * v, state, system.velocity(state))
    return system.fields(state), system.fields(after)


def _smooth(before, after, eta: float) -> list[np.ndarray]:
    """Change of q by the laws with masks held: one learns with what follows it, masks do not jump.

    smooth^l = (mask^{l+1} smooth^{l+1}) W^{l+1} - eta s scale^2 (delta^{l+1}' . drive^{l+1}) h^l
    """
    found, layers = [], before.network.layers
    n, n_outputs = before.targets.shape
    for i in range(len(layers) - 1, 0, -1):
        weight, above = np.asarray(layers[i].matrix()), found[-1] if found else None
        scale = 1.0 if layers[i].scale is None else float(layers[i].scale)
        moved = np.zeros((n, n_outputs, weight.shape[1]))
        for mu, c in product(range(n), range(n_outputs)):
            if above is not None:
                mask = np.asarray(before.masks[i])[mu]
                moved[mu, c] = (mask * above[mu, c]) @ weight
            for nu in range(n) if layers[i].trainable else ():
                overlap = np.asarray(after.sens[i])[mu, c] @ np.asarray(before.drives[i])[nu]
                h = np.asarray(before.traces[i].inputs)[nu]
                moved[mu, c] -= eta * before.loss_scale * scale**2 * overlap * h
        found.append(moved)
    return found[::-1]


# steps so large that masks flip in every layer
JUMPS = ((CASES[2], 0.3), (CASES[5], 3.0), (CASES[7], 0.5), (CASES[8], 0.5))


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
@pytest.mark.parametrize(("case", "eta"), JUMPS, ids=lambda one: str(one)[:24])
def test_jump_and_smooth_make_up_the_step(case: tuple, eta: float, coordinates: str) -> None:
    before, after = _two_states(case, eta, coordinates)
    for one, other in zip(before.masks[1:], after.masks[1:], strict=True):
        assert np.any(np.asarray(one) != np.asarray(other))
    jumps = conjugate_jump(before.network, before.traces[:-1], after.masks, after.conj)
    pairs = zip(jumps, _smooth(before, after, eta), before.conj, after.conj, strict=True)
    for jump, smooth, q, q_after in pairs:
        wanted = np.asarray(q_after - q)
        np.testing.assert_allclose(
            jump + smooth, wanted, rtol=0, atol=RTOL * max(np.abs(wanted).max(), 1.0)
        )
    assert not np.any(jumps[-1])
    assert all(np.abs(jump).max() > 1e-3 for jump in jumps[:-1])


@pytest.mark.parametrize(("case", "eta"), JUMPS, ids=lambda one: str(one)[:24])
def test_a_jump_is_carried_down_by_the_layers_it_crosses(case: tuple, eta: float) -> None:
    """jump^l = sum_{k>l} W^{l+1,T} D^{l+1} ... W^{k,T} (m^k' - m^k) q^k', sample by sample."""
    before, after = _two_states(case, eta)
    jumps = conjugate_jump(before.network, before.traces[:-1], after.masks, after.conj)
    weights = [np.asarray(layer.matrix()) for layer in before.network.layers]
    masks = [np.asarray(mask) for mask in before.masks]
    for end, jump in enumerate(jumps):
        wanted = np.zeros(jump.shape)
        for start, mu, c in product(range(end + 1, len(masks)), range(N), range(case[1])):
            change = np.asarray(after.masks[start])[mu] - masks[start][mu]
            vector = weights[start].T @ (change * np.asarray(after.conj[start])[mu, c])
            for k in range(start - 1, end, -1):
                vector = weights[k].T @ (masks[k][mu] * vector)
            wanted[mu, c] += vector
        _close(jump, wanted)


@pytest.mark.parametrize("case", [CASES[7], CASES[6]], ids=["relu", "linear"])
def test_without_flips_nothing_jumps(case: tuple) -> None:
    # linear networks never flip; the others not within a step this small
    before, after = _two_states(case, 0.3 if case[2] == "linear" else 1e-9)
    for one, other in zip(before.masks, after.masks, strict=True):
        np.testing.assert_array_equal(one, other)
    for jump in conjugate_jump(before.network, before.traces[:-1], after.masks, after.conj):
        assert not np.any(jump)


@pytest.mark.parametrize(("n", "width", "n_outputs"), [(48, 96, 1), (96, 48, 1), (40, 64, 3)])
def test_the_compiled_laws_hold_no_more_numbers_than_they_say(n, width, n_outputs) -> None:
    """Temporaries of the compiled program: at most L (n^2 C^2 + n C N + N^2) numbers of 8 bytes."""
    depth = 3
    task = gaussian(n_samples=n, n_inputs=16, n_outputs=n_outputs)
    network = init_network(jax.random.key(0), 16, (width,) * depth, n_outputs)
    system = make_field_system(network, task)

    def laws(state):
        fields = system.fields(state)
        return [one.total for one in (*forward_law(fields), *conjugate_law(fields))]

    compiled = jax.jit(laws).lower(system.initial_state()).compile()
    held = compiled.memory_analysis().temp_size_in_bytes / 8
    assert held < depth * (n**2 * n_outputs**2 + n * n_outputs * width + width**2)
    # An operator for every pair of samples would be far above.
    assert held < n**2 * width
