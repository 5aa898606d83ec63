"""Activation functions with their derivative, which is the mask of the kernels."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_known
from gramdyn.kernels.fields import leaky_mask, relu_mask
from gramdyn.kernels.infinite_width import arc_cosine


class Activation(eqx.Module):
    """An activation phi, its derivative, and the variance gain that keeps fields of order one.

    Attributes:
        name: What configurations call it.
        value: phi(pre), elementwise.
        mask: phi'(pre), elementwise; 0 at 0 for ReLU.
        gain: Weight variance times fan-in that keeps the mean square of the activations, by law.
        has_flips: Whether the mask jumps where `pre` changes sign.
        curvature: phi''(pre), elementwise; None where the mask is constant between its jumps.
        dual: From the covariance of Gaussian preactivations to the second moments of the
            activations and of the mask, (n, n) each; None where there is no closed form.
        lipschitz: The largest |phi'|.
    """

    name: str = eqx.field(static=True)
    value: Callable[[Array], Array] = eqx.field(static=True)
    mask: Callable[[Array], Array] = eqx.field(static=True)
    gain: float = eqx.field(static=True)
    has_flips: bool = eqx.field(static=True)
    dual: Callable[[Array], tuple[Array, Array]] | None = eqx.field(static=True, default=None)
    curvature: Callable[[Array], Array] | None = eqx.field(static=True, default=None)
    lipschitz: float = eqx.field(static=True, default=1.0)


class _LeakyValue(eqx.Module):
    slope: float

    def __call__(self, pre: Float[Array, "n N"]) -> Float[Array, "n N"]:
        return jnp.where(pre > 0, pre, jnp.asarray(self.slope, pre.dtype) * pre)


class _LeakyMask(eqx.Module):
    slope: float

    def __call__(self, pre: Float[Array, "n N"]) -> Float[Array, "n N"]:
        return leaky_mask(pre, self.slope)


class _LeakyDual(eqx.Module):
    slope: float

    def __call__(
        self, covariance: Float[Array, "n n"]
    ) -> tuple[Float[Array, "n n"], Float[Array, "n n"]]:
        return arc_cosine(covariance, self.slope)


def _relu(pre: Float[Array, "n N"]) -> Float[Array, "n N"]:
    return jax.nn.relu(pre)  # its derivative at 0 is 0, like the mask; that of jnp.maximum is 1/2


def _identity(pre: Float[Array, "n N"]) -> Float[Array, "n N"]:
    return pre


def relu() -> Activation:
    """phi(z) = max(z, 0), mask [z > 0]."""
    return Activation("relu", _relu, relu_mask, 2.0, True, _LeakyDual(0.0))


def leaky_relu(slope: float = 0.1) -> Activation:
    """phi(z) = z for z > 0 and slope z below, mask 1 or slope."""
    value, mask, dual = _LeakyValue(slope), _LeakyMask(slope), _LeakyDual(slope)
    gain, steepest = 2.0 / (1.0 + slope**2), max(1.0, abs(slope))
    return Activation("leaky_relu", value, mask, gain, slope != 1.0, dual, lipschitz=steepest)


def linear() -> Activation:
    """phi(z) = z, mask 1 everywhere."""
    return Activation("linear", _identity, jnp.ones_like, 1.0, False, _LeakyDual(1.0))


def _gelu(pre: Float[Array, "n N"]) -> Float[Array, "n N"]:
    return jax.nn.gelu(pre, approximate=False)


def _normal_density(pre: Float[Array, "n N"]) -> Float[Array, "n N"]:
    return jnp.exp(-(pre**2) / 2) / math.sqrt(2 * math.pi)


def _gelu_mask(pre: Float[Array, "n N"]) -> Float[Array, "n N"]:
    return jax.scipy.special.ndtr(pre) + pre * _normal_density(pre)


def _gelu_curvature(pre: Float[Array, "n N"]) -> Float[Array, "n N"]:
    return (2 - pre**2) * _normal_density(pre)


# Its slope at sqrt 2, where its curvature vanishes, rounded up.
_GELU_STEEPEST = 1.1289041452


def gelu() -> Activation:
    """phi(z) = z Phi(z) with the normal distribution function, exactly; mask Phi + z times density.

    E phi(z)^2 = 1/3 + 1/(2 pi sqrt(3)) for z ~ N(0, 1).
    """
    gain = 1 / (1 / 3 + 1 / (2 * math.pi * math.sqrt(3)))
    return Activation(
        "gelu",
        _gelu,
        _gelu_mask,
        gain,
        False,
        curvature=_gelu_curvature,
        lipschitz=_GELU_STEEPEST,
    )


# 1 / E tanh(z)^2 for z ~ N(0, 1), which has no closed form; by quadrature.
_TANH_GAIN = 2.5361754332174535


def _tanh_mask(pre: Float[Array, "n N"]) -> Float[Array, "n N"]:
    return 1 - jnp.tanh(pre) ** 2


def _tanh_curvature(pre: Float[Array, "n N"]) -> Float[Array, "n N"]:
    return -2 * jnp.tanh(pre) * _tanh_mask(pre)


def tanh() -> Activation:
    """phi(z) = tanh z, mask 1 - tanh^2 z."""
    return Activation("tanh", jnp.tanh, _tanh_mask, _TANH_GAIN, False, curvature=_tanh_curvature)


ACTIVATIONS: dict[str, Callable[..., Activation]] = {
    "relu": relu,
    "leaky_relu": leaky_relu,
    "linear": linear,
    "gelu": gelu,
    "tanh": tanh,
}


def make_activation(name: str, slope: float | None = None) -> Activation:
    """The activation called `name`; `slope` belongs to leaky ReLU alone.

    Raises:
        InputError: for a name that is not in `ACTIVATIONS`.
    """
    check_known("activation", name, ACTIVATIONS)
    options = {} if slope is None else {"slope": slope}
    check(name == "leaky_relu" or not options, "slope", f"be left out for {name}", slope)
    return ACTIVATIONS[name](**options)
