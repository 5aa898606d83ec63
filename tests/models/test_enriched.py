"""Enriched networks: gradients, kernels and field laws against automatic differentiation."""

import re
from itertools import cycle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.marks import with_long
from support.pathways import CASES, moved_network

from gramdyn import InputError
from gramdyn.data import gaussian
from gramdyn.models import (
    CORRECTIONS,
    EnrichedLayer,
    Network,
    enriched_network,
    make_activation,
    make_correction,
    make_pathway,
)
from gramdyn.models.enriched import MODES
from gramdyn.plan import make_plan, parse_config
from gramdyn.sweep.compute import compile_group
from gramdyn.systems import conjugate_law, forward_law, make_system

N, D, C = 5, 4, 2
# float64 rounding of sums of some dozen terms; measured worst 3e-15.
RTOL = 1e-12

PATHS = [(kind, options) for kind, n_out, n_in, options in CASES if n_out == n_in == 8]
EXTRAS = [
    ("none", {}),
    ("identity", {}),
    ("bottleneck", {"rank": 3}),
    ("bottleneck", {"rank": 2, "linear": True}),
    ("gated", {"rank": 3}),
    ("dense", {}),
]


def make(pathway, correction, mode, activation="tanh", depth=2, **options):
    network = enriched_network(
        jax.random.key(1),
        D,
        (8,) * depth,
        C,
        pathway={"kind": pathway[0], **pathway[1]},
        correction={"kind": correction[0], **correction[1]},
        mode=mode,
        activation=make_activation(activation),
        **options,
    )
    task = gaussian(n_samples=N, n_inputs=network.layers[0].n_inputs, n_outputs=C, seed=2)
    return make_system(moved_network(network), task, coordinates="weights")


def close(found, wanted):
    scale = float(jnp.max(jnp.abs(wanted))) + 1e-300
    np.testing.assert_allclose(found, wanted, rtol=RTOL, atol=RTOL * scale)


@eqx.filter_jit
def both_sides(system, vector):
    """What the library says, and automatic differentiation of the whole network."""
    state, rest = system.start.partition()
    outputs = lambda state: eqx.combine(state, rest)(system.inputs)  # noqa: E731
    jacobian = jax.jacrev(outputs)(state)
    kernels = []
    for i in system.fields(state).trained:
        layer = jacobian.layers[i]
        rows = [leaf.reshape(N, C, -1) for leaf in jax.tree.leaves(layer)]
        whole = jnp.concatenate([jnp.zeros((N, C, 1)), *rows], axis=2)
        kernels.append(jnp.einsum("mcp,nep->mcne", whole, whole))
    gradient = jax.grad(lambda state: 0.5 * jnp.sum((outputs(state) - system.targets) ** 2))(state)
    fields = system.fields(state)
    found = fields.layer_kernels, fields.kernel_product()(vector), fields.gradient()
    return found, (jnp.stack(kernels), gradient)


def check(system):
    vector = jax.random.normal(jax.random.key(5), (N, C))
    (kernels, product, gradient), (wanted, slope) = both_sides(system, vector)
    for one, two in zip(kernels, wanted, strict=True):
        close(one, two)
    close(jnp.sum(kernels, axis=0), jnp.sum(wanted, axis=0))
    close(product, jnp.einsum("lmcne,ne->mc", wanted, vector))
    assert jax.tree.structure(gradient) == jax.tree.structure(slope)
    for one, two in zip(jax.tree.leaves(gradient), jax.tree.leaves(slope), strict=True):
        close(one, two)


SHORT = list(zip(PATHS, cycle(MODES)))
OTHER_MODE = [(path, mode) for path in PATHS for mode in MODES if (path, mode) not in SHORT]


@pytest.mark.parametrize(("pathway", "mode"), with_long(SHORT + OTHER_MODE, OTHER_MODE), ids=str)
def test_kernels_of_whole_networks_beside_a_bottleneck(pathway, mode):
    check(make(pathway, EXTRAS[2], mode))


@pytest.mark.parametrize("mode", ["outside", "inside"])
@pytest.mark.parametrize("correction", EXTRAS, ids=str)
def test_kernels_of_whole_networks_of_every_correction(correction, mode):
    check(make(("orthogonal", {}), correction, mode, activation="gelu", alpha=0.7))


def test_every_correction_has_a_case():
    assert {kind for kind, _ in EXTRAS} == set(CORRECTIONS)


@pytest.mark.parametrize(
    "options",
    [
        {"alpha_each": True},
        {"train_alpha": False},
        {"train_pathway": False},
        {"bias": False, "readout_bias": False},
        {"embedding": "fixed", "train_readout": False},
        {"embedding": "none", "alpha": "depth"},
    ],
    ids=str,
)
def test_kernels_of_what_is_held_still_are_left_out(options):
    if options.get("embedding") == "none":
        network = enriched_network(jax.random.key(1), 8, (8, 8), C, correction="gated", **options)
        assert float(network.layers[0].alpha) == pytest.approx(2**-0.5)
        task = gaussian(n_samples=N, n_inputs=8, n_outputs=C, seed=2)
        return check(make_system(moved_network(network), task, coordinates="weights"))
    return check(make(("dense", {}), ("gated", {"rank": 2}), "outside", **options))


