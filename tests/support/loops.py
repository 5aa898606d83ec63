"""Matrices of layers that feed themselves, drawn at an exact spectral radius."""

import jax.numpy as jnp
import numpy as np

SIZE = 64
FAMILIES = ("dense", "orthogonal", "symmetric", "circulant", "block", "low-rank")


def loop_matrix(family, seed, radius, size=SIZE):
    """One square matrix of a family whose largest eigenvalue has the size `radius`."""
    rng = np.random.default_rng(seed)
    matrix = _drawn(family, rng, rng.standard_normal((size, size)))
    return jnp.asarray(matrix * radius / spectral_radius(matrix))


def spectral_radius(matrix):
    """Largest size of an eigenvalue, by NumPy."""
    return np.max(np.abs(np.linalg.eigvals(np.asarray(matrix))))


def _drawn(family, rng, entries):
    size = len(entries)
    if family == "orthogonal":
        return np.linalg.qr(entries)[0]
    if family == "symmetric":
        return entries + entries.T
    if family == "circulant":
        return entries[0][np.subtract.outer(np.arange(size), np.arange(size)) % size]
    if family == "block":
        blocks = np.kron(np.eye(4), np.ones((size // 4, size // 4)))
        return (blocks * entries)[:, rng.permutation(size)]
    if family == "low-rank":
        return entries[:, : size // 8] @ rng.standard_normal((size // 8, size))
    return entries
