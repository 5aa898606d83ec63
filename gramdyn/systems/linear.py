"""A residual under a constant kernel: the linearised network, and the one of infinite width."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn.kernels.gram import as_matrix
from gramdyn.kernels.spectra import top_eigenvalues
from gramdyn.systems.base import AbstractFields, AbstractSystem


class ResidualFields(AbstractFields):
    """What a residual shows under squared loss."""

    def __init__(self, residual: Float[Array, "n C"], loss_scale: float):
        self.residual = residual
        self.loss_scale = loss_scale

    @property
    def loss(self) -> Float[Array, ""]:
        """s/2 sum of r^2."""
        return 0.5 * self.loss_scale * jnp.sum(self.residual**2)


class ResidualSystem(AbstractSystem):
    """The residual law dr/dt = -s K r with a kernel that does not move, squared loss.

    The state is the residual r, shape (n, C). Gradient flow is exp(-s K t) r(0), gradient descent
    (1 - eta s K)^t r(0). The residual is an affine image of the parameters, so schemes must be
    linear in the gradient; under weight decay it does not obey this law.

    Attributes:
        kernel: Tangent kernel K, shape (n, C, n, C).
        start: Residual at t = 0, shape (n, C).
        loss_scale: The factor s in front of the loss.

    Cost: 2 (n C)^2 operations a step.
    """

    kernel: Float[Array, "n C n C"]
    start: Float[Array, "n C"]
    loss_scale: float = eqx.field(static=True, default=1.0)

    @property
    def exact_for(self) -> str:
        """A "flow": schemes linear in the gradient, without decay, which is no law of r."""
        return "flow"

    def initial_state(self) -> Float[Array, "n C"]:
        """r(0)."""
        return self.start

    def fields(self, state: Float[Array, "n C"]) -> ResidualFields:
        """The residual and its loss."""
        return ResidualFields(state, self.loss_scale)

    def velocity(
        self, state: Float[Array, "n C"], fields: ResidualFields | None = None
    ) -> Float[Array, "n C"]:
        """-s K r."""
        product = as_matrix(self.kernel) @ state.reshape(-1)
        return -self.loss_scale * product.reshape(state.shape)

    def stiffness(self, fields: ResidualFields) -> Float[Array, ""]:
        """S times the largest eigenvalue of the kernel."""
        return self.loss_scale * top_eigenvalues(as_matrix(self.kernel))[0]
