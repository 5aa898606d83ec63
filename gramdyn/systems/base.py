"""What the loop asks of anything that evolves."""

from abc import ABC, abstractmethod
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int

from gramdyn._checks import check
from gramdyn._types import Scalar


class AbstractFields(ABC):
    """What a system shows of one state: at least its loss; diagnostics say what else they read.

    Fields are plain Python objects that live inside one trace and compute each quantity once, on
    first use. They are never carried from one step to the next.
    """

    @property
    @abstractmethod
    def loss(self) -> Float[Array, ""]:
        """The loss."""

    @property
    def watched_loss(self) -> Float[Array, ""]:
        """What status checks look at in every step: the loss, or one that is cheaper."""
        return self.loss


# What the coordinates of a system may ask of the scheme that steps it: the property of the scheme
# that must hold, and how it is told.
_DEMANDS = {
    "linear": (
        "linear",
        "be linear in the gradient (gradient descent, momentum, weight decay, gradient flow) in "
        "Gram and thin coordinates; of a network on samples use coordinates 'weights'",
    ),
    # Decay of the weights moves the fields of each layer by another factor.
    "flow": ("is_flow", "be linear in the gradient and without weight decay for laws of fields"),
    "integrators": (
        "integrates",
        "integrate the flow (gradient flow by rk4, midpoint or adaptive): a step of descent "
        "leaves what the flow conserves",
    ),
    "descent": ("is_descent", "be gradient descent without momentum and decay for the exact laws"),
}


class AbstractSystem(eqx.Module):
    """Something that evolves: a state, its velocity under gradient flow, and the fields seen.

    Attributes:
        exact_for: Which schemes this system's coordinates are exact for: "any" where the state is
            the parameters themselves, "linear" where it is a linear image of them, so that only
            schemes linear in the gradient may step it, "flow" where its velocity alone is known,
            so that weight decay is out as well, "integrators" where steps of descent, which are
            Euler's, leave what the flow conserves, "descent" where it has a law for plain gradient
            descent alone.
    """

    @property
    @abstractmethod
    def exact_for(self) -> str:
        """Schemes the coordinates are exact for: one of those names."""

    @property
    def coordinates(self) -> str:
        """What the state is, in a word; a plan tells it."""
        return "own"

    def at(self, step: Int[Array, ""]) -> "AbstractSystem":
        """The system in a step, counted from 0; the same in all of them unless it says otherwise.

        A system that sees other samples in each step says so here.
        """
        return self

    def step_flops(self) -> int:
        """Operations of one gradient step, as far as they are known; 0 where they are not."""
        return 0

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

    def check_scheme(self, scheme: Any, reader: str = "") -> None:
        """Refuse a scheme that this system's coordinates are not exact for.

        Args:
            scheme: With the properties `linear`, `is_flow` and `is_descent`.
            reader: Diagnostic that steps this system beside a run, told in the message.

        Raises:
            InputError: naming what the scheme must be.
        """
        if self.exact_for == "any":
            return
        needed, demand = _DEMANDS[self.exact_for]
        told = f"{demand} (diagnostic `{reader}`)" if reader else demand
        check(getattr(scheme, needed), "scheme", told, scheme)

    @abstractmethod
    def stiffness(self, fields: Any) -> Float[Array, ""]:
        """Largest decay rate of the linearised flow; gradient descent is stable below 2 over it."""