def test_four_unlike_layers():
    one = make(("orthogonal", {}), EXTRAS[2], "outside").start.layers[1]
    two = make(("lowrank_diag", {}), EXTRAS[4], "inside").start.layers[1]
    three = make(("circulant", {}), EXTRAS[1], "outside").start.layers[1]
    four = make(("spectral", {"bound": 0.9}), EXTRAS[0], "outside").start.layers
    network = Network((four[0], one, two, three, four[1], four[-1]))
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=C, seed=2)
    check(make_system(network, task, coordinates="weights"))


LAWS = [(activation, mode) for activation in ("tanh", "relu") for mode in MODES]


@pytest.mark.parametrize(("activation", "mode"), with_long(LAWS, LAWS[1:3]))
@pytest.mark.parametrize("case", range(6))
def test_field_laws_are_the_motion_of_the_fields(case, activation, mode):
    paths = ["orthogonal", "dense", "lowrank_diag", "circulant", "spectral", "diagonal"]
    system = make((paths[case], {}), EXTRAS[case], mode, activation, depth=3)
    state = system.initial_state()
    fields = system.fields(state)

    def seen(state):
        made = system.fields(state)
        return [trace.pre for trace in made.traces], list(made.conj)

    pres, conjs = jax.jvp(seen, (state,), (system.velocity(state),))[1]
    for one, two in zip(forward_law(fields), pres, strict=True):
        close(one.total, two)
    for one, two in zip(conjugate_law(fields), conjs, strict=True):
        close(one.total, two)


@pytest.mark.parametrize("mode", ["outside", "inside"])
@pytest.mark.parametrize("correction", EXTRAS, ids=str)
def test_lipschitz_bound_holds(correction, mode):
    layer = make(("orthogonal", {"gain": 1.5}), correction, mode, "gelu").start.layers[1]
    act = 2.0 * jax.random.normal(jax.random.key(3), (40, 8))
    jacobians = jax.vmap(jax.jacfwd(lambda one: layer.forward(one[None]).act[0]))(act)
    steepest = np.linalg.svd(jacobians, compute_uv=False).max()
    assert steepest <= float(layer.lipschitz()) * (1 + 1e-12)


def test_frozen_frames_do_not_move_under_weight_decay():
    import optax

    system = make(("orthogonal", {}), EXTRAS[2], "outside")
    state = system.initial_state()
    optimiser = optax.adamw(0.01, weight_decay=0.1)
    with jax.numpy_dtype_promotion("standard"):  # optax counts steps in whole numbers
        updates, _ = optimiser.update(system.velocity(state), optimiser.init(state), state)
        after = system.network(optax.apply_updates(state, updates))
    for one, two in zip(system.start.layers[1:-1], after.layers[1:-1], strict=True):
        np.testing.assert_array_equal(one.pathway.frame, two.pathway.frame)
        square = two.matrix() @ two.matrix().T
        np.testing.assert_allclose(square, np.eye(8), atol=1e-14)


def test_wrong_shapes_and_words_are_told():
    key = jax.random.key(0)
    pathway = make_pathway("dense", 4, 4, key=key)
    beside = make_correction("dense", 4, 4, key=key)
    wide = make_correction("dense", 6, 4, key=key)
    phi = make_activation("tanh")
    for parts, told in (
        ((pathway, None, jnp.zeros(1), None, phi), r"`bias` must be an array of shape \(4,\)"),
        ((pathway, beside, None, jnp.ones(1), phi), r"`alpha` must be an array of shape \(\) or"),
        ((pathway, wide, None, jnp.ones(()), phi), "`correction` must give 4 numbers"),
    ):
        with pytest.raises(InputError, match=told):
            EnrichedLayer(*parts)
    for options, told in (
        ({"pathway": {"kind": "dense", "key": 3}}, "Unknown option of pathway dense `key`"),
        ({"pathway": {"kind": "dense", "gain": "a"}}, "`gain` must be a finite number"),
        ({"alpha": float("inf"), "correction": "dense"}, "`alpha` must be a finite number"),
        ({"pathway": "butterfly"}, "Pathway `butterfly`: .*power of 2"),
    ):
        with pytest.raises(InputError, match=told):
            enriched_network(key, 4, (6, 6), **options)


RUN = """
task: {kind: gaussian, n_samples: 7, n_inputs: 5, n_outputs: 2}
network: {kind: enriched, width: 8, activation: tanh}
scheme: {kind: gradient_descent, step_size: 0.1, n_steps: 6}
record: {every: 3, of: [loss, layer_kernels, top_eigenvalues, decay_share]}
coordinates: weights
"""


on_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="counts the routines of LAPACK")


def factorisations(program, routine):
    return len(re.findall(f"custom_call_target=.lapack_.{routine}", program.as_text()))


@on_cpu
@pytest.mark.parametrize(("pathway", "count"), [("orthogonal", 1), ("svd", 2)])
def test_orthogonal_matrices_are_made_once_a_step_whatever_reads_them(pathway, count):
    """In the program of a sweep there are two steps: in the loop, and before each record."""

    def calls(depth):
        changes = [f"network.depth={depth}", f"network.pathway={pathway}"]
        plan = make_plan(parse_config(RUN, changes=changes))
        return factorisations(compile_group(plan.groups[0], plan).compiled, "getrf")

    assert calls(2) - calls(1) == 2 * count


@on_cpu
def test_a_step_compiled_by_itself_takes_one_singular_value_decomposition():
    system = make(("spectral", {}), ("none", {}), "outside", depth=1)

    def step(state):
        fields = system.fields(state)
        return fields.loss, fields.gradient()

    program = jax.jit(step).lower(system.initial_state()).compile()
    assert factorisations(program, "gesdd") == 1
