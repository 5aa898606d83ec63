"""Diagnostics of a variational autoencoder: its two terms, and how straight its codes are."""

from typing import Any, ClassVar

import equinox as eqx
import numpy as np
from jaxtyping import Array, Int

from gramdyn._checks import check, check_positive_int
from gramdyn._errors import InputError
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.registry import diagnostic, register
from gramdyn.kernels.interpolation import line_error, path_bend, straight_lines
from gramdyn.kernels.target_linearity import principal_share, target_linearity
from gramdyn.systems.vae import VaeFields


@diagnostic({"reconstruction": (), "kl": ()}, needs=VaeFields)
def elbo_terms(fields: VaeFields) -> dict[str, Array]:
    """Cross-entropy of the pixels and divergence of the codes, means over the training set.

    The codes are drawn once for all times; `loss` is the first plus beta times the second.
    """
    return {"reconstruction": fields.reconstruction, "kl": fields.kl}


class LatentLinearity(AbstractDiagnostic):
    """Target Linearity of the images by the means of their codes.

    `latent_linearity`, `latent_rank` of the means, `latent_null` = rank / (n - 1), and
    `latent_ceiling`, what no means can exceed: the share of the leading principal components, as
    many as a code has numbers. Linearity does not see the scale of the means: read it beside `kl`.

    Cost: a singular value decomposition of the means, and at t = 0 one of the inputs.
    Source: arXiv 2605.06258.
    """

    name: ClassVar[str] = "latent_linearity"
    needs: ClassVar[type] = VaeFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Four numbers."""
        names = ("latent_linearity", "latent_rank", "latent_null", "latent_ceiling")
        return dict.fromkeys(names, ())

    def start(self, fields: VaeFields, scheme: Any) -> Array:
        """The ceiling, which no time changes."""
        return principal_share(fields.inputs, min(fields.network.latent, *fields.inputs.shape))

    def observe(self, memory: Any, fields: VaeFields) -> tuple[dict[str, Array], Any]:
        """Of the means, on the training set."""
        found = target_linearity(fields.means, fields.inputs)
        arrays = (found.value, found.rank, found.null, memory)
        return dict(zip(self.dims(), arrays, strict=True)), memory


@register("latent_linearity")
def make_latent_linearity() -> LatentLinearity:
    """Target Linearity of the images by the means of their codes, with rank, null and ceiling."""
    return LatentLinearity()


class Interpolation(AbstractDiagnostic):
    """Decoded lines between the codes of two samples, beside the lines between their pixels.

    Each pair is the j-th sample of one class and the j-th of another, for every two classes and j
    up to `per_class`; codes are means. `interpolation_error` is the mean squared error at each
    point of the line; `interpolation_mean`, `interpolation_middle` and `interpolation_ends`, which
    is that of reconstruction alone, are of it. `interpolation_bend` is how curved the decoded path
    itself is (see `gramdyn.kernels.path_bend`).

    Attributes:
        per_class: Samples of each class.
        points: Points of a line, both ends included.

    Cost: per_class C (C - 1) / 2 points decoded codes of C classes.
    Source: arXiv 2605.06258.
    """

    per_class: int = eqx.field(static=True, default=1)
    points: int = eqx.field(static=True, default=10)
    name: ClassVar[str] = "interpolation"
    needs: ClassVar[type] = VaeFields
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """The error by point, and four numbers."""
        names = ("mean", "middle", "ends", "bend")
        numbers: dict[str, Dims] = {f"interpolation_{name}": () for name in names}
        return {"interpolation_error": ("point",)} | numbers

    def start(self, fields: VaeFields, scheme: Any) -> None:
        """Nothing.

        Raises:
            InputError: for a task without labels, one class, or too few samples of a class.
        """
        self._pairs(fields)

    def _pairs(self, fields: VaeFields) -> tuple[Int[Array, " P"], Int[Array, " P"]]:
        """Both samples of each pair."""
        members = fields.members
        if members is None or members.shape[0] < 2:
            raise InputError(
                f"Diagnostic `{self.name}` joins samples of two classes, but the task has none."
            )
        most = members.shape[1]
        check(self.per_class <= most, "per_class", f"be at most {most}", self.per_class)
        one, two = np.triu_indices(members.shape[0], 1)
        chosen = members[:, : self.per_class]
        return chosen[one].reshape(-1), chosen[two].reshape(-1)

    def observe(self, memory: Any, fields: VaeFields) -> tuple[dict[str, Array], Any]:
        """Of the means' lines."""
        one, two = self._pairs(fields)
        codes, line = (
            straight_lines(rows[one], rows[two], self.points)
            for rows in (fields.means, fields.inputs)
        )
        path = fields.decode(codes.reshape(-1, codes.shape[2])).reshape(line.shape)
        found = (*line_error(path, line), path_bend(path))
        return dict(zip(self.dims(), found, strict=True)), memory


@register("interpolation")
def make_interpolation(per_class: int = 1, points: int = 10) -> Interpolation:
    """Decoded lines between codes of two classes: error to the lines of pixels, and bend."""
    points = check_positive_int("points", points)
    check(points >= 2, "points", "be at least 2", points)
    return Interpolation(check_positive_int("per_class", per_class), points)
