"""Diagnostics of both layers on a planted map, from the population and from samples alike.

e_i = v_i |w_i| is the signed gain of a neuron of one output, D_i = |V_i|^2 - |w_i|^2 its imbalance.
What is told of the loss is that of the population, also where samples are trained.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gramdyn._checks import check, check_positive
from gramdyn.diagnostics.base import AbstractDiagnostic, Dims
from gramdyn.diagnostics.registry import diagnostic, register
from gramdyn.kernels.planted import angles, relu_gram
from gramdyn.planted.classify import KINDS as KINDS
from gramdyn.planted.classify import kind_rules
from gramdyn.systems.planted_view import PlantedView


@diagnostic(
    {"hidden_rows": ("neuron", "coordinate"), "readout_rows": ("neuron", "output")},
    needs=PlantedView,
)
def planted_weights(fields: PlantedView) -> dict[str, Array]:
    """Rows w_i, in thin coordinates on the population, and rows V_i."""
    return {"hidden_rows": fields.hidden, "readout_rows": fields.readout}


@diagnostic({"population_loss": (), "odd_loss": (), "even_loss": ()}, needs=PlantedView)
def population_loss(fields: PlantedView) -> dict[str, Array]:
    """1/2 E |f - B x|^2, and its odd and even part; the even one holds the slow directions."""
    odd, even = fields.loss_parts
    return {"population_loss": fields.population_loss, "odd_loss": odd, "even_loss": even}


class Success(AbstractDiagnostic):
    """Whether the map is learnt: 1 where the loss of the population is small, else 0.

    Attributes:
        below: What is small, in units of |B|_F^2.
    """

    below: float = eqx.field(static=True, default=1e-3)
    name: ClassVar[str] = "success"
    needs: ClassVar[type] = PlantedView
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the array."""
        return {"success": ()}

    def observe(self, memory: Any, fields: PlantedView) -> tuple[dict[str, Array], Any]:
        """1 or 0."""
        learnt = fields.population_loss < self.below * fields.target_square
        return {"success": learnt.astype(jnp.int32)}, memory


@register("success")
def make_success(below: float = 1e-3) -> Success:
    """Whether the loss of the population is below this share of |B|_F^2."""
    return Success(check_positive("below", below))


@diagnostic({"gains": ("neuron",)}, needs=PlantedView)
def gains(fields: PlantedView) -> Float[Array, " k"]:
    """Gains e_i = v_i |w_i| of one output, |V_i| |w_i| of several."""
    return fields.gains


@diagnostic({"strengths": ("neuron",)}, needs=PlantedView)
def strengths(fields: PlantedView) -> Float[Array, " k"]:
    """s_i = v_i + a.w_i / |a|: at t = 0 its sign decides which half of the map a neuron learns.

    Raises:
        InputError: for several outputs.
    """
    direction = _direction(fields, "strengths")
    return fields.readout[:, 0] + fields.hidden @ direction


@diagnostic({"target_angles": ("neuron",)}, needs=PlantedView)
def target_angles(fields: PlantedView) -> Float[Array, " k"]:
    """Angle of each row w_i to the span of the rows of B, in [0, pi/2]; pi/2 for a zero row.

    Of one output it is the angle to the line of a. Exact for small angles. Cost: one singular
    value decomposition of B for several outputs.
    """
    return fields.target_angles


@diagnostic({"neuron_angles": ("neuron", "neuron_2")}, needs=PlantedView)
def neuron_angles(fields: PlantedView) -> Float[Array, "k k"]:
    """Angle of each two rows w_i, in [0, pi]."""
    return angles(fields.hidden)


@diagnostic({"imbalance": ("neuron",)}, needs=PlantedView)
def imbalance(fields: PlantedView) -> Float[Array, " k"]:
    """D_i = |V_i|^2 - |w_i|^2, conserved by gradient flow."""
    return fields.imbalance


@diagnostic({"group_sums": ()}, needs=PlantedView)
def group_sums(fields: PlantedView) -> Float[Array, ""]:
    """How far the sums of |v_i| w_i over v_i > 0 and v_i < 0 are from a and -a, in units of |a|.

    Every global minimum has the difference 2 a; that each sum is a by itself is what descent adds.

    Raises:
        InputError: for several outputs.
    """
    target, turned = fields.target[0], fields.readout[:, 0]
    direction = _direction(fields, "group_sums")
    up, down = (jnp.maximum(sign * turned, 0.0) @ fields.hidden for sign in (1.0, -1.0))
    gaps = jnp.stack([up - target, down + target])
    return jnp.max(jnp.linalg.norm(gaps, axis=1)) / (direction @ target)


@diagnostic(
    {
        "pair_cosine": ("neuron",),
        "pair_readout_cosine": ("neuron",),
        "pair_mismatch": ("neuron",),
        "pair_overlap": (),
        "paired": (),
    },
    needs=PlantedView,
)
def pairing(fields: PlantedView) -> dict[str, Array]:
    """How nearly neurons form pairs w_j = -r w_i, V_j = -V_i / r, as minima of 2 C neurons must.

    A neuron's partner is the one whose row is the most nearly opposite. Cosines of the rows and of
    the readouts are -1 for a pair, the mismatch | |w_i| |V_i| / (|w_j| |V_j|) - 1 | is 0; `paired`
    is the share of neurons whose partner's partner they are, `pair_overlap` the largest |cosine|
    of rows of different pairs.

    Raises:
        InputError: for a single neuron.
    """
    check(fields.hidden.shape[0] > 1, "width", "be at least 2 for pairing", 1)
    rows, turned = _cosines(fields.hidden), _cosines(fields.readout)
    partner = jnp.argmin(rows, axis=1)
    places, gain = jnp.arange(len(partner)), jnp.abs(fields.gains)
    other = gain[partner]
    ratio = jnp.where(other > 0, gain / jnp.where(other > 0, other, 1.0), jnp.inf)
    chosen = partner[:, None] == places[None, :]
    own = chosen | chosen.T | jnp.eye(len(places), dtype=bool)
    return {
        "pair_cosine": rows[places, partner],
        "pair_readout_cosine": turned[places, partner],
        "pair_mismatch": jnp.abs(ratio - 1.0),
        "pair_overlap": jnp.max(jnp.where(own, 0.0, jnp.abs(rows))),
        "paired": jnp.mean((partner[partner] == places).astype(rows.dtype)),
    }


