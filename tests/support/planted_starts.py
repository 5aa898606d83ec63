"""Starts of both layers by the package's own law, as NumPy arrays, a seed each."""

import jax
import numpy as np

from gramdyn.models import thin_network


def drawn(n, k, n_outputs, sigma, *, d=100, law="chi", signs=None, first=0):
    """Rows w_i in thin coordinates and rows V_i of n seeds, shapes (n, k, C + k) and (n, k, C)."""

    def start(seed):
        network = thin_network(
            jax.random.key(seed), d, k, n_outputs, law=law, sigma=sigma, signs=signs
        )
        hidden, readout = network.layers
        return hidden.weight, readout.weight.T

    rows, turned = jax.jit(jax.vmap(start))(np.arange(first, first + n))
    return np.asarray(rows), np.asarray(turned)
