"""A variational autoencoder: two networks, one for the law of the code, one for the pixels."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check, check_positive_int
from gramdyn._types import Key
from gramdyn.models.init import init_network
from gramdyn.models.network import Network


class Autoencoder(eqx.Module):
    """An encoder and a decoder.

    Attributes:
        encoder: From d inputs to 2 k outputs: k means, then k logarithms of variances.
        decoder: From k numbers to the logits of d pixels.
    """

    encoder: Network
    decoder: Network

    @property
    def latent(self) -> int:
        """Numbers k of a code."""
        return int(self.decoder.layers[0].matrix().shape[1])

    def encode(
        self, inputs: Float[Array, "n d"]
    ) -> tuple[Float[Array, "n k"], Float[Array, "n k"]]:
        """Means and logarithms of the variances of the codes, shape (n, k) each."""
        means, log_variances = jnp.split(self.encoder(inputs), 2, axis=1)
        return means, log_variances

    def decode(self, codes: Float[Array, "n k"]) -> Float[Array, "n d"]:
        """Pixels in [0, 1], shape (n, d)."""
        return jax.nn.sigmoid(self.decoder(codes))

    def partition(self) -> tuple["Autoencoder", "Autoencoder"]:
        """Split into what trains and what does not, with None for the rest."""
        encoder, decoder = self.encoder.partition(), self.decoder.partition()
        return Autoencoder(encoder[0], decoder[0]), Autoencoder(encoder[1], decoder[1])


def init_autoencoder(
    keys: tuple[Key, Key], n_inputs: int, widths: Sequence[int], latent: int, **options: Any
) -> Autoencoder:
    """A variational autoencoder with random weights.

    Args:
        keys: Random keys of the encoder and of the decoder.
        n_inputs: Pixels d.
        widths: Width of each hidden layer of the encoder; the decoder has them in reverse.
        latent: Numbers k of a code.
        options: Of both networks, as `gramdyn.init_network` has them.

    Raises:
        InputError: as `gramdyn.init_network`.
    """
    check(len(widths) > 0, "widths", "hold one hidden layer at least", tuple(widths))
    check_positive_int("latent", latent)
    bias = options.pop("bias", False)
    given = [bias] * len(widths) if isinstance(bias, bool) else list(bias)
    encoder = init_network(keys[0], n_inputs, widths, 2 * latent, bias=given, **options)
    back = tuple(reversed(widths))
    decoder = init_network(keys[1], latent, back, n_inputs, bias=given[::-1], **options)
    return Autoencoder(encoder, decoder)
