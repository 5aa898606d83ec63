"""What the loop asks of anything that evolves."""

from abc import ABC, abstractmethod
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from gramdyn._types import Scalar


class AbstractFields(ABC):
    """What a system shows of one state: at least its loss; diagnostics say what else they read.

    Fields are plain Python objects that live inside one trace and compute each quantity once, on
    first use. They are never carried from one step to the next.
    """

    @property
    @abstractmethod
    def loss(self) -> Float[Array, ""]:
        """The loss, what status checks and stop rules look at."""


class AbstractSystem(eqx.Module):
    """Something that evolves: a state, its velocity under gradient flow, and the fields seen.

    Attributes:
        exact_for: Which schemes this system's coordinates are exact for: "any" where the state is
            the parameters themselves, "linear" where it is a linear image of them, so that only
            schemes linear in the gradient may step it, "flow" where its velocity alone is known,
            so that weight decay is out as well, "descent" where it has a law for plain gradient
            descent alone.
    """

    @property
    @abstractmethod
    def exact_for(self) -> str:
        """Schemes the coordinates are exact for: "any", "linear", "flow" or "descent"."""

    @abstractmethod
    def initial_state(self) -> Any:
        """The state at t = 0, a pytree of arrays."""

    @abstractmethod
    def fields(self, state: Any) -> Any:
        """The fields seen from a state (see `AbstractFields`)."""

    @abstractmethod
    def velocity(self, state: Any, fields: Any = None) -> Any:
        """D state / dt under gradient flow, a pytree like the state.

        Args:
            state: Where.
            fields: The fields of that state where they are at hand; computed otherwise.
        """

    def descend(self, state: Any, step: Scalar, fields: Any) -> Any:
        """One step of gradient descent: the state plus `step` times its velocity.

        A system whose state is no linear image of the parameters has a law of its own here.
        """
        return jax.tree.map(lambda x, v: x + step * v, state, self.velocity(state, fields))

    @abstractmethod
    def stiffness(self, fields: Any) -> Float[Array, ""]:
        """Largest decay rate of the linearised flow; gradient descent is stable below 2 over it."""
