"""An orthogonal layer told by its preactivations: closed in (z, r, G^0)."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._checks import check
from gramdyn._errors import InputError
from gramdyn.kernels.fields import drive as weighted
from gramdyn.kernels.gram import act_gram, layer_kernel
from gramdyn.kernels.structured_laws import orthogonal_forward
from gramdyn.models.activations import Activation
from gramdyn.models.enriched import EnrichedLayer
from gramdyn.models.layers import AbstractLayer, Pulled, Trace
from gramdyn.models.orthogonal_pathways import Orthogonal


class GramOrthogonal(AbstractLayer):
    """The first layer z = gain O h, O moved on the orthogonal group by gradient flow.

    Its preactivations move by a law in which neither O nor the inputs enter, but their Gram:

        dz_mu/dt = -s sum_nu [gain^2 G[mu, nu] drive_nu - (z_mu . drive_nu) z_nu]

    so that with a readout it is a closed system in (z, r, G^0). The flow conserves the whole Gram,
    z z^T = gain^2 G. It is that of the group's own metric, which Cayley coordinates have at A = 0.

    Attributes:
        pre: Preactivations z, shape (n, N); trained.
        gram: Gram G^0 of the inputs, shape (n, n), frozen.
        gain: Factor on the orthogonal matrix, frozen.
        activation: phi.
        trainable: Whether the layer trains.

    Cost: 6 n^2 N operations a step, whatever the number of inputs. Source: derived here.
    """

    pre: Float[Array, "n N"]
    gram: Float[Array, "n n"]
    gain: Float[Array, ""]
    activation: Activation
    trainable: bool = eqx.field(static=True, default=True)
    frozen_leaves: ClassVar[tuple[str, ...]] = ("gram", "gain")

    @property
    def free(self) -> bool:
        """What trains is the image of an orthogonal matrix."""
        return False

    @property
    def factorised(self) -> bool:
        """Its kernel is a product of two Grams less another."""
        return False

    def forward(self, act: Float[Array, "n N_in"] | None) -> Trace:
        """Fields of this layer; the inputs are not needed."""
        return Trace(None, self.pre, self.activation.value(self.pre))

    def pull(self, sens: Float[Array, "n C N"]) -> Float[Array, "n C N_in"]:
        """Not to be had: nothing lies below the first layer."""
        raise InputError("A layer told by its preactivations is the first of its network.")

    def matrix(self) -> Float[Array, "N N_in"]:
        """Not to be had: the weights are not carried."""
        raise InputError("A layer told by its preactivations carries no weights.")

    def learn_pre(
        self, act: Float[Array, "n N_in"] | None, trace: Trace, drive: Pulled
    ) -> Float[Array, "n N"]:
        """gain^2 G drive - (z . drive) z."""
        return orthogonal_forward(self.gram, self.pre, drive.sens, self.gain)

    def gradient(self, trace: Trace, drive: Pulled) -> "GramOrthogonal":
        """Image of the gradient on the group in `pre`."""
        moved = self.learn_pre(None, trace, drive)
        still = eqx.tree_at(lambda tree: (tree.gram, tree.gain), self, (None, None))
        return eqx.tree_at(lambda tree: tree.pre, still, moved)

    def input_gram(self, trace: Trace) -> Float[Array, "n n"]:
        """Not to be had: the kernel is no product of two Grams."""
        raise InputError("An orthogonal layer has no one Gram of inputs; see its `kernel`.")

    def kernel(self, trace: Trace, back: Pulled) -> Float[Array, "n C n C"]:
        """gain^2 G * (D D^T) - X * X^T, X[a, b] = z_a . delta_b."""
        overlap = jnp.einsum("mi,nei->mne", self.pre, back.sens)
        crossed = jnp.einsum("mne,nmc->mcne", overlap, overlap)
        return layer_kernel(self.gain**2 * self.gram, back.sens) - crossed

    def kernel_product(
        self, trace: Trace, back: Pulled
    ) -> Callable[[Float[Array, "n C"]], Float[Array, "n C"]]:
        """Function that multiplies a vector by this layer's kernel, the kernel never formed."""

        def product(vector: Float[Array, "n C"]) -> Float[Array, "n C"]:
            drive = weighted(vector, back.sens)
            moved = orthogonal_forward(self.gram, self.pre, drive, self.gain)
            return jnp.einsum("nci,ni->nc", back.sens, moved)

        return product

    def decay_rate(self, trace: Trace, drive: Pulled) -> Float[Array, ""]:
        """This layer's share r^T K^l r in the decay of the residual."""
        return jnp.sum(drive.sens * self.learn_pre(None, trace, drive))

    def lipschitz(self) -> Float[Array, ""]:
        """Lip_phi times the gain."""
        return self.activation.lipschitz * jnp.abs(self.gain)

    def conserved(self) -> Float[Array, " k"]:
        """Upper triangle of z z^T, which is gain^2 G at the start."""
        gram = self.pre @ self.pre.T
        return gram[jnp.triu_indices(gram.shape[0])]

    def step_flops(self, n_samples: int, *, first: bool) -> int:
        """Operations of the law's products."""
        return 6 * n_samples * self.pre.size


def to_gram_orthogonal(layer: AbstractLayer, inputs: Float[Array, "n N"]) -> GramOrthogonal:
    """The first layer told by its preactivations on the training inputs.

    Raises:
        InputError: unless it is a square orthogonal pathway without bias and correction.
    """
    wanted = "begin with a square orthogonal layer without bias and correction"
    check(isinstance(layer, EnrichedLayer), "network", wanted, type(layer).__name__)
    assert isinstance(layer, EnrichedLayer)
    pathway = layer.pathway
    check(isinstance(pathway, Orthogonal), "network", wanted, type(pathway).__name__)
    assert isinstance(pathway, Orthogonal)
    check(pathway.n_in == pathway.n_out, "network", wanted, (pathway.n_out, pathway.n_in))
    check(layer.bias is None, "network", wanted, "one with a bias")
    check(layer.correction is None, "network", wanted, "one with a correction")
    trains = layer.trainable and layer.train_pathway
    gram = act_gram(inputs)
    return GramOrthogonal(pathway(inputs), gram, pathway.gain, layer.activation, trains)
