"""What is seen of both layers on a planted map, learnt from the population or from samples."""

from abc import ABC, abstractmethod
from functools import cached_property

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn.kernels.planted import loss_parts, population_gradient, population_loss


class PlantedView(ABC):
    """What diagnostics of a planted map read, be it learnt from the population or from samples."""

    @property
    @abstractmethod
    def hidden(self) -> Float[Array, "k D"]:
        """Rows w_i of W, shape (k, D); D is C + k in thin coordinates, d on samples."""

    @property
    @abstractmethod
    def readout(self) -> Float[Array, "k C"]:
        """Rows V_i, shape (k, C)."""

    @property
    @abstractmethod
    def target(self) -> Float[Array, "C D"]:
        """Planted map B, shape (C, D)."""

    @property
    @abstractmethod
    def gradient_rows(self) -> tuple[Float[Array, "k D"], Float[Array, "k C"]]:
        """Gradient of the loss that is trained, by W and by V."""

    @property
    def noise_angle(self) -> float:
        """Angle to the map at which the noise of the samples stops a row; 0 without samples."""
        return 0.0

    @property
    def target_square(self) -> Float[Array, ""]:
        """|B|_F^2."""
        return jnp.sum(self.target**2)

    @cached_property
    def norms(self) -> Float[Array, " k"]:
        """Norms |w_i| of the rows."""
        return jnp.sqrt(jnp.sum(self.hidden**2, axis=1))

    @cached_property
    def gains(self) -> Float[Array, " k"]:
        """Gains v_i |w_i| of one output, |V_i| |w_i| of several."""
        turned = self.readout
        one = turned.shape[1] == 1
        return self.norms * (turned[:, 0] if one else jnp.sqrt(jnp.sum(turned**2, axis=1)))

    @cached_property
    def imbalance(self) -> Float[Array, " k"]:
        """D_i = |V_i|^2 - |w_i|^2."""
        return jnp.sum(self.readout**2, axis=1) - jnp.sum(self.hidden**2, axis=1)

    @cached_property
    def target_angles(self) -> Float[Array, " k"]:
        """Angle of each row to the span of the rows of B, in [0, pi/2]; pi/2 for a zero row."""
        frame = self._target_frame()
        along = self.hidden @ frame.T
        across = self.hidden - along @ frame
        sizes = [jnp.sqrt(jnp.sum(part**2, axis=1)) for part in (across, along)]
        angle = jnp.arctan2(*sizes)
        # So that a row that is not finite stays NaN.
        return jnp.where(self.norms == 0, jnp.asarray(jnp.pi / 2, angle.dtype), angle)

    def _target_frame(self) -> Float[Array, "C D"]:
        """Orthonormal rows that span those of B; zeros in place of what it lacks."""
        if self.target.shape[0] == 1:
            return self.target / jnp.sqrt(self.target_square)
        _, values, frame = jnp.linalg.svd(self.target, full_matrices=False)
        size = max(self.target.shape) * jnp.finfo(values.dtype).eps * values[0]
        return jnp.where((values > size)[:, None], frame, 0.0)

    @cached_property
    def population_gradient(self) -> tuple[Float[Array, "k D"], Float[Array, "k C"]]:
        """Gradient of the loss of the population, by W and by V, in closed form."""
        found: tuple[Array, Array] = population_gradient(self.hidden, self.readout, self.target)
        return found

    @cached_property
    def loss_parts(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Odd and even part of the population loss."""
        return loss_parts(self.hidden, self.readout, self.target)

    @cached_property
    def population_loss(self) -> Float[Array, ""]:
        """1/2 E |f - B x|^2."""
        return population_loss(self.hidden, self.readout, self.target)


def widened_map(planted_map: Float[Array, "C C"], width: int) -> Float[Array, "C D"]:
    """B with so many columns, zeros added; of fewer inputs than outputs only what they have."""
    kept = planted_map[:, :width]
    return jnp.pad(kept, ((0, 0), (0, width - kept.shape[1])))
