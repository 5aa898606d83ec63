"""The kernel identity: the sum of the layer kernels is the autodiff tangent kernel."""

from itertools import combinations, product

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.reference import ACTIVATION_NAMES, autodiff_kernels, plain, random_network

from gramdyn.data import gaussian
from gramdyn.kernels import apply_layer_kernel, as_matrix, layer_kernel, tangent_kernel
from gramdyn.models import PARAMETRIZATIONS
from gramdyn.systems import make_system

N, D, WIDTHS = 6, 5, (7, 6, 7, 5)
# float64 rounding of sums over a few dozen terms; measured worst 1e-15.
RTOL = 1e-12

LAWS = tuple(PARAMETRIZATIONS)


def _cases() -> list[tuple]:
    """Choices in turn, at paces at which all pairs of them meet, as the first test says."""
    return [
        (
            1 + k % 4,
            1 + k % 3,
            _nth(ACTIVATION_NAMES, k // 3),
            _nth(LAWS, k),
            bool(k // 3 % 2),
            bool(k // 4 % 2),
        )
        for k in range(48)
    ]


def _nth(choices, k: int):
    return choices[k % len(choices)]


CASES = _cases()


def test_the_cases_meet_every_pair_of_choices() -> None:
    choices = ((1, 2, 3, 4), (1, 2, 3), ACTIVATION_NAMES, LAWS, (False, True), (False, True))
    for i, j in combinations(range(6), 2):
        met = {(case[i], case[j]) for case in CASES}
        assert met == set(product(choices[i], choices[j])), (i, j)


def _close(found: jax.Array, wanted: jax.Array) -> None:
    scale = float(jnp.max(jnp.abs(wanted)))
    np.testing.assert_allclose(found, wanted, rtol=RTOL, atol=RTOL * scale)


def _system(case: tuple, coordinates: str):
    depth, n_outputs, activation, law, bias, trained = case
    network = random_network(
        jax.random.key(depth + 10 * n_outputs),
        D,
        WIDTHS[:depth],
        n_outputs,
        activation=activation,
        parametrization=law,
        bias=bias,
        train_readout=trained,
    )
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=n_outputs, seed=3)
    return network, make_system(network, task, coordinates=coordinates)


@eqx.filter_jit
def _found(system, vector):
    fields = system.fields(system.initial_state())
    layers = fields.network.layers
    grams = [layers[i].input_gram(fields.traces[i]) for i in fields.trained]
    return (
        fields.layer_kernels,
        fields.tangent_kernel,
        fields.kernel_product()(vector),
        [
            apply_layer_kernel(g, fields.sens[i], vector)
            for g, i in zip(grams, fields.trained, strict=True)
        ],
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_sum_of_layer_kernels_is_the_autodiff_tangent_kernel(case: tuple) -> None:
    network, in_weights = _system(case, "weights")
    _, in_gram = _system(case, "gram")
    params, scales, slope = plain(network, case[2])
    x = np.asarray(in_weights.inputs)
    of_layers = jax.jit(lambda p, x: autodiff_kernels(p, scales, slope, x))(params, x)
    of_layers = of_layers if case[-1] else of_layers[:-1]
    vector = jnp.asarray(np.random.default_rng(7).normal(size=(N, case[1])))
    for system in (in_weights, in_gram):
        kernels, total, product_with, products = _found(system, vector)
        assert kernels.shape == (case[0] + case[-1], N, case[1], N, case[1])
        # every layer on its own, then their sum
        for kernel, wanted in zip(kernels, of_layers, strict=True):
            _close(kernel, wanted)
        _close(total, sum(of_layers))
        # products without the kernel, against the dense ones
        dense = [np.einsum("mcne,ne->mc", k, vector) for k in of_layers]
        for found, wanted in zip(products, dense, strict=True):
            _close(found, jnp.asarray(wanted))
        _close(product_with, jnp.asarray(sum(dense)))


def test_layer_kernel_is_the_product_of_two_grams_entry_by_entry() -> None:
    rng = np.random.default_rng(0)
    n, n_outputs, width = 4, 2, 5
    half, sens = rng.normal(size=(n, 3)), rng.normal(size=(n, n_outputs, width))
    gram = half @ half.T
    found = np.asarray(layer_kernel(jnp.asarray(gram), jnp.asarray(sens)))
    for m, c, k, e in product(range(n), range(n_outputs), range(n), range(n_outputs)):
        wanted = gram[m, k] * float(sens[m, c] @ sens[k, e])
        # a sum of five products
        assert abs(found[m, c, k, e] - wanted) < 1e-14
    # symmetric in (mu, c) <-> (nu, e), so the matrix form is a symmetric matrix
    matrix = np.asarray(as_matrix(jnp.asarray(found)))
    np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-15)
    assert matrix[3 * n_outputs + 1, 2 * n_outputs] == found[3, 1, 2, 0]


def test_apply_layer_kernel_is_the_dense_product() -> None:
    rng = np.random.default_rng(1)
    half, sens = rng.normal(size=(6, 4)), rng.normal(size=(6, 3, 5))
    gram, vector = half @ half.T, rng.normal(size=(6, 3))
    wanted = np.zeros((6, 3))
    for m, c, k, e in product(range(6), range(3), range(6), range(3)):
        wanted[m, c] += gram[m, k] * (sens[m, c] @ sens[k, e]) * vector[k, e]
    found = apply_layer_kernel(jnp.asarray(gram), jnp.asarray(sens), jnp.asarray(vector))
    np.testing.assert_allclose(found, wanted, rtol=RTOL, atol=RTOL * np.abs(wanted).max())


def test_tangent_kernel_adds_the_layers() -> None:
    kernels = np.random.default_rng(2).normal(size=(3, 2, 1, 2, 1))
    wanted = kernels[0] + kernels[1] + kernels[2]
    np.testing.assert_allclose(tangent_kernel(jnp.asarray(kernels)), wanted, rtol=1e-15)
