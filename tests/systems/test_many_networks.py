"""The laws of many networks at once: 64 seeds vmapped, in both precisions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from gramdyn.data import gaussian
from gramdyn.models import init_network
from gramdyn.systems import conjugate_law, forward_law, make_system

SEEDS = 64
# Rounding of sums of some dozen terms, with room for the worst of 64 networks.
LIMITS = {"float64": 1e-12, "float32": 2e-4}


def relative(one, two):
    return jnp.linalg.norm((one - two).ravel()) / jnp.linalg.norm(two.ravel())


def law_errors(key, dtype, depth):
    """Kernel identity, residual law, and both field laws of one network against autodiff."""
    task = gaussian(n_samples=8, n_inputs=6, n_outputs=2)  # cast to the network's dtype
    law = {"parametrization": "ntk", "train_readout": True, "dtype": np.dtype(dtype).type}
    network = init_network(key, 6, (12,) * depth, 2, **law)
    system = make_system(network, task, coordinates="weights")
    state = system.initial_state()
    fields, velocity = system.fields(state), system.velocity(state)
    flat, unravel = ravel_pytree(state)
    outputs = lambda flat: system.fields(unravel(flat)).outputs.ravel()  # noqa: E731
    jacobian = jax.jacrev(outputs)(flat)
    kernel = fields.tangent_kernel.reshape(16, 16)

    def moved(state):
        fields = system.fields(state)
        return tuple(trace.pre for trace in fields.traces), fields.conj

    pre, conj = jax.jvp(moved, (state,), (velocity,))[1]
    forward, backward = forward_law(fields), conjugate_law(fields)
    return jnp.stack(
        [
            relative(kernel, jacobian @ jacobian.T),
            relative(-(kernel @ fields.residual.ravel()), pre[-1].ravel()),
            jnp.max(jnp.stack([relative(a.total, b) for a, b in zip(forward, pre, strict=True)])),
            jnp.max(jnp.stack([relative(a.total, b) for a, b in zip(backward, conj, strict=True)])),
        ]
    )


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_laws_of_64_networks_at_once(dtype, depth):
    keys = jax.random.split(jax.random.key(5), SEEDS)
    errors = jax.jit(jax.vmap(lambda key: law_errors(key, dtype, depth)))(keys)
    assert errors.shape == (SEEDS, 4)
    assert errors.dtype == dtype
    assert np.max(errors) < LIMITS[dtype]
