"""What an activation is, tried on a few numbers."""

import jax
import jax.numpy as jnp
import numpy as np

from gramdyn.models.activations import Activation


def is_homogeneous(activation: Activation) -> bool:
    """Whether phi(z) = phi'(z) z, tried on a few numbers and only roughly."""
    pre, value, mask = _tried(activation)
    return bool(np.allclose(value, mask * pre, rtol=1e-3))


def is_linear(activation: Activation) -> bool:
    """Whether phi(z) = z, tried on a few numbers."""
    pre, value, _ = _tried(activation)
    return bool(np.all(value == pre))


def _tried(activation: Activation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some preactivations, what becomes of them, and their masks; also inside a trace."""
    with jax.ensure_compile_time_eval():
        pre = jnp.linspace(-2.0, 2.0, 9)[None, :]
        return np.asarray(pre), np.asarray(activation.value(pre)), np.asarray(activation.mask(pre))
