"""A residual under a constant kernel against powers of a matrix and the matrix exponential."""

import jax.numpy as jnp
import numpy as np
import pytest

import gramdyn as gd
from gramdyn import InputError
from gramdyn.systems import ResidualSystem

N, C = 5, 2


def _system(loss_scale: float = 1.0) -> ResidualSystem:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(N * C, N * C)) / np.sqrt(N * C)
    kernel = (root @ root.T).reshape(N, C, N, C)
    return ResidualSystem(jnp.asarray(kernel), jnp.asarray(rng.normal(size=(N, C))), loss_scale)


def _matrix(system: ResidualSystem) -> np.ndarray:
    return np.asarray(system.kernel).reshape(N * C, N * C)


RECORD = ["loss", lambda fields: {"r": fields.residual}]


@pytest.mark.parametrize("s", [1.0, 1.0 / N])
def test_gradient_descent_is_a_power(s: float) -> None:
    system, eta = _system(s), 0.2
    result = gd.simulate(system, gd.GradientDescent(eta), 20, gd.Record(RECORD, every=4))
    step = np.eye(N * C) - eta * s * _matrix(system)
    wanted = [np.linalg.matrix_power(step, t) @ np.ravel(system.start) for t in range(0, 21, 4)]
    np.testing.assert_allclose(result["r"].reshape(-1, N * C), wanted, rtol=1e-12)
    np.testing.assert_allclose(result["loss"], 0.5 * s * np.sum(np.square(wanted), 1), rtol=1e-12)


def test_gradient_flow_is_the_exponential() -> None:
    system, dt = _system(0.5), 0.05
    result = gd.simulate(system, gd.RungeKutta4(dt), 20, gd.Record(RECORD))
    times = dt * jnp.asarray(result.steps, system.start.dtype)
    exact = gd.linear_residual(0.5 * jnp.asarray(_matrix(system)), system.start.ravel(), times)
    # fourth order: (lambda dt)^5/120 a step, twenty steps, lambda s below 2
    np.testing.assert_allclose(result["r"].reshape(-1, N * C), exact, rtol=0, atol=2e-6)


def test_a_relative_step_takes_the_largest_eigenvalue() -> None:
    system = _system(0.5)
    top = 0.5 * np.linalg.eigvalsh(_matrix(system))[-1]
    fields = system.fields(system.initial_state())
    np.testing.assert_allclose(system.stiffness(fields), top, rtol=1e-12)
    result = gd.simulate(system, gd.GradientDescent(gd.Relative(0.3)), 1, gd.Record())
    np.testing.assert_allclose(result.step_size, 0.3 / top, rtol=1e-12)


def test_the_velocity_is_that_of_the_residual_law() -> None:
    system = _system(0.5)
    found = system.velocity(system.start)
    wanted = -0.5 * np.einsum("mcne,ne->mc", system.kernel, system.start)
    np.testing.assert_allclose(found, wanted, rtol=1e-13)


def test_nonlinear_schemes_are_refused() -> None:
    with pytest.raises(InputError, match="must be linear in the gradient"):
        gd.simulate(_system(), gd.Optax("adam", 0.01), 2, gd.Record())
