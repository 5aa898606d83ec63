"""A run beside what it would be with a constant kernel: its own at t = 0, or of infinite width."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.companion import Companion, check_whole
from gramdyn.diagnostics.registry import register
from gramdyn.kernels.compare import frobenius, relative_movement
from gramdyn.kernels.gram import tangent_kernel
from gramdyn.systems.network_fields import NetworkFields


def _beside(
    name: str, kernel: Float[Array, "n C n C"], fields: NetworkFields, scheme: Any
) -> Companion:
    """The residual law with this kernel, from the run's own residual, under the run's scheme."""
    check_whole(fields, name)
    return Companion.of(fields.linear_system(kernel), scheme, name)


def _distance(fields: NetworkFields, companion: Companion) -> Float[Array, ""]:
    """|r - r_companion|_F / |r(0)|_F; the numerator alone where r(0) = 0."""
    away = frobenius(fields.residual - companion.state)
    norm = frobenius(companion.system.initial_state())
    return away / jnp.where(norm > 0, norm, 1.0)


@register("linearised")
class Linearised(AbstractDiagnostic):
    """Loss of the network linearised at t = 0, and the run's relative distance from it.

    The linearised residual obeys the residual law with the run's own K(0), stepped by the run's
    own scheme; `linear_error` is |r(t) - r_lin(t)|_F / |r(0)|_F.

    Cost: K(0) is kept, and one product with it is made in each step.
    """

    name: ClassVar[str] = "linearised"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the two arrays."""
        return {"linear_loss": (), "linear_error": ()}

    def start(self, fields: NetworkFields, scheme: Any) -> Companion:
        """The linearised network at t = 0."""
        return _beside(self.name, fields.tangent_kernel, fields, scheme)

    def step(self, memory: Companion, fields: NetworkFields, left: Int[Array, ""]) -> Companion:
        """One step of the linearised network."""
        return memory.step(memory.fields())

    def observe(
        self, memory: Companion, fields: NetworkFields
    ) -> tuple[dict[str, Array], Companion]:
        """Loss and distance, and one step."""
        seen = memory.fields()
        found = {"linear_loss": seen.loss, "linear_error": _distance(fields, memory)}
        return found, memory.step(seen)


@register("infinite_width")
class InfiniteWidth(AbstractDiagnostic):
    """Loss at infinite width from the run's own r(0), and the run's distances from that limit.

    The residual law with the sum of `gramdyn.limit_kernels` as its kernel, stepped by the run's
    own scheme. `limit_error` is |r(t) - r_inf(t)|_F / |r(0)|_F, `limit_distance` is
    |K(t) - K_inf|_F / |K_inf|_F, and `layer_limit_distance` the same of each layer's kernel.

    Cost: the limit kernels are kept, and one product with their sum is made in each step.
    """

    name: ClassVar[str] = "infinite_width"
    needs: ClassVar[type] = NetworkFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the four arrays."""
        alone: dict[str, Dims] = dict.fromkeys(("limit_loss", "limit_error", "limit_distance"), ())
        return alone | {"layer_limit_distance": ("layer",)}

    def start(self, fields: NetworkFields, scheme: Any) -> Any:
        """The network of infinite width at t = 0, and its layer kernels."""
        kernels = fields.limit_kernels
        return _beside(self.name, tangent_kernel(kernels), fields, scheme), kernels

    def step(self, memory: Any, fields: NetworkFields, left: Int[Array, ""]) -> Any:
        """One step of the network of infinite width."""
        companion, kernels = memory
        return companion.step(companion.fields()), kernels

    def observe(self, memory: Any, fields: NetworkFields) -> tuple[dict[str, Array], Any]:
        """Loss and distances, and one step."""
        companion, kernels = memory
        seen, whole = companion.fields(), companion.system.kernel
        found = {
            "limit_loss": seen.loss,
            "limit_error": _distance(fields, companion),
            "limit_distance": relative_movement(fields.tangent_kernel, whole),
            "layer_limit_distance": jax.vmap(relative_movement)(fields.layer_kernels, kernels),
        }
        return found, (companion.step(seen), kernels)