@register("stationary")
class Stationary(AbstractDiagnostic):
    """Near which stationary set of the loss of one output a state is, and of what kind it is.

    Distances are those of the functions, sqrt(E |f - g|^2) / |a|, from the one g that all points
    of a set share: a.x (global minima), |a| relu(u.x) and -|a| relu(-u.x) with u = a / |a| (half
    fits), 0 (plateau). `stationary_kind` is the index in

        not_stationary, global_min, half_fit_escapable, nonstrict_saddle, spurious_min, plateau,
        other

    by the rules of `gramdyn.planted.kinds`, and `relative_gradient` the |grad| / (1 + |weights|)
    they use. A slow passage past a saddle may read as stationary.

    Distances are roots of sums that cancel: none below 1e-7 means anything in float64, or 1e-3 in
    float32, where the kind also hangs on gradients near their rounding.
    """

    name: ClassVar[str] = "stationary"
    needs: ClassVar[type] = PlantedView
    chatters: ClassVar[bool] = False

    def dims(self) -> dict[str, Dims]:
        """Axes of the three arrays."""
        return {
            "stationary_distance": ("stationary_set",),
            "stationary_kind": (),
            "relative_gradient": (),
        }

    def labels(self) -> dict[str, tuple[str, ...]]:
        """Labels of the sets."""
        return {"stationary_set": ("global", "half fit +", "half fit -", "plateau")}

    def start(self, fields: PlantedView, scheme: Any) -> None:
        """Nothing.

        Raises:
            InputError: for several outputs.
        """
        _direction(fields, self.name)

    def observe(self, memory: Any, fields: PlantedView) -> tuple[dict[str, Array], Any]:
        """Distances and kind."""
        gradient = _relative_gradient(fields)
        return {
            "stationary_distance": _function_distances(fields),
            "stationary_kind": _kind(fields, gradient),
            "relative_gradient": gradient,
        }, memory


def _function_distances(fields: PlantedView) -> Float[Array, "4"]:
    """Distances of f from a.x, its two halves and 0, in units of |a|."""
    direction, size = _direction(fields, "stationary"), jnp.sqrt(fields.target_square)
    rows = jnp.concatenate([fields.hidden, jnp.stack([direction, -direction])])
    shared = relu_gram(rows)
    # The readouts of f - g on the rows of f, a and -a.
    parts = jnp.asarray([[1.0, -1.0], [1.0, 0.0], [0.0, -1.0], [0.0, 0.0]], rows.dtype)
    own = jnp.broadcast_to(fields.readout[:, 0] / size, (4, fields.readout.shape[0]))
    turned = jnp.concatenate([own, -parts], axis=1)
    return jnp.sqrt(jnp.maximum(jnp.sum((turned @ shared) * turned, axis=1), 0.0))


def _relative_gradient(fields: PlantedView) -> Float[Array, ""]:
    """|grad| / (1 + |weights|) of the same problem with |a| = 1."""
    root = fields.target_square**0.25
    by_hidden, by_readout = fields.population_gradient
    slope = jnp.sqrt(jnp.sum(by_hidden**2) + jnp.sum(by_readout**2)) / root**3
    size = jnp.sqrt(jnp.sum(fields.hidden**2) + jnp.sum(fields.readout**2)) / root
    return slope / (1.0 + size)


def _kind(fields: PlantedView, gradient: Float[Array, ""]) -> Int[Array, ""]:
    """Index in `KINDS`."""
    size = jnp.sqrt(fields.target_square)
    level, live = fields.population_loss / size**2, fields.gains / size
    norms = jnp.maximum(jnp.abs(fields.readout[:, 0]), fields.norms) / jnp.sqrt(size)
    rules = kind_rules(gradient, level, live, norms)
    codes = [jnp.asarray(KINDS.index(name), jnp.int32) for name in rules]
    return jnp.select(list(rules.values()), codes, jnp.asarray(len(KINDS) - 1, jnp.int32))


def _direction(fields: PlantedView, reader: str) -> Float[Array, " D"]:
    """Unit vector a / |a| of one output.

    Raises:
        InputError: for several outputs.
    """
    n_outputs = fields.target.shape[0]
    check(n_outputs == 1, "n_outputs", f"be 1 for diagnostic `{reader}`", n_outputs)
    return fields.target[0] / jnp.sqrt(fields.target_square)


def _cosines(rows: Float[Array, "k D"]) -> Float[Array, "k k"]:
    """Cosines of each two rows, exactly 1 on the diagonal; 0 to a row of zeros."""
    norms = jnp.linalg.norm(rows, axis=1)
    units = rows / jnp.where(norms > 0, norms, 1.0)[:, None]
    found = jnp.clip(units @ units.T, -1.0, 1.0)
    return jnp.where(jnp.eye(len(rows), dtype=bool), 1.0, found)
