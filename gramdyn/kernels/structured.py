"""Kernels of structured layers: what a constraint on the matrix makes of the layer kernel.

A layer z = S(theta) h + b whose matrix has parameters theta has the kernel

    K[a, b] = sum_p (delta_a^T d_p S h_a) (delta_b^T d_p S h_b) = <delta_a h_a^T, M[delta_b h_b^T]>

over rows a = (sample, output), with M = J J^T, J = dvec S / dtheta, the metric that the structure
induces on matrices. A free matrix has M = 1, and K is the product of two Grams; every structure
below replaces M alone, while what enters (`act`) and the sensitivities (`sens`) stay what they are.
All rules are exact at every theta. Results have shape (n, C, n, C), symmetric in (mu, c) <-> (nu,
e), positive semidefinite. Source: derived here; the layers are those of arXiv 2508.02126.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from gramdyn._types import Scalar
from gramdyn.kernels.gram import act_gram, conj_gram, layer_kernel


def diagonal_kernel(
    act: Float[Array, "n N"], sens: Float[Array, "n C N"]
) -> Float[Array, "n C n C"]:
    """Kernel of S = diag(d): the Gram of act * sens, not the product of their Grams.

    Cost: 2 n^2 C^2 N operations.
    """
    return conj_gram(act[:, None, :] * sens)


def block_kernel(
    act: Float[Array, "n N_in"], sens: Float[Array, "n C N"], blocks: int
) -> Float[Array, "n C n C"]:
    """Kernel of a block-diagonal S: the sum over blocks of the product of their two Grams.

    Args:
        act: What enters the blocks, after any permutation, N_in a multiple of `blocks`.
        sens: Sensitivities, N a multiple of `blocks`.
        blocks: Number of blocks B.

    Cost: 2 n^2 C^2 N + 2 n^2 N_in operations, n^2 C^2 B numbers at once.
    """
    n, n_outputs = sens.shape[:2]
    entering = act.reshape(n, blocks, -1)
    leaving = sens.reshape(n, n_outputs, blocks, -1)
    grams = jnp.einsum("mbi,nbi->bmn", entering, entering)
    products = jnp.einsum("mcbi,nebi->bmcne", leaving, leaving)
    return jnp.einsum("bmn,bmcne->mcne", grams, products)


def low_rank_kernel(
    act: Float[Array, "n N_in"],
    sens: Float[Array, "n C N"],
    left: Float[Array, "N k"],
    right: Float[Array, "N_in k"],
) -> Float[Array, "n C n C"]:
    """Kernel of S = U V^T: (HV)(HV)^T * (D D^T) + (H H^T) * (DU)(DU)^T.

    Args:
        act: H, what enters.
        sens: D, sensitivities.
        left: U.
        right: V.

    Cost: 2 n^2 C^2 (N + k) operations.
    """
    by_left = layer_kernel(act_gram(act @ right), sens)
    return by_left + layer_kernel(act_gram(act), sens @ left)


def circulant_kernel(
    act: Float[Array, "n N"], sens: Float[Array, "n C N"]
) -> Float[Array, "n C n C"]:
    """Kernel of S[i, j] = c[(i - j) mod N]: Re(Z Z^*) / N, Z = conj(fft act) * fft sens.

    It is the rule of a diagonal matrix, in Fourier space.

    Cost: 4 n^2 C^2 N operations beside the transforms.
    """
    return toeplitz_kernel(act, sens, act.shape[1])


def toeplitz_kernel(
    act: Float[Array, "n N_in"], sens: Float[Array, "n C N"], period: int
) -> Float[Array, "n C n C"]:
    """Kernel of S[i, j] = t[i - j]: that of a circulant of the size `period`, zeros filled in.

    Args:
        act: What enters.
        sens: Sensitivities.
        period: N + N_in - 1 for a Toeplitz matrix; N for a circulant one.

    Cost: 4 n^2 C^2 period operations beside the transforms.
    """
    entering = jnp.fft.rfft(act, period)
    spectrum = jnp.conj(entering)[:, None, :] * jnp.fft.rfft(sens, period)
    # Half of a real signal's spectrum: each frequency stands for two, but 0 and period / 2.
    count = jnp.full(spectrum.shape[-1], 2.0, act.dtype).at[0].set(1.0)
    count = count.at[-1].set(1.0) if period % 2 == 0 else count
    scale = jnp.sqrt(count / period)[None, None]
    parts = [scale * spectrum.real, scale * spectrum.imag]
    return conj_gram(jnp.concatenate(parts, axis=-1))


def rotation_kernel(
    act: Float[Array, "n N"], sens: Float[Array, "n C N"], gain: Scalar = 1.0
) -> Float[Array, "n C n C"]:
    """Kernel of the antisymmetric generator A of gain (1 + A) to first order.

    gain^2 [(H H^T) * (D D^T) - X * X^T],  X[a, b] = h_a . delta_b

    For S = gain O with O orthogonal, moved by O exp(A) at A = 0, `act` is h and `sens` is
    O^T delta, so that gain X is z_a . delta_b, z the preactivations without bias: no weight enters.
    For Cayley coordinates O = O_0 (1 - A/2)^{-1} (1 + A/2) at any A the rows are those of
    `Orthogonal.entering` and `Orthogonal.leaving` (`gramdyn.models`).

    Cost: 4 n^2 C^2 N operations.
    """
    overlap = jnp.einsum("mi,nei->mne", act, sens)
    crossed = jnp.einsum("mne,nmc->mcne", overlap, overlap)
    return gain**2 * (layer_kernel(act_gram(act), sens) - crossed)


def householder_features(
    act: Float[Array, "n N"], sens: Float[Array, "n C N"], vector: Float[Array, " N"]
) -> Float[Array, "n C N"]:
    """Derivative of delta^T (1 - 2 v v^T / |v|^2) h by v; the kernel is its Gram.

    -(2 / |v|^2) [(v.h) delta + (v.delta) h - 2 (v.h)(v.delta) v / |v|^2]
    """
    square = jnp.sum(vector**2)
    by_act, by_sens = (act @ vector)[:, None, None], (sens @ vector)[:, :, None]
    pulled = by_act * sens + by_sens * act[:, None, :]
    return -2.0 / square * (pulled - 2.0 / square * by_act * by_sens * vector[None, None])


def butterfly_features(
    out: Float[Array, "n N"], sens: Float[Array, "n C N"], stride: int
) -> Float[Array, "n C P"]:
    """Derivative by the angles of one stage of plane rotations; the kernel is its Gram.

    zeta = eta_j y_i - eta_i y_j over the pairs (i, j = i + stride) that a rotation turns.

    Args:
        out: What the stage gives, y.
        sens: Derivative of the outputs by it, eta.
        stride: Distance of the two neurons of a pair.
    """
    low, high = pairs(out, stride)
    below, above = pairs(sens, stride)
    found = above * low[:, None] - below * high[:, None]
    return found.reshape(*sens.shape[:2], -1)


def pairs(
    rows: Float[Array, "*axes N"], stride: int
) -> tuple[Float[Array, "*axes G s"], Float[Array, "*axes G s"]]:
    """The first and the second member of each pair (i, i + stride), groups of 2 stride in turn."""
    grouped = rows.reshape(*rows.shape[:-1], -1, 2, stride)
    return grouped[..., 0, :], grouped[..., 1, :]


def normalised_kernel(
    act: Float[Array, "n N_in"],
    sens: Float[Array, "n C N"],
    out: Float[Array, "n N"],
    vectors: tuple[Float[Array, " N"], Float[Array, " N_in"]],
    factor: Scalar,
) -> Float[Array, "n C n C"]:
    """Kernel of S = c W / sigma_1(W): that of W with a correction of rank two.

    factor^2 [(H H^T) * (D D^T) - t s^T - s t^T + s s^T],
    s_a = delta_a^T (W / sigma_1) h_a,  t_a = (u_1 . delta_a)(v_1 . h_a)

    Args:
        act: H, what enters.
        sens: D, sensitivities.
        out: (W / sigma_1) h of each sample.
        vectors: First left and right singular vectors u_1, v_1 of W.
        factor: c / sigma_1.

    Cost: 2 n^2 C^2 N operations.
    """
    left, right = vectors
    whole = jnp.einsum("nci,ni->nc", sens, out)
    top = (sens @ left) * (act @ right)[:, None]
    crossed = jnp.einsum("mc,ne->mcne", top, whole)
    removed = crossed + jnp.einsum("mcne->nemc", crossed)
    own = jnp.einsum("mc,ne->mcne", whole, whole)
    return factor**2 * (layer_kernel(act_gram(act), sens) - removed + own)


def shaped_kernel(
    act: Float[Array, "n N_in"],
    sens: Float[Array, "n C N"],
    weight: Float[Array, "N N_in"],
    rows: Float[Array, " N"],
    columns: Float[Array, " N_in"],
) -> Float[Array, "n C n C"]:
    """Kernel of S = diag(a) W diag(b): of W between the two, of a, and of b.

    Cost: 2 n^2 C^2 (2 N + N_in) + 2 n (C + 1) N N_in operations.
    """
    entering, leaving = act * columns[None], sens * rows[None, None]
    by_weight = layer_kernel(act_gram(entering), leaving)
    by_rows = diagonal_kernel(entering @ weight.T, sens)
    return by_weight + by_rows + diagonal_kernel(act, leaving @ weight)


def monotone_kernel(
    act: Float[Array, "n N"], sens: Float[Array, "n C N"], half: Float[Array, "k N"]
) -> Float[Array, "n C n C"]:
    """Kernel of S = (1 - m) 1 - A^T A + B - B^T.

    B has 2 [(H H^T) * (D D^T) - X * X^T], X[a, b] = h_a . delta_b; A has the Gram of
    (A h) delta^T + (A delta) h^T.

    Cost: 8 n^2 C^2 N operations.
    """
    entering, leaving = act @ half.T, sens @ half.T
    twice = 2.0 * rotation_kernel(act, sens)
    plain = layer_kernel(act_gram(entering), sens) + layer_kernel(act_gram(act), leaving)
    across = jnp.einsum("mi,nei->mne", entering, leaving)
    overlap = jnp.einsum("mci,ni->mcn", sens, act)
    crossed = jnp.einsum("mne,mcn->mcne", across, overlap)
    return twice + plain + crossed + jnp.einsum("mcne->nemc", crossed)


def features_kernel(features: Sequence[Float[Array, "n C _"]]) -> Float[Array, "n C n C"]:
    """Sum of the Grams of derivatives of the outputs by several arrays, (n, C, P) each."""
    return sum((conj_gram(one) for one in features[1:]), conj_gram(features[0]))
