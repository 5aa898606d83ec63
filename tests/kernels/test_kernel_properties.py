"""What every layer kernel obeys: permutations, rescaling, semidefiniteness, trace."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gramdyn.kernels import as_matrix, spectrum
from gramdyn.models import Dense, Network, init_network, linear, relu
from gramdyn.systems import SquaredLoss
from gramdyn.systems.network_fields import NetworkFields

# Values are drawn freely, shapes from three: each shape compiles anew.
SHAPES = ((4, 3, (6,), 1), (5, 6, (7, 4), 2), (6, 4, (5, 6, 4), 1))
N_CASES = st.tuples(st.sampled_from(SHAPES), st.integers(0, 2**31 - 1))
# Another order of the same float64 sums.
RTOL = 1e-12


def _make(shape: tuple, seed: int, *, trained: bool = True) -> tuple[Network, jax.Array, jax.Array]:
    n, d, widths, n_outputs = shape
    rng = np.random.default_rng(seed)
    fans = (d, *widths)
    hidden = [
        Dense(
            jnp.asarray(rng.normal(size=(fans[i + 1], fans[i]))),
            jnp.asarray(rng.normal(size=fans[i + 1])),
            None,
            relu(),
        )
        for i in range(len(widths))
    ]
    last = Dense(
        jnp.asarray(rng.normal(size=(n_outputs, widths[-1]))), None, None, linear(), trained
    )
    x, y = rng.normal(size=(n, d)), rng.normal(size=(n, n_outputs))
    return Network((*hidden, last)), jnp.asarray(x), jnp.asarray(y)


@eqx.filter_jit
def _kernels(network: Network, x: jax.Array, y: jax.Array) -> jax.Array:
    return NetworkFields(network, x, y, SquaredLoss()).layer_kernels


@eqx.filter_jit
def _outputs(network: Network, x: jax.Array) -> jax.Array:
    return network(x)


def _close(found, wanted) -> None:
    wanted = np.asarray(wanted)
    atol = RTOL * np.abs(wanted).max(initial=0.0)
    np.testing.assert_allclose(found, wanted, rtol=RTOL, atol=atol)


@given(N_CASES)
def test_permuting_samples_permutes_the_kernels(case: tuple) -> None:
    network, x, y = _make(*case)
    order = np.random.default_rng(case[1] + 1).permutation(x.shape[0])
    found = _kernels(network, x[order], y[order])
    _close(found, np.asarray(_kernels(network, x, y))[:, order][:, :, :, order])


@given(N_CASES)
def test_permuting_neurons_leaves_the_kernels(case: tuple) -> None:
    network, x, y = _make(*case)
    rng = np.random.default_rng(case[1] + 1)
    layers = list(network.layers)
    for i in range(len(layers) - 1):
        order = rng.permutation(layers[i].weight.shape[0])
        here, above = layers[i], layers[i + 1]
        layers[i] = Dense(here.weight[order], here.bias[order], None, here.activation)
        layers[i + 1] = Dense(
            above.weight[:, order], above.bias, None, above.activation, above.trainable
        )
    permuted = Network(tuple(layers))
    _close(_outputs(permuted, x), _outputs(network, x))
    _close(_kernels(permuted, x, y), _kernels(network, x, y))


@given(N_CASES, st.floats(0.1, 10.0))
def test_rescaling_two_layers_against_each_other_leaves_the_outputs(case: tuple, a: float) -> None:
    """ReLU is homogeneous: W_l, b_l times a and W_{l+1} over a give the same function.

    The kernels change in a known way: the layer above sees inputs a times larger and its own
    sensitivities unchanged; the layer itself has sensitivities 1/a times as large.
    """
    network, x, y = _make(*case)
    layers = list(network.layers)
    i = len(layers) - 2
    here, above = layers[i], layers[i + 1]
    layers[i] = Dense(a * here.weight, a * here.bias, None, here.activation)
    layers[i + 1] = Dense(above.weight / a, above.bias, None, above.activation, above.trainable)
    scaled = Network(tuple(layers))
    _close(_outputs(scaled, x), _outputs(network, x))
    before, after = _kernels(network, x, y), _kernels(scaled, x, y)
    _close(after[:i], before[:i])
    _close(after[i], before[i] / a**2)
    # the readout has no bias, so its whole input Gram scales
    _close(after[i + 1], before[i + 1] * a**2)


@given(N_CASES)
def test_each_kernel_is_symmetric_and_semidefinite(case: tuple) -> None:
    kernels = _kernels(*_make(*case))
    for kernel in (*kernels, jnp.sum(kernels, axis=0)):
        matrix = np.asarray(as_matrix(kernel))
        size = np.abs(matrix).max()
        np.testing.assert_allclose(matrix, matrix.T, rtol=0, atol=1e-14 * size)
        # rounding of an m x m decomposition
        assert np.linalg.eigvalsh(matrix).min() > -1e-13 * matrix.shape[0] * size


@given(N_CASES)
def test_trace_is_the_sum_of_the_eigenvalues(case: tuple) -> None:
    for kernel in _kernels(*_make(*case)):
        matrix = as_matrix(kernel)
        found = spectrum(matrix)
        assert np.all(np.diff(found) <= 0)
        np.testing.assert_allclose(jnp.sum(found), jnp.trace(matrix), rtol=1e-12)
        # and the sum of their squares is the squared Frobenius norm
        np.testing.assert_allclose(jnp.sum(found**2), jnp.sum(matrix**2), rtol=1e-12)


def test_readout_kernel_is_the_gram_of_the_last_layer_times_identity() -> None:
    network = init_network(jax.random.key(0), 4, (6,), 2, train_readout=True)
    x, y = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4))), jnp.zeros((5, 2))
    h = np.maximum(np.asarray(x) @ np.asarray(network.layers[0].weight).T, 0)
    wanted = np.einsum("mn,ce->mcne", h @ h.T, np.eye(2))
    _close(_kernels(network, x, y)[1], wanted)
