"""A variational autoencoder in training: its loss, its gradient, what it shows of its codes."""

from dataclasses import replace
from functools import cached_property

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gramdyn._checks import check
from gramdyn._errors import InputError
from gramdyn._types import Key, Scalar
from gramdyn.data.images import Images
from gramdyn.models.autoencoder import Autoencoder
from gramdyn.models.layers import Pulled, Trace
from gramdyn.systems.base import AbstractFields, AbstractSystem
from gramdyn.systems.batches import draw_orders, rows_of_step


class VaeFields(AbstractFields):
    """What one state of a variational autoencoder shows on some samples.

    Codes are c = mu + exp(s / 2) e with the encoder's means mu and logarithms of variances s, and
    one draw e ~ N(0, 1) a sample. Each quantity is computed once, on first use.

    Attributes:
        network: The autoencoder.
        inputs: Pixels, shape (n, d).
        beta: Factor on the divergence.
        members: Samples of each class, shape (classes, m), or None.
    """

    def __init__(
        self,
        network: Autoencoder,
        inputs: Float[Array, "n d"],
        beta: Float[Array, ""],
        noise: Key,
        members: Int[Array, "C m"] | None = None,
        batch: "VaeFields | None" = None,
    ):
        self.network = network
        self.inputs = inputs
        self.beta = beta
        self.members = members
        self._noise = noise
        self._batch = batch

    @property
    def trained_on(self) -> "VaeFields":
        """The fields by which this step is made: its samples, with its noise."""
        return self if self._batch is None else self._batch

    @property
    def watched_loss(self) -> Float[Array, ""]:
        """The loss of the samples that are trained on, with this step's noise."""
        return self.trained_on.loss

    @cached_property
    def encoder_traces(self) -> tuple[Trace, ...]:
        """Inputs, preactivations and activations of each layer of the encoder."""
        return self.network.encoder.traces(self.inputs)

    @cached_property
    def decoder_traces(self) -> tuple[Trace, ...]:
        """The same of the decoder, on the drawn codes."""
        return self.network.decoder.traces(self.codes)

    @property
    def means(self) -> Float[Array, "n k"]:
        """Means of the codes mu, shape (n, k)."""
        return jnp.split(self.encoder_traces[-1].act, 2, axis=1)[0]

    @property
    def log_variances(self) -> Float[Array, "n k"]:
        """Logarithms of the codes' variances s, shape (n, k)."""
        return jnp.split(self.encoder_traces[-1].act, 2, axis=1)[1]

    @cached_property
    def noise(self) -> Float[Array, "n k"]:
        """The draw e, shape (n, k)."""
        return jax.random.normal(self._noise, self.means.shape, self.means.dtype)

    @cached_property
    def spread(self) -> Float[Array, "n k"]:
        """What the noise adds to the means, exp(s / 2) e, shape (n, k)."""
        return jnp.exp(self.log_variances / 2) * self.noise

    @property
    def codes(self) -> Float[Array, "n k"]:
        """The drawn codes, shape (n, k)."""
        return self.means + self.spread

    @property
    def logits(self) -> Float[Array, "n d"]:
        """Logits of the decoded pixels, shape (n, d)."""
        return self.decoder_traces[-1].act

    @cached_property
    def reconstruction(self) -> Float[Array, ""]:
        """Cross-entropy of the pixels x, sum of log(1 + exp(f)) - x f, mean over the samples."""
        terms = jax.nn.softplus(self.logits) - self.inputs * self.logits
        return jnp.mean(jnp.sum(terms, axis=1))

    @cached_property
    def kl(self) -> Float[Array, ""]:
        """Divergence to N(0, 1), sum of (mu^2 + exp(s) - 1 - s) / 2, mean over the samples."""
        terms = self.means**2 + jnp.exp(self.log_variances) - 1.0 - self.log_variances
        return jnp.mean(jnp.sum(terms, axis=1)) / 2

    @property
    def loss(self) -> Float[Array, ""]:
        """Reconstruction plus beta times the divergence, of one draw of the codes.

        On the whole training set the draw is the same at every time.
        """
        return self.reconstruction + self.beta * self.kl

    def decode(self, codes: Float[Array, "m k"]) -> Float[Array, "m d"]:
        """Decoded pixels in [0, 1] of any codes, shape (m, d)."""
        return self.network.decode(codes)

    @cached_property
    def _decoder_drives(self) -> tuple[Pulled, ...]:
        """Derivatives of the loss by each field of the decoder, (n, N_l) a layer."""
        n = self.inputs.shape[0]
        slope = (jax.nn.sigmoid(self.logits) - self.inputs) / n
        rows = self.network.decoder.backward(self.decoder_traces, slope[:, None, :])
        return tuple(row.single() for row in rows)

    @cached_property
    def _encoder_drives(self) -> tuple[Pulled, ...]:
        """The same of the encoder: through the codes, and of the divergence itself."""
        share = self.beta / self.inputs.shape[0]
        first = self.network.decoder.layers[0]
        by_code = first.pull(self._decoder_drives[0].sens[:, None, :])[:, 0, :]
        by_mean = by_code + share * self.means
        by_log = (by_code * self.spread + share * (jnp.exp(self.log_variances) - 1.0)) / 2
        slope = jnp.concatenate([by_mean, by_log], axis=1)
        rows = self.network.encoder.backward(self.encoder_traces, slope[:, None, :])
        return tuple(row.single() for row in rows)

    def gradient(self) -> Autoencoder:
        """Loss gradient; None for what does not train."""
        return Autoencoder(
            self.network.encoder.gradient(self.encoder_traces, self._encoder_drives),
            self.network.decoder.gradient(self.decoder_traces, self._decoder_drives),
        )


