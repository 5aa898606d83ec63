"""Schemes: how a state is stepped."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from gramdyn._checks import check_number
from gramdyn._types import Scalar
from gramdyn.dynamics.status import Status
from gramdyn.systems.base import AbstractFields, AbstractSystem


class Relative(eqx.Module):
    """A step given as a share of 1 / stiffness at t = 0.

    For gradient descent on squared loss `Relative(0.5)` is 0.5 / (s lambda_max(K(0))), a quarter of
    the largest step at which the linearised dynamics is stable.

    Attributes:
        share: Positive factor; below 2 for stability of gradient descent at t = 0.
    """

    share: Scalar

    def __check_init__(self) -> None:
        check_number("share", self.share, above=0.0)


Step = Scalar | Relative


def check_step(step: Any) -> None:
    """Refuse a step that is not above 0; one in an array is taken as it is."""
    check_number("step_size", None if isinstance(step, Relative) else step, above=0.0)


class AbstractScheme(eqx.Module):
    """A way to step a state. What may be swept is an array leaf.

    Attributes:
        step_size: Step size, or time step of a flow; a number or `Relative`.
        linear: Whether a step is linear in the gradients so far, so that it may act on a linear
            image of the parameters (Gram coordinates) with the same trajectory.
    """

    if TYPE_CHECKING:  # a type checker would take the abstract variables for fields

        @property
        def step_size(self) -> Step: ...  # noqa: D102
        @property
        def linear(self) -> bool: ...  # noqa: D102

    else:
        step_size: eqx.AbstractVar[Step]
        linear: eqx.AbstractVar[bool]

    @property
    def is_flow(self) -> bool:
        """Whether a step is linear in the gradients and made of them alone, without decay."""
        return self.linear

    @property
    def is_descent(self) -> bool:
        """Whether a step is that of plain gradient descent (an Euler step of the flow)."""
        return False

    @property
    def integrates(self) -> bool:
        """Whether a step is one of the flow to higher order than Euler's."""
        return False

    @property
    def ignores_padding(self) -> bool:
        """Whether entries of the state that are and stay zero change nothing for the others."""
        return False

    def with_step_size(self, step_size: Scalar) -> "AbstractScheme":
        """The scheme with another step."""
        is_relative = lambda leaf: isinstance(leaf, Relative)  # noqa: E731
        return eqx.tree_at(lambda tree: tree.step_size, self, step_size, is_leaf=is_relative)

    @abstractmethod
    def init(self, state: Any) -> Any:
        """Memory of the scheme at t = 0 (momentum buffers and the like), a pytree."""

    @abstractmethod
    def step(self, system: AbstractSystem, state: Any, memory: Any, fields: Any) -> Any:
        """One step from a state whose fields are given; returns (state, memory)."""

    def trouble(self, memory: Any) -> Int[Array, ""]:
        """Status code of the scheme's own trouble, `Status.OK` for none."""
        return jnp.asarray(Status.OK, jnp.int32)


def resolve_step(
    scheme: AbstractScheme, system: AbstractSystem, fields: AbstractFields
) -> AbstractScheme:
    """The scheme with its numbers in the fields' dtype, a relative step taken at t = 0."""
    dtype = fields.loss.dtype
    step = scheme.step_size
    if isinstance(step, Relative):
        rate = system.stiffness(fields)
        step = jnp.asarray(step.share, dtype) / jnp.where(rate > 0, rate, jnp.ones_like(rate))
    is_number = lambda leaf: isinstance(leaf, float) or eqx.is_inexact_array(leaf)  # noqa: E731
    cast = lambda leaf: jnp.asarray(leaf, dtype) if is_number(leaf) else leaf  # noqa: E731
    return jax.tree.map(cast, scheme.with_step_size(jnp.asarray(step, dtype)))


def add_step(state: Any, step: Scalar, direction: Any) -> Any:
    """State + step * direction, leaf by leaf."""
    return jax.tree.map(lambda leaf, move: leaf + step * move, state, direction)


class GradientDescent(AbstractScheme):
    """Gradient descent, with heavy-ball momentum and weight decay where given.

        d = -grad - weight_decay * state
        m' = momentum * m + d
        state' = state + step * m'

    Without momentum m' = d. It is the explicit Euler step of gradient flow with time step `step`.

    Attributes:
        step_size: Step size eta, a number or `Relative`.
        momentum: Factor on the previous direction, in [0, 1), or None.
        weight_decay: Factor on the state, at least 0, or None; every trained array decays.
    """

    step_size: Step
    momentum: Scalar | None = None
    weight_decay: Scalar | None = None
    linear: bool = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        check_step(self.step_size)
        check_number("momentum", self.momentum, least=0.0, below=1.0)
        check_number("weight_decay", self.weight_decay, least=0.0)

    @property
    def is_flow(self) -> bool:
        """Whether there is no decay."""
        return self.weight_decay is None

    @property
    def is_descent(self) -> bool:
        """Whether there is neither momentum nor decay."""
        return self.momentum is None and self.weight_decay is None

    @property
    def ignores_padding(self) -> bool:
        """Each entry moves by its own gradient alone."""
        return True

    def init(self, state: Any) -> Any:
        """Zero momentum, or nothing."""
        return None if self.momentum is None else jax.tree.map(jnp.zeros_like, state)

    def step(self, system: AbstractSystem, state: Any, memory: Any, fields: Any) -> Any:
        """One step of gradient descent."""
        assert not isinstance(self.step_size, Relative)
        if self.is_descent:
            return system.descend(state, self.step_size, fields), memory
        direction = system.velocity(state, fields)
        if self.weight_decay is not None:
            direction = add_step(direction, -self.weight_decay, state)
        if self.momentum is not None:
            direction = memory = add_step(direction, self.momentum, memory)
        return add_step(state, self.step_size, direction), memory


class RungeKutta4(AbstractScheme):
    """Gradient flow by the classical fourth-order method with a fixed time step.

    Attributes:
        step_size: Time step dt, a number or `Relative`.

    Cost: four evaluations of the velocity a step.
    """

    step_size: Step
    linear: bool = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        check_step(self.step_size)

    @property
    def integrates(self) -> bool:
        """It does, to fourth order."""
        return True

    @property
    def ignores_padding(self) -> bool:
        """Each entry moves by its own slopes alone."""
        return True

    def init(self, state: Any) -> Any:
        """Nothing to remember."""
        return None

    def step(self, system: AbstractSystem, state: Any, memory: Any, fields: Any) -> Any:
        """One step of length dt."""
        dt = self.step_size
        assert not isinstance(dt, Relative)
        k1 = system.velocity(state, fields)
        k2 = system.velocity(add_step(state, dt / 2, k1))
        k3 = system.velocity(add_step(state, dt / 2, k2))
        k4 = system.velocity(add_step(state, dt, k3))
        slope = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, k1, k2, k3, k4)
        return add_step(state, dt, slope), memory


def euler(dt: Step) -> GradientDescent:
    """Gradient flow by the explicit Euler method: gradient descent with step `dt`, the same map."""
    return GradientDescent(dt)
