"""Networks of infinite width: Gaussian expectations of an activation, layer kernels, exact decay.

As the widths grow, the preactivations of a layer become independent Gaussian fields over the
samples, the Grams of activations and of sensitivities become their means, and the tangent kernel
stays where it was at t = 0. Source: A. Jacot, F. Gabriel, C. Hongler, Neural Tangent Kernel,
arXiv 1806.07572.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._types import Scalar


def arc_cosine(
    covariance: Float[Array, "n n"], slope: Scalar = 0.0
) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
    """Means of phi(u) phi(v) and of phi'(u) phi'(v), phi leaky ReLU and (u, v) jointly Gaussian.

    With t the angle of two rows, cos t = S[mu, nu] / root, root^2 = S[mu, mu] S[nu, nu]:

        activations   (1 + slope^2)/2 S + (1 - slope)^2/(2 pi) root (sin t - t cos t)
        masks         (1 + slope^2)/2   - (1 - slope)^2/(2 pi) t

    A row of zero variance is the constant 0, where the mask is `slope` as everywhere in this
    package. The angle of two nearly parallel rows is known to the root of the precision only, and
    so are the masks there; on the diagonal both results are exact.

    Args:
        covariance: Covariance S of the preactivations over the samples, zero mean, shape (n, n).
        slope: Slope of phi below zero; 0 is ReLU, 1 is linear.

    Returns:
        Second moments of the activations and of the masks, shape (n, n) each.

    Cost: O(n^2).
    Source: Y. Cho, L. Saul, Kernel Methods for Deep Learning (2009), kernels of order 1 and 0.
    """
    variance = jnp.diagonal(covariance)
    root = jnp.sqrt(variance[:, None] * variance[None, :])
    angle = _angles(covariance, root)
    even, odd = (1.0 + slope**2) / 2.0, (1.0 - slope) ** 2 / (2.0 * jnp.pi)
    act = even * covariance + odd * root * (jnp.sin(angle) - angle * jnp.cos(angle))
    # Against a constant the mean is a product of means.
    varies = variance > 0
    mean = jnp.where(varies, (1.0 + slope) / 2.0, slope).astype(covariance.dtype)
    both = varies[:, None] & varies[None, :]
    return act, jnp.where(both, even - odd * angle, mean[:, None] * mean[None, :])


def _angles(covariance: Float[Array, "n n"], root: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Angle of each two rows in [0, pi], 0 on the diagonal; pi/2 where one of them vanishes."""
    cosine = jnp.where(root > 0, covariance / jnp.where(root > 0, root, 1.0), 0.0)
    # Rounding may leave a cosine outside [-1, 1], and that of the diagonal below 1.
    angle = jnp.arccos(jnp.clip(cosine, -1.0, 1.0))
    return jnp.where(jnp.eye(len(covariance), dtype=bool), 0.0, angle)


def limit_conj_grams(
    mask_covariances: Sequence[Float[Array, "n n"]], gains: Sequence[Scalar]
) -> list[Float[Array, "n n"]]:
    """Gram of the sensitivities of each layer at infinite width, for one output.

    Q^{L+1} = 1 for the readout, and below Q^l = gain^{l+1} M^l Q^{l+1} entry by entry: each of the
    N_l neurons of layer l gathers scale^2 variance Q^{l+1} from the layer above, N_l = its fan-in.

    Args:
        mask_covariances: M^l of each hidden layer, shape (n, n) each.
        gains: Squared multiplier times fan-in times weight variance of the layer above each.

    Returns:
        Q of each hidden layer and of the readout, shape (n, n) each.

    Cost: O(L n^2).
    """
    found = [jnp.ones_like(mask_covariances[-1])]
    for mask, gain in zip(reversed(mask_covariances), reversed(gains), strict=True):
        found.append(gain * mask * found[-1])
    return found[::-1]


def repeat_outputs(kernel: Float[Array, "n n"], n_outputs: int) -> Float[Array, "n C n C"]:
    """The kernel of one output for C independent ones: times the identity over outputs."""
    eye = jnp.eye(n_outputs, dtype=kernel.dtype)
    return kernel[:, None, :, None] * eye[None, :, None, :]


def linear_residual(
    kernel: Float[Array, "m m"], residual: Float[Array, " m"], times: Float[Array, " T"]
) -> Float[Array, "T m"]:
    """Residual under gradient flow with a constant kernel, exp(-K t) r(0), exactly.

    Args:
        kernel: Symmetric kernel K, the loss scale in it, shape (m, m).
        residual: r(0), shape (m,).
        times: Times t, shape (T,).

    Returns:
        r(t), shape (T, m).

    Cost: one decomposition, O(m^3), and 4 T m^2 operations.
    """
    rates, modes = jnp.linalg.eigh(kernel)
    decay = jnp.exp(-times[:, None] * rates[None, :])
    return (decay * (modes.T @ residual)[None, :]) @ modes.T
