"""Pathways that convolve: products by fast Fourier transforms where these are faster.

Their initial laws make the mean square of (S h)_i equal to gain^2 |h|^2 / N_in.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check_known
from gramdyn._types import Key, Scalar
from gramdyn.kernels.structured import circulant_kernel, toeplitz_kernel
from gramdyn.kernels.structured_laws import circulant_conjugate, circulant_forward
from gramdyn.models.pathway import AbstractPathway, as_row, check_square, entries, register_pathway

# From this size on products by the fast Fourier transform are faster than by the matrix (240 rows,
# float32, one CPU core: 0.7, 1.1, 2.2 and 7 times at 128, 192, 512 and 2048). Transforms of a size
# with a prime factor above 7 take up to five times as long, and gain from the second size on.
FFT_FROM, ROUGH_FFT_FROM = 192, 1024


@register_pathway("circulant")
class Circulant(AbstractPathway):
    """S[i, j] = c[(i - j) mod N].

    Attributes:
        column: First column c, shape (N,): by init "flat" all |fft c| = gain, with random phases,
            so that S is gain times an orthogonal matrix; by "random" N(0, gain^2 / N).

    Cost: products take N^2 operations a row below N = 192 (1024 where N has a prime factor above
    7), from there on transforms.
    """

    column: Float[Array, " N"]

    def __init__(
        self,
        n_out: int,
        n_in: int,
        *,
        key: Key,
        init: Literal["flat", "random"] = "flat",
        gain: Scalar = 1.0,
        dtype: Any = None,
    ) -> None:
        size = check_square(n_out, n_in)
        check_known("init", init, ("flat", "random"))
        if init == "flat":
            self.column = flat_column(key, size, gain, dtype)
        else:
            self.column = entries(key, (size,), gain * size**-0.5, dtype)

    def matrix(self) -> Float[Array, "N N"]:
        """The matrix S."""
        size = self.column.shape[0]
        return self.column[(jnp.arange(size)[:, None] - jnp.arange(size)[None]) % size]

    def __call__(self, act: Float[Array, "n N"]) -> Float[Array, "n N"]:
        """Circular convolution of h and c."""
        if not by_transforms(act.shape[1]):
            return act @ self.matrix().T
        return convolve(jnp.fft.rfft(self.column), act, act.shape[1])

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N"]:
        """Circular correlation of delta and c."""
        if not by_transforms(sens.shape[2]):
            return sens @ self.matrix()
        return convolve(jnp.conj(jnp.fft.rfft(self.column)), sens, sens.shape[2])

    def kernel(
        self, act: Float[Array, "n N"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """Re(Z Z^*) / N, Z = conj(fft H) * fft D."""
        return circulant_kernel(act, sens)

    def lipschitz(self) -> Float[Array, ""]:
        """Max |fft c|."""
        return jnp.max(jnp.abs(jnp.fft.rfft(self.column)))

    def learn_pre(
        self, after: Float[Array, "n N"], act: Float[Array, "n N"], drive: Float[Array, "n N"]
    ) -> Float[Array, "n N"]:
        """ifft(fft h' sum_nu conj(fft h) fft drive)."""
        return circulant_forward(after, act, drive)

    def learn_conj(
        self, sens: Float[Array, "n C N"], act: Float[Array, "n N"], drive: Float[Array, "n N"]
    ) -> Float[Array, "n C N"]:
        """ifft(fft delta sum_nu fft h conj(fft drive))."""
        return circulant_conjugate(sens, act, drive)


@register_pathway("toeplitz")
class Toeplitz(AbstractPathway):
    """S[i, j] = t[i - j + N_in - 1]: t ~ N(0, gain^2 / N_in).

    Cost: as `Circulant`, transforms being of N + N_in - 1 numbers, from 1024 of these on.
    """

    diagonals: Float[Array, " m"]
    n_in: int = eqx.field(static=True)

    def __init__(
        self, n_out: int, n_in: int, *, key: Key, gain: Scalar = 1.0, dtype: Any = None
    ) -> None:
        self.n_in = n_in
        self.diagonals = entries(key, (n_out + n_in - 1,), gain * n_in**-0.5, dtype)

    def matrix(self) -> Float[Array, "N N_in"]:
        """The matrix S."""
        n_out = self.diagonals.shape[0] - self.n_in + 1
        places = jnp.arange(n_out)[:, None] - jnp.arange(self.n_in)[None] + self.n_in - 1
        return self.diagonals[places]

    def __call__(self, act: Float[Array, "n N_in"]) -> Float[Array, "n N"]:
        """The middle of the convolution of h and t, which no wrapping around reaches."""
        period = self.diagonals.shape[0]
        if period < ROUGH_FFT_FROM:
            return act @ self.matrix().T
        whole = convolve(jnp.fft.rfft(self.diagonals), act, period)
        return whole[:, self.n_in - 1 :]

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N_in"]:
        """The matching part of the correlation of delta and t."""
        period = self.diagonals.shape[0]
        if period < ROUGH_FFT_FROM:
            return sens @ self.matrix()
        shifted = jnp.pad(sens, ((0, 0), (0, 0), (self.n_in - 1, 0)))
        whole = convolve(jnp.conj(jnp.fft.rfft(self.diagonals)), shifted, period)
        return whole[..., : self.n_in]

    def kernel(
        self, act: Float[Array, "n N_in"], sens: Float[Array, "n C N"]
    ) -> Float[Array, "n C n C"]:
        """That of a circulant matrix of N + N_in - 1 numbers, zeros filled in."""
        return toeplitz_kernel(act, sens, self.diagonals.shape[0])


def flat_column(key: Key, size: int, gain: Scalar, dtype: Any) -> Float[Array, " N"]:
    """First column of a circulant matrix of which every |fft c| is the gain.

    Phases are uniform; the frequencies 0 and N / 2, whose coefficients are real, have a sign.
    """
    dtype = jnp.zeros((), dtype).dtype
    own, other = jax.random.split(key)
    count = size // 2 + 1
    phases = jax.random.uniform(own, (count,), dtype, 0.0, 2 * jnp.pi)
    real = jnp.where(jax.random.bernoulli(other, 0.5, (count,)), 0.0, jnp.pi).astype(dtype)
    is_real = (jnp.arange(count) * 2) % size == 0
    phases = jnp.where(is_real, real, phases)
    waves = jax.lax.complex(jnp.cos(phases), jnp.sin(phases))
    return jnp.asarray(gain, dtype) * jnp.fft.irfft(waves, size)


def by_transforms(size: int) -> bool:
    """Whether circular convolutions of this size are faster by transforms than by a matrix."""
    rest = size
    for factor in (2, 3, 5, 7):
        while rest % factor == 0:
            rest //= factor
    return size >= (FFT_FROM if rest == 1 else ROUGH_FFT_FROM)


def convolve(
    spectrum: Any, rows: Float[Array, "*axes N"], period: int
) -> Float[Array, "*axes period"]:
    """Circular convolution with what has this spectrum, along the last axis."""
    turned = jnp.fft.rfft(rows, period)
    return jnp.fft.irfft(as_row(spectrum, turned) * turned, period)
