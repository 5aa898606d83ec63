"""A system whose exact state is known: dx/dt = -A x."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gramdyn.systems import AbstractFields, AbstractSystem


class DecayFields(AbstractFields):
    """What a linear decay shows."""

    def __init__(self, x: Array, matrix: Array):
        self.x, self.matrix = x, matrix

    @property
    def loss(self) -> Array:
        """x A x / 2, whose gradient is A x."""
        return 0.5 * jnp.sum(self.x * (self.matrix @ self.x))


class Decay(AbstractSystem):
    """Gradient flow dx/dt = -A x of x A x / 2, with A symmetric and positive."""

    matrix: Array
    start: Array

    @property
    def exact_for(self) -> str:
        """The state is the parameters."""
        return "any"

    def initial_state(self) -> Array:
        """x(0)."""
        return self.start

    def fields(self, state: Array) -> DecayFields:
        """x and A."""
        return DecayFields(state, self.matrix)

    def velocity(self, state: Array, fields: Any = None) -> Array:
        """-A x."""
        return -(self.matrix @ state)

    def stiffness(self, fields: DecayFields) -> Array:
        """Largest eigenvalue of A."""
        return jnp.linalg.eigvalsh(self.matrix)[-1]


def exact(matrix: np.ndarray, start: np.ndarray, time: float) -> np.ndarray:
    """expm(-A t) x(0), A symmetric."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ (np.exp(-values * time) * (vectors.T @ start))


def decay(size: int = 4, seed: int = 0) -> Decay:
    """A decay with eigenvalues between 0.2 and 2."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(size, size)))
    matrix = turn @ np.diag(np.linspace(0.2, 2.0, size)) @ turn.T
    return Decay(jnp.asarray((matrix + matrix.T) / 2), jnp.asarray(rng.normal(size=size)))
