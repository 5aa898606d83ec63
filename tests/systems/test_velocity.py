"""Velocity, residual law and stiffness: autodiff, central differences, dense eigenvalues."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.reference import (
    ACTIVATION_NAMES,
    numpy_gradient,
    plain,
    random_network,
    squared_loss,
)

from gramdyn._errors import InputError
from gramdyn.data import Task, gaussian
from gramdyn.models import init_network
from gramdyn.systems import REDUCTIONS, SquaredLoss, make_system

N, D = 6, 5

# depth, outputs, activation, law, bias, trained readout, reduction, centred
CASES = (
    (1, 1, "relu", "standard", False, False, "sum", False),
    (1, 3, "leaky_relu", "ntk", True, True, "mean", False),
    (2, 2, "relu", "mean_field", True, True, "sum", True),
    (3, 1, "linear", "ntk", False, True, "mean", True),
    (3, 2, "relu", "standard", True, False, "mean", False),
    (4, 2, "leaky_relu", "ntk", True, False, "sum", False),
)
BY_NAME = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))


def _make(case: tuple, coordinates: str):
    depth, n_outputs, activation, law, bias, trained, reduction, centred = case
    network = random_network(
        jax.random.key(depth),
        D,
        (7, 6, 7, 5)[:depth],
        n_outputs,
        activation=activation,
        parametrization=law,
        bias=bias,
        train_readout=trained,
    )
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=n_outputs, seed=3)
    loss = SquaredLoss(reduction)
    system = make_system(network, task, loss=loss, coordinates=coordinates, centred=centred)
    s = 1.0 if reduction == "sum" else 1.0 / N
    return network, system, s


def _by_autodiff(case: tuple) -> tuple[list, float]:
    network, system, s = _make(case, "weights")
    params, scales, slope = plain(network, case[2])
    targets = system.targets if system.offset is None else system.targets + system.offset
    value, gradient = jax.jit(
        jax.value_and_grad(lambda p: squared_loss(p, scales, slope, system.inputs, targets, s))
    )(params)
    return gradient, float(value)


def _close(found, wanted) -> None:
    # float64 sums of a few dozen terms
    size = float(np.abs(np.asarray(wanted)).max())
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13 * size)


@eqx.filter_jit
def _velocity(system):
    state = system.initial_state()
    return system.velocity(state), system.fields(state).loss


@BY_NAME
def test_velocity_is_minus_the_gradient_of_the_loss(case: tuple) -> None:
    _, system, _ = _make(case, "weights")
    gradient, loss = _by_autodiff(case)
    velocity, found = _velocity(system)
    np.testing.assert_allclose(found, loss, rtol=1e-13)
    trained = [True] * case[0] + [case[5]]
    for layer, (weight, bias), trains in zip(velocity.layers, gradient, trained, strict=True):
        assert layer.scale is None
        if not trains:
            assert jax.tree.leaves(layer) == []
            continue
        _close(layer.weight, -weight)
        assert (layer.bias is None) == (bias is None)
        if bias is not None:
            _close(layer.bias, -bias)


@BY_NAME
def test_velocity_in_gram_coordinates_is_the_image_of_the_gradient(case: tuple) -> None:
    network, system, _ = _make(case, "gram")
    gradient, loss = _by_autodiff(case)
    velocity, found = _velocity(system)
    np.testing.assert_allclose(found, loss, rtol=1e-12)
    scale = 1.0 if network.layers[0].scale is None else float(network.layers[0].scale)
    moved = -scale * np.asarray(system.inputs) @ np.asarray(gradient[0][0]).T
    if gradient[0][1] is not None:
        moved = moved - np.asarray(gradient[0][1])[None, :]
    _close(velocity.layers[0].pre, moved)
    assert float(velocity.layers[0].outside) == 0.0
    assert velocity.layers[0].gram is None
    for layer, (weight, _) in zip(velocity.layers[1:-1], gradient[1:-1], strict=True):
        _close(layer.weight, -weight)
    if case[5]:
        _close(velocity.layers[-1].weight, -gradient[-1][0])


@BY_NAME
def test_numpy_gradient_is_the_autodiff_gradient(case: tuple) -> None:
    """The hand-written gradient that the numpy loops of other tests rest on."""
    network, system, s = _make(case, "weights")
    gradient, _ = _by_autodiff(case)
    targets = system.targets if system.offset is None else system.targets + system.offset
    found, _ = numpy_gradient(
        *plain(network, case[2]), np.asarray(system.inputs), np.asarray(targets), s
    )
    for pair, wanted in zip(found, gradient, strict=True):
        _close(pair[0], wanted[0])
        if wanted[1] is not None:
            _close(pair[1], wanted[1])


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
@BY_NAME
def test_residual_law(case: tuple, coordinates: str) -> None:
    """dr/dt = -s sum_l K^l r, against central differences along the flow."""
    _, system, s = _make(case, coordinates)
    step = 1e-6

    @eqx.filter_jit
    def both(system):
        state = system.initial_state()
        velocity = system.velocity(state)
        moved = [
            system.fields(jax.tree.map(lambda a, v, h=h: a + h * v, state, velocity)).residual
            for h in (step, -step)
        ]
        fields = system.fields(state)
        law = -s * jnp.einsum("mcne,ne->mc", fields.tangent_kernel, fields.residual)
        return (moved[0] - moved[1]) / (2 * step), law

    differences, law = both(system)
    # truncation is step^2 r''' (1e-12 r'''), rounding 1e-16 / step = 1e-10
    np.testing.assert_allclose(law, differences, rtol=0, atol=1e-8)
    assert np.abs(law).max() > 1e-3


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
@BY_NAME
def test_stiffness_is_the_dense_largest_eigenvalue(case: tuple, coordinates: str) -> None:
    _, system, s = _make(case, coordinates)

    @eqx.filter_jit
    def found(system):
        fields = system.fields(system.initial_state())
        return system.stiffness(fields), fields.tangent_kernel

    stiffness, kernel = found(system)
    matrix = np.asarray(kernel).reshape(N * case[1], N * case[1])
    # below 24 rows the dense decomposition is used: rounding alone
    np.testing.assert_allclose(stiffness, s * np.linalg.eigvalsh(matrix)[-1], rtol=1e-12)


def test_stiffness_by_iteration() -> None:
    """40 samples and 2 outputs: the iterative method, whose own tolerance is 1e-8."""
    task = gaussian(n_samples=40, n_inputs=20, n_outputs=2, seed=3)
    system = make_system(init_network(jax.random.key(0), 20, (30, 30), 2), task)

    @eqx.filter_jit
    def found(system):
        fields = system.fields(system.initial_state())
        return system.stiffness(fields), fields.tangent_kernel

    stiffness, kernel = found(system)
    wanted = np.linalg.eigvalsh(np.asarray(kernel).reshape(80, 80))[-1]
    np.testing.assert_allclose(stiffness, wanted, rtol=1e-8)


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
def test_centred_outputs_start_at_zero_and_kernels_stay(activation: str, coordinates: str) -> None:
    network = random_network(
        jax.random.key(2), D, (7, 6), 2, activation=activation, train_readout=True
    )
    task = gaussian(n_samples=N, n_inputs=D, n_outputs=2, seed=3)
    plain_one = make_system(network, task, coordinates=coordinates)
    centred = make_system(network, task, coordinates=coordinates, centred=True)
    before = plain_one.fields(plain_one.initial_state())
    after = centred.fields(centred.initial_state())
    # the same forward pass twice; Gram coordinates may order the first product otherwise
    np.testing.assert_allclose(after.outputs, np.zeros((N, 2)), atol=1e-14)
    np.testing.assert_allclose(after.residual, -task.targets, atol=1e-14)
    np.testing.assert_array_equal(after.layer_kernels, before.layer_kernels)
    assert np.abs(before.outputs).max() > 0.1


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_squared_loss(reduction: str) -> None:
    rng = np.random.default_rng(0)
    f, y = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    loss = SquaredLoss(reduction)
    s = {"sum": 1.0, "mean": 0.2}[reduction]
    wanted = s / 2 * sum((f[m, c] - y[m, c]) ** 2 for m in range(5) for c in range(2))
    assert loss.scale(5) == s
    np.testing.assert_allclose(loss.value(jnp.asarray(f), jnp.asarray(y)), wanted, rtol=1e-14)
    residual = loss.residual(jnp.asarray(f), jnp.asarray(y))
    gradient = jax.grad(lambda f: loss.value(f, jnp.asarray(y)))(jnp.asarray(f))
    np.testing.assert_allclose(s * residual, gradient, rtol=1e-14)
    np.testing.assert_allclose(residual, f - y, rtol=1e-15)


def test_unknown_reduction_is_refused() -> None:
    with pytest.raises(InputError, match=r"Unknown loss reduction `meen`; did you mean `mean`"):
        SquaredLoss("meen")


def test_misfits_are_refused() -> None:
    network = init_network(jax.random.key(0), D, (4,), 2)
    with pytest.raises(InputError, match=r"must take 3 inputs like the task, but is 5"):
        make_system(network, gaussian(n_samples=4, n_inputs=3, n_outputs=2))
    with pytest.raises(InputError, match=r"must have 1 outputs like the task, but is 2"):
        make_system(network, gaussian(n_samples=4, n_inputs=D))
    with pytest.raises(InputError, match=r"Unknown coordinates `grams`; did you mean `gram`"):
        make_system(network, gaussian(n_samples=4, n_inputs=D, n_outputs=2), coordinates="grams")


@pytest.mark.parametrize("coordinates", ["weights", "gram"])
def test_the_task_takes_the_dtype_of_the_network(coordinates: str) -> None:
    task = gaussian(n_samples=4, n_inputs=D)
    assert isinstance(task, Task)
    network = init_network(jax.random.key(0), D, (4,), bias=True, dtype=jnp.float32)
    system = make_system(network, task, coordinates=coordinates)
    state = system.initial_state()
    arrays = (state, system.velocity(state), system.fields(state).layer_kernels, system.inputs)
    assert {leaf.dtype for leaf in jax.tree.leaves(arrays)} == {jnp.dtype("float32")}