class VaeSystem(AbstractSystem):
    """Training of a variational autoencoder, in weight coordinates.

    Loss: cross-entropy of the pixels, summed, plus beta times the divergence of the codes to
    N(0, 1), mean over the samples of a step, codes drawn anew in each. Where batches are drawn,
    step t takes batch t mod m of epoch floor(t / m) as a `BatchSystem` does. What is recorded is
    that of the whole training set, with one draw of codes that is the same at every time.

    Attributes:
        start: The autoencoder at t = 0.
        inputs: Pixels in [0, 1], shape (n, d).
        beta: Factor on the divergence, shape ().
        noise: Random key of the codes.
        members: Samples of each class, shape (classes, m), or None; for those who look.
        order: Order of the samples in each epoch, shape (epochs, n), or None: all in each step.
        size: Samples of a batch; of no meaning without an order.
        step: The step it is in.

    Source: arXiv 2605.06258.
    """

    start: Autoencoder
    inputs: Float[Array, "n d"]
    beta: Float[Array, ""]
    noise: Key
    members: Int[Array, "C m"] | None = None
    order: Int[Array, "epochs n"] | None = None
    size: int = eqx.field(static=True, default=0)
    step: Int[Array, ""] = eqx.field(default_factory=lambda: jnp.zeros((), jnp.int32))

    def __check_init__(self) -> None:
        d, latent = self.inputs.shape[1], self.start.latent
        shapes = [
            (one.layers[0].matrix().shape[1], one.readout.matrix().shape[0])
            for one in (self.start.encoder, self.start.decoder)
        ]
        wanted = [(d, 2 * latent), (latent, d)]
        check(shapes == wanted, "start", f"map {wanted[0]}, then {wanted[1]}", shapes)

    @property
    def coordinates(self) -> str:
        """The coordinates, "weights"."""
        return "weights"

    @property
    def exact_for(self) -> str:
        """Schemes it is exact for, "any": the state is the parameters."""
        return "any"

    def at(self, step: Int[Array, ""]) -> "VaeSystem":
        """The system in a step."""
        return replace(self, step=step)

    def in_batches(self, key: Key, size: int, n_steps: int) -> "VaeSystem":
        """The system, trained on mini-batches (see `gramdyn.systems.batches`).

        Args:
            key: Random key of the orders.
            size: Samples of a batch, 1 to n.
            n_steps: Steps that will be made; as many orders are drawn as these take.

        Raises:
            InputError: for a size out of range.
        """
        return replace(self, order=draw_orders(key, len(self.inputs), size, n_steps), size=size)

    def initial_state(self) -> Autoencoder:
        """The trained arrays at t = 0."""
        return self.start.partition()[0]

    def network(self, state: Autoencoder) -> Autoencoder:
        """The autoencoder of a state."""
        found: Autoencoder = eqx.combine(state, self.start.partition()[1])
        return found

    def fields(self, state: Autoencoder) -> VaeFields:
        """The fields on the training set, and on what this step is trained on."""
        network, (looks, steps) = self.network(state), jax.random.split(self.noise)
        inputs = self.inputs
        if self.order is not None:
            inputs = inputs[rows_of_step(self.order, self.size, self.step)]
        batch = VaeFields(network, inputs, self.beta, jax.random.fold_in(steps, self.step))
        return VaeFields(network, self.inputs, self.beta, looks, self.members, batch)

    def velocity(self, state: Autoencoder, fields: VaeFields | None = None) -> Autoencoder:
        """Minus the gradient of the loss of this step."""
        fields = self.fields(state) if fields is None else fields
        found: Autoencoder = jax.tree.map(lambda leaf: -leaf, fields.trained_on.gradient())
        return found

    def stiffness(self, fields: VaeFields) -> Float[Array, ""]:
        """Not to be had: the loss is no function of outputs on which a kernel acts.

        Raises:
            InputError: always.
        """
        raise InputError(
            "Argument `step_size` must be a number for an autoencoder: it has no tangent kernel "
            "that a relative step could be taken from."
        )

    def step_flops(self) -> int:
        """Operations of one gradient step, matrix products alone."""
        n = len(self.inputs) if self.order is None else self.size
        encoder, decoder = self.start.encoder.layers, self.start.decoder.layers
        return sum(
            layer.step_flops(n, first=i == 0) for i, layer in enumerate((*encoder, *decoder))
        )


def make_vae_system(
    network: Autoencoder, images: Images, *, noise: Key, beta: Scalar = 1.0
) -> VaeSystem:
    """The system of a variational autoencoder trained on the inputs of a task.

    Args:
        network: The autoencoder at t = 0.
        images: What `gramdyn.data.task_images` gives; cast to the network's dtype.
        noise: Random key of the codes; each step has its own draw.
        beta: Factor on the divergence of the codes to N(0, 1), at least 0.

    Raises:
        InputError: for networks that do not fit the pixels or each other.
    """
    dtype = network.decoder.layers[0].matrix().dtype
    members = None if images.members is None else jnp.asarray(images.members).astype(jnp.int32)
    inputs = jnp.asarray(images.inputs, dtype)
    return VaeSystem(network, inputs, jnp.asarray(beta, dtype), noise, members)
