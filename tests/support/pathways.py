"""Pathways away from their start, so that no term of a rule vanishes by chance."""

import equinox as eqx
import jax

from gramdyn.models import make_pathway
from gramdyn.models.pathway import split

# Kind, rows, columns, options: every kind, and every branch of its rules.
CASES = [
    ("dense", 6, 8, {}),
    ("identity", 8, 8, {}),
    ("diagonal", 8, 8, {}),
    ("block", 6, 8, {"blocks": 2}),
    ("lowrank", 6, 8, {"rank": 3}),
    ("lowrank_diag", 8, 8, {"rank": 2}),
    ("circulant", 8, 8, {}),
    ("circulant", 7, 7, {"init": "random"}),
    ("toeplitz", 6, 8, {}),
    ("toeplitz", 8, 7, {}),
    ("orthogonal", 8, 8, {"gain": 1.3}),
    ("orthogonal", 6, 8, {}),
    ("orthogonal", 8, 6, {}),
    ("orthogonal", 6, 6, {"method": "exp", "gain": 0.7}),
    ("orthogonal", 8, 8, {"method": "householder", "reflectors": 3, "gain": 1.2}),
    ("orthogonal", 6, 8, {"method": "householder"}),
    ("butterfly", 8, 8, {"gain": 0.9}),
    ("spectral", 6, 8, {"mode": "normalise", "bound": 0.8}),
    ("spectral", 8, 8, {"mode": "clip", "bound": 1.0}),
    ("spectral", 8, 8, {"mode": "clip", "bound": 50.0}),
    ("spectral", 6, 8, {"mode": "normalise", "iterations": 3}),
    ("spectral", 8, 8, {"mode": "clip", "bound": 1.0, "iterations": 30}),
    ("svd", 8, 8, {}),
    ("shaped", 6, 8, {}),
    ("monotone", 8, 8, {}),
]


def moved(module, spec, size, seed):
    """The module with every trained number moved by N(0, size^2), so that no term vanishes."""
    trained, rest = spec(module)
    leaves, structure = jax.tree.flatten(trained)
    keys = jax.random.split(jax.random.key(seed), len(leaves) + 1)
    pairs = zip(leaves, keys, strict=False)
    found = [leaf + size * jax.random.normal(key, leaf.shape, leaf.dtype) for leaf, key in pairs]
    return eqx.combine(jax.tree.unflatten(structure, found), rest)


def moved_pathway(kind, n_out, n_in, options, size=0.4):
    """A pathway away from its start."""
    made = make_pathway(kind, n_out, n_in, key=jax.random.key(3), **options)
    return moved(made, split, size, 4)


def moved_network(network, size=0.3):
    """A network away from its start."""
    return moved(network, lambda one: one.partition(), size, 8)
