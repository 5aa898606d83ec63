"""One state of a run and its true motion, and how two sides of a law are compared.

The other side of nearly every check is automatic differentiation: the motion of the weights is the
pull of the residual through the outputs, and how a field moves is its derivative along that motion.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._types import Scalar
from gramdyn.dynamics.schemes import AbstractScheme, resolve_step
from gramdyn.kernels.compare import frobenius
from gramdyn.models.network import Network
from gramdyn.systems import NetworkFields, NetworkSystem


class Moment:
    """One state of a run in weight coordinates, and its true motion by automatic differentiation.

    Lives inside one trace, like the fields.

    Attributes:
        system: The system whose start is the state.
        scheme: The scheme of the run with its step resolved.
    """

    def __init__(self, system: NetworkSystem, scheme: AbstractScheme):
        self.system = system
        self.state, self._rest = system.start.partition()
        self.scheme = resolve_step(scheme, system, self.fields)

    @cached_property
    def fields(self) -> NetworkFields:
        """The library's fields of the state."""
        return self.system.fields(self.state)

    @cached_property
    def other(self) -> NetworkFields:
        """The fields with each residual multiplied by a fixed random number.

        Laws are linear in the residual. Near a stationary point the terms of a law cancel and what
        is left is rounding; with this residual they do not, which gives their size.
        """
        fields = self.system.fields(self.state)
        residual = self.fields.residual
        factors = jax.random.normal(jax.random.key(0), residual.shape, residual.dtype)
        fields.residual = factors * residual  # in place of the cached one
        return fields

    def network(self, state: Network) -> Network:
        """The network of a state."""
        network: Network = eqx.combine(state, self._rest)
        return network

    @cached_property
    def velocity(self) -> Network:
        """Velocity of the weights, -s J^T r, by pulling the residual through the outputs."""
        _, pull = jax.vjp(lambda state: self.network(state)(self.system.inputs), self.state)
        (gradient,) = pull(self.fields.loss_scale * self.fields.residual)
        return jax.tree.map(lambda leaf: -leaf, gradient)

    def rate(self, of: Callable[[Network], Any]) -> Any:
        """How something of the network moves: its derivative along the velocity."""
        along = lambda state: of(self.network(state))  # noqa: E731
        return jax.jvp(along, (self.state,), (self.velocity,))[1]

    @cached_property
    def pre_rates(self) -> tuple[Float[Array, "n _"], ...]:
        """How the preactivations of each layer move; the readout's last."""
        inputs = self.system.inputs
        return self.rate(lambda network: tuple(trace.pre for trace in network.traces(inputs)))

    @cached_property
    def stepped(self) -> Network:
        """The state after one step of gradient descent."""
        step = self.scheme.step_size
        return jax.tree.map(lambda leaf, move: leaf + step * move, self.state, self.velocity)


def relative(
    one: Float[Array, "*shape"], two: Float[Array, "*shape"], size: Scalar = 0.0
) -> Float[Array, ""]:
    """|one - two| / max(|one|, |two|, size), whole arrays; 0 where all of them vanish.

    So a law says nothing at a state of zero residual, where both its sides are 0.
    """
    tiny = jnp.finfo(one.dtype).tiny
    scale = jnp.maximum(jnp.maximum(frobenius(one), frobenius(two)), jnp.asarray(size, one.dtype))
    return frobenius(one - two) / jnp.maximum(scale, tiny)


def worst(errors: list[Float[Array, ""]]) -> Float[Array, ""]:
    """The largest error, NaN if any is."""
    return jnp.max(jnp.stack(errors))


def compare(ones: Any, twos: Any, sizes: Any) -> Float[Array, ""]:
    """The largest relative error over layers; `sizes` are arrays of the size of the terms."""
    trios = zip(ones, twos, sizes, strict=True)
    return worst([relative(one, two, frobenius(size)) for one, two, size in trios])
