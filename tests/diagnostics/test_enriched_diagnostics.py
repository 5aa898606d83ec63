"""Diagnostics and systems of structured layers: right by a second way, or refused in one line."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.marks import with_long

import gramdyn as gd
from gramdyn import InputError
from gramdyn.data import clusters, gaussian, planted_map, task_moments, task_population
from gramdyn.diagnostics import DIAGNOSTICS, make_diagnostic
from gramdyn.models import Network, enriched_network, limit_kernels, make_activation, pad_network
from gramdyn.models.balanced import along_modes, balance
from gramdyn.systems import (
    conjugate_jump,
    field_system,
    make_field_system,
    make_moment_system,
    make_orthogonal_system,
    make_planted_system,
)

D, C, N, WIDTH = 6, 3, 12, 8
# float64 rounding of sums of some hundred terms.
RTOL = 1e-12

BOTTLENECK, GATED = {"kind": "bottleneck", "rank": 2}, {"kind": "gated", "rank": 2}
LOW_RANK = {"kind": "lowrank_diag", "rank": 2}
NETWORKS = {
    "orthogonal": ({"pathway": "orthogonal"}, "tanh"),
    "orthogonal, outside": ({"pathway": "orthogonal", "correction": BOTTLENECK}, "tanh"),
    "low rank, inside": ({"pathway": LOW_RANK, "correction": GATED, "mode": "inside"}, "relu"),
    "block": ({"pathway": "block"}, "relu"),
    "block, outside": ({"pathway": "block", "correction": GATED, "alpha_each": True}, "relu"),
}


def network(name, **more):
    options, activation = NETWORKS[name]
    options = {"alpha": 0.7, "activation": make_activation(activation), **options, **more}
    return enriched_network(jax.random.key(1), D, (WIDTH, WIDTH), C, **options)


def task():
    return clusters(n_samples=N, n_inputs=D, n_classes=C, n_heldout=C, seed=3)


def fields_of(name, **more):
    system = gd.make_system(network(name, **more), task(), coordinates="weights")
    return system.fields(system.initial_state())


def recorded(start, *of):
    system = gd.make_system(start, task(), coordinates="weights")
    record = gd.Record([make_diagnostic(one) if isinstance(one, str) else one for one in of])
    return gd.simulate(system, gd.GradientDescent(0.002), 2, record).records


# Of outputs and activations, whatever gave them.
OF_OUTPUTS = {
    *("loss", "loss_rise", "residual", "outputs", "accuracy", "heldout_accuracy", "heldout_loss"),
    *("noisy_accuracy", "collapse", "last_features", "target_linearity"),
}
# Of masks phi'(z); corrections bend, and have no kinks of their own.
OF_MASKS = {"coactivation", "flips", "chatter"}
# Of kernels and sensitivities, which each layer answers for itself.
OF_KERNELS = {
    *("layer_kernels", "tangent_kernel", "conj_grams", "alignment", "top_eigenvalues", "spectra"),
    *("kernel_movement", "linearised", "decay_share"),
}
# Of the laws of the fields, whose sweeps ask each layer.
OF_LAWS = {"transport", "flip_current"}
# Of the layers' own bounds, conserved numbers and Jacobians.
OF_STRUCTURE = {"lipschitz", "structure_drift", "conditioning"}
# Of the first layer's matrix alone, here an embedding's.
OF_EMBEDDING = {"virtual_cloud"}
RIGHT = OF_OUTPUTS | OF_MASKS | OF_KERNELS | OF_LAWS | OF_STRUCTURE | OF_EMBEDDING
# Of a matrix between two layers, right for whatever made it, and refused where something skips it.
OF_MATRICES = {
    "operator_traces": "have no residual layers and no corrections",
    "operator_spectra": "have no residual layers and no corrections",
    "surrogate": "have no corrections above its first layer",
}
# Of matrices that are themselves what trains.
OF_FREE = {
    **dict.fromkeys(
        ("learning_equation", "gram_virtual", "gram_step", "gram_cumulative", "feature_ansatz"),
        "have free matrices for diagnostic",
    ),
    "closure_error": "have free matrices for fields as a system",
    "infinite_width": "have free matrices for the infinite-width limit",
    "kernel_velocity": "each a product of two Grams",
}


def other_fields():
    """Diagnostics of systems of their own, which `Record` refuses by their fields."""
    readers = {"MomentFields", "PlantedView", "VaeFields"}
    return {name for name in DIAGNOSTICS if make_diagnostic(name).needs.__name__ in readers}


def test_each_diagnostic_is_decided_on():
    ours = {name for name, make in DIAGNOSTICS.items() if _of_library(make)}
    assert ours == RIGHT | set(OF_MATRICES) | set(OF_FREE) | other_fields()


def _of_library(make):
    """Whether it is not entered by another test."""
    made = getattr(make, "of", make)
    return made.__module__.startswith("gramdyn")


OF_CONDITION = ("log_rank_condition", "log_condition", "spectral_sensitivity")
SHORT = ("orthogonal", "low rank, inside")


@pytest.mark.parametrize("name", with_long(NETWORKS, set(NETWORKS) - set(SHORT)))
def test_what_is_right_is_finite(name):
    start = network(name)
    right = RIGHT if start.skips else RIGHT | set(OF_MATRICES)
    for array, found in recorded(start, *sorted(right)).items():
        # Singular chains, of low rank or of ReLU, have an infinite condition and say so.
        assert np.all(np.isfinite(found)) or array in OF_CONDITION, array


@pytest.mark.parametrize("name", NETWORKS)
def test_what_has_no_answer_says_so_in_a_line(name):
    start = network(name)
    refused = {**OF_FREE, **(OF_MATRICES if start.skips else {})}
    refused |= dict.fromkeys(other_fields(), "but this system shows NetworkFields")
    for one, told in refused.items():
        with pytest.raises(InputError, match=told) as caught:
            recorded(start, one)
        assert "\n" not in str(caught.value)


def test_a_structured_first_layer_has_no_cloud():
    start = enriched_network(jax.random.key(1), D, (D, D), C, embedding="none")
    with pytest.raises(InputError, match="begin with a free matrix"):
        recorded(start, "virtual_cloud")


def test_the_cloud_moves_along_the_gradient_of_the_loss():
    start = network("low rank, inside")
    seen = task()
    inputs, targets = jnp.asarray(seen.inputs), jnp.asarray(seen.targets)
    found = recorded(start, make_diagnostic("virtual_cloud", gamma=2.0))["virtual_cloud"]
    loss = lambda inputs: 0.5 * jnp.sum((start(inputs) - targets) ** 2)  # noqa: E731
    np.testing.assert_allclose(found[1], inputs - 2.0 * jax.grad(loss)(inputs), rtol=RTOL)


@pytest.mark.parametrize("name", ["orthogonal, outside", "low rank, inside"])
def test_shares_in_the_decay_are_those_of_the_kernels(name):
    fields = fields_of(name)
    r = fields.residual
    rates = jnp.einsum("mc,lmcne,ne->l", r, fields.layer_kernels, r)
    found = recorded(network(name), "decay_share")["decay_share"][0]
    np.testing.assert_allclose(found, rates / jnp.sum(rates), rtol=RTOL)


def test_a_layer_with_nothing_to_train_has_no_share_in_the_decay():
    start = network("block", pathway="identity", bias=False)
    found = recorded(start, "decay_share")["decay_share"]
    np.testing.assert_array_equal(found[:, 1:3], 0.0)
    np.testing.assert_allclose(np.sum(found, axis=1), 1.0, rtol=RTOL)


@pytest.mark.parametrize("name", NETWORKS)
def test_speeds_of_fields_are_derivatives_along_the_flow(name):
    fields = fields_of(name)
    trained, rest = fields.network.partition()
    move = jax.tree.map(lambda leaf: -leaf, fields.gradient())

    def at(state):
        whole = eqx.combine(state, rest)
        traces = whole.traces(fields.inputs)
        eye = jnp.broadcast_to(jnp.eye(C)[None], (N, C, C))
        conj = [one.conj for one in whole.backward(traces, eye)]
        return [trace.pre for trace in traces[:-1]], conj[:-1]

    rates = jax.jvp(at, (trained,), (move,))[1]
    found = recorded(network(name), "transport")
    for array, wanted in zip(("pre_velocity", "conj_velocity"), rates, strict=True):
        sizes = [jnp.linalg.norm(one) for one in wanted]
        np.testing.assert_allclose(found[array][0], sizes, rtol=RTOL)


@pytest.mark.parametrize("name", ["low rank, inside", "block", "block, outside"])
def test_jumps_are_those_of_the_same_layers_with_other_masks(name):
    fields = fields_of(name)
    layers, traces = fields.network.layers, fields.traces
    drawn = jax.random.bernoulli(jax.random.key(2), 0.5, (3, N, WIDTH))
    masks = [one.astype(fields.targets.dtype) for one in drawn]
    conjs = [fields.conj[-1]]
    for i in (2, 1):
        conjs.insert(0, masked_pull(layers[i], traces[i].inputs, masks[i], conjs[0]))
    found = conjugate_jump(fields.network, traces[:-1], masks, conjs)
    for jump, conj, before in zip(found, conjs, fields.conj, strict=True):
        np.testing.assert_allclose(jump, conj - before, rtol=RTOL, atol=1e-14)


def masked_pull(layer, act, mask, conj):
    """The conjugate field below a layer of this mask, by automatic differentiation."""

    def handed_on(act):
        pre, extra = layer.pathway(act), None
        if layer.correction is not None:
            extra = layer.added(act)
        if extra is None:
            return mask * pre
        return mask * pre + extra if layer.mode == "outside" else mask * (pre + extra)

    _, pull = jax.vjp(handed_on, act)
    return jax.vmap(lambda row: pull(row)[0], 1, 1)(conj)


@pytest.mark.parametrize("name", ["orthogonal", "block"])
def test_traces_of_operators_are_those_of_jacobians(name):
    fields = fields_of(name)
    layers = fields.network.layers

    def above(pre):
        """Preactivations of the third layer from those of the first."""
        act = layers[0].activation.value(pre[None])
        return layers[2].forward(layers[1].forward(act).act).pre[0]

    jacobians = jax.vmap(jax.jacfwd(above))(fields.traces[0].pre)
    wanted = jnp.einsum("mij,nij->mn", jacobians, jacobians)
    found = recorded(network(name), "operator_traces")["push_traces"]
    np.testing.assert_allclose(found[0, 2, 0], wanted, rtol=RTOL, atol=1e-13)


def test_the_surrogate_reads_what_a_pathway_gives():
    fields, found = fields_of("block"), recorded(network("block"), "surrogate")["surrogate"][0]
    targets = fields.targets - jnp.mean(fields.targets, axis=0, keepdims=True)
    for i in (0, 1):
        rows = fields.network.layers[i + 1].pathway(fields.traces[i].act)
        wanted = jnp.mean(jnp.sum((targets.T @ rows) ** 2, axis=1))
        np.testing.assert_allclose(found[i], wanted, rtol=RTOL)


def test_what_is_closed_in_its_preactivations_shows_no_weights():
    start = enriched_network(jax.random.key(1), D, (D,), C, embedding="none", bias=False)
    system = make_orthogonal_system(start, gaussian(n_samples=N, n_inputs=D, n_outputs=C))
    for one in ("learning_equation", "gram_step", "virtual_cloud", "feature_ansatz"):
        with pytest.raises(InputError, match="`coordinates` must be weights"):
            gd.simulate(system, gd.RungeKutta4(0.05), 1, gd.Record([one]))
    for one in ("closure_error", "infinite_width"):
        with pytest.raises(InputError, match=r"free matrices|no one Gram"):
            gd.simulate(system, gd.RungeKutta4(0.05), 1, gd.Record([one]))


def structured(**options):
    """One structured layer that takes the inputs itself, and a readout."""
    return enriched_network(jax.random.key(1), D, (D,), C, embedding="none", **options)


def plain_linear():
    return structured(activation=make_activation("linear"), bias=False, readout_bias=False)


def like_planted(**options):
    relu = make_activation("relu")
    return structured(activation=relu, bias=False, readout_bias=False, **options)


def samples():
    return gaussian(n_samples=N, n_inputs=D, n_outputs=C, target="linear")


SYSTEMS = {
    "gram": (
        lambda: gd.make_system(structured(), samples(), coordinates="gram"),
        "`coordinates` must be weights for a network that begins with a structured layer",
    ),
    "moments": (
        lambda: gd.make_system(plain_linear(), samples(), coordinates="moments"),
        "free matrices for moment coordinates",
    ),
    "moment system": (
        lambda: make_moment_system(plain_linear(), task_moments(samples(), 1.0)),
        "free matrices for moment coordinates",
    ),
    "thin": (
        lambda: gd.make_system(like_planted(), samples(), coordinates="thin"),
        "see `make_planted_system`",
    ),
    "population": (
        lambda: make_planted_system(
            like_planted(), task_population(planted_map(n_inputs=D, n_outputs=C))
        ),
        "free matrices in thin coordinates",
    ),
    "fields of a structured first layer": (
        lambda: make_field_system(structured(), samples(), closure="dropped"),
        "free matrices for fields as a system",
    ),
    "fields": (
        lambda: field_system(fields_of("block"), "flips_omitted"),
        "free matrices for fields as a system",
    ),
    "padding": (
        lambda: pad_network(network("block"), (9, 9, 9)),
        r"dense layers to be padded, but is \('Dense', 'EnrichedLayer'",
    ),
    "limit": (
        lambda: limit_kernels(network("block"), jnp.eye(N)),
        "free matrices for the infinite-width limit",
    ),
    "limit of the fields": (
        lambda: fields_of("block").limit_kernels,
        "free matrices for the infinite-width limit",
    ),
    "balance": (lambda: balance(plain_linear()), "dense layers without multipliers"),
    "modes": (
        lambda: along_modes(plain_linear(), jnp.eye(C), 0.5, jnp.eye(D)[:, :C]),
        "dense layers without multipliers",
    ),
    "a structured readout": (
        lambda: gd.make_system(Network(structured().layers[:1]), samples()),
        "end in a dense layer",
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_systems_without_an_answer_say_so_in_a_line(name):
    make, told = SYSTEMS[name]
    with pytest.raises(InputError, match=told) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_planted_map_is_not_read_into_a_structured_layer():
    seen = planted_map(n_inputs=D, n_outputs=C, samples_per_input=3.0)
    # A dense layer of the same kind knows the map.
    dense = gd.init_network(
        *(jax.random.key(1), D, (D,), C), activation=make_activation("relu"), train_readout=True
    )
    planted, plain = (
        gd.make_system(one, seen, coordinates="weights") for one in (dense, like_planted())
    )
    assert type(planted).__name__ == "SampledSystem"
    assert type(plain).__name__ == "NetworkSystem"
    with pytest.raises(InputError, match="reads PlantedView"):
        gd.simulate(plain, gd.GradientDescent(0.1), 1, gd.Record(["planted_weights"]))


def test_gram_coordinates_of_the_embedding_are_the_same_run():
    start = network("orthogonal, outside")
    seen = replace(task(), held_out=None)
    ends = []
    for coordinates in ("weights", "gram"):
        system = gd.make_system(start, seen, coordinates=coordinates)
        assert system.coordinates == coordinates
        scheme = gd.GradientDescent(0.02, momentum=0.5)
        ends.append(gd.simulate(system, scheme, 20, gd.Record(["residual"])).records["residual"])
    # 20 steps of rounding, along a loss that falls.
    np.testing.assert_allclose(*ends, rtol=1e-10, atol=1e-11)
