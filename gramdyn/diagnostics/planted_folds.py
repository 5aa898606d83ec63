"""Diagnostics of both layers on a planted map that look at every step: phases, drift, rate."""

import math
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gramdyn._checks import check, check_positive
from gramdyn.diagnostics.base import Dims, EveryState
from gramdyn.diagnostics.registry import register
from gramdyn.systems.planted_view import PlantedView

EVENTS = ("aligned", "plateau", "grown", "refined")
# Levels of the loss, in units of |B|_F^2: plateau of one output entered, map grown, map refined.
_PLATEAU, _GROWN, _REFINED = 3 / 8, 1e-2, 1e-12
# How near 1/4 the loss of one output counts as on the plateau.
_NEAR = 5e-3


class _Seen(eqx.Module):
    """Memory of `Phases`.

    Attributes:
        step: States looked at so far.
        events: Step of each event, infinite while it has not come.
        held: States with a loss near 1/4.
    """

    step: Int[Array, ""]
    events: Float[Array, "4"]
    held: Int[Array, ""]


class Phases(EveryState):
    """First step of each event of learning, and the phase at saved times.

        aligned   all w_i within `angle` of the line of a, and v_i (a.w_i) > 0; zero rows left out
        plateau   loss at most 3/8
        grown     loss at most 1e-2
        refined   loss at most 1e-12

    of the loss of the population in units of |B|_F^2; infinite where it never came, as `aligned`
    with all rows zero. `phase` is 0 (alignment) before `aligned`, then 1 (growth), and 2
    (refinement) from `grown` on; `plateau_steps` is the number of states within 5e-3 of 1/4. With
    several outputs there is no line to align with: `aligned` and `plateau` stay infinite. In
    float32 the rounding of the loss, some 1e-7, decides about `refined`.

    Attributes:
        angle: Largest angle that counts as aligned; None for the larger of 0.1 and 1.5 times what
            the noise of n samples leaves, arctan(sqrt(2 d / n)).
    """

    angle: float | None = eqx.field(static=True, default=None)
    name: ClassVar[str] = "phases"
    needs: ClassVar[type] = PlantedView

    def dims(self) -> dict[str, Dims]:
        """Axes of the three arrays."""
        return {"phase_steps": ("event",), "phase": (), "plateau_steps": ()}

    def labels(self) -> dict[str, tuple[str, ...]]:
        """Labels of the events."""
        return {"event": EVENTS}

    def start(self, fields: PlantedView, scheme: Any) -> _Seen:
        """No event yet."""
        zero = jnp.zeros((), jnp.int32)
        return _Seen(zero, jnp.full(4, jnp.inf, fields.hidden.dtype), zero)

    def look(self, memory: _Seen, fields: PlantedView) -> _Seen:
        """Note the events that came with this state."""
        level = fields.population_loss / fields.target_square
        one = fields.target.shape[0] == 1
        came = jnp.stack(
            [
                self._is_aligned(fields) if one else jnp.asarray(False),
                (level <= _PLATEAU) & one,
                level <= _GROWN,
                level <= _REFINED,
            ]
        )
        now = jnp.where(came, memory.step.astype(memory.events.dtype), jnp.inf)
        near = (jnp.abs(level - 0.25) < _NEAR) & one
        events = jnp.minimum(memory.events, now)
        return _Seen(memory.step + 1, events, memory.held + near.astype(jnp.int32))

    def _is_aligned(self, fields: PlantedView) -> Array:
        angle = max(0.1, 1.5 * fields.noise_angle) if self.angle is None else self.angle
        agree = fields.readout[:, 0] * (fields.hidden @ fields.target[0]) > 0
        good = (fields.target_angles <= angle) & agree
        dead = fields.norms == 0
        return jnp.all(good | dead) & ~jnp.all(dead)

    def tell(self, memory: _Seen) -> dict[str, Array]:
        """The events so far."""
        aligned, grown = jnp.isfinite(memory.events[0]), jnp.isfinite(memory.events[2])
        phase = jnp.where(grown, 2, aligned.astype(jnp.int32))
        return {"phase_steps": memory.events, "phase": phase, "plateau_steps": memory.held}


@register("phases")
def make_phases(angle: float | None = None) -> Phases:
    """First step of alignment, plateau, growth and refinement, and the phase."""
    if angle is None:
        return Phases()
    check(check_positive("angle", angle) < math.pi / 2, "angle", "be below pi/2", angle)
    return Phases(float(angle))


class _Drift(eqx.Module):
    """Memory of `ImbalanceDrift`.

    Attributes:
        step_size: eta.
        start: D_i at t = 0.
        law: What the discrete law says D_i is now.
        gap: Largest |D_i - law| so far.
        largest: Largest |D_i - D_i(0)| so far.
    """

    step_size: Float[Array, ""]
    start: Float[Array, " k"]
    law: Float[Array, " k"]
    gap: Float[Array, ""]
    largest: Float[Array, ""]


@register("imbalance_drift")
class ImbalanceDrift(EveryState):
    """Drift D_i(t) - D_i(0) of the imbalance under gradient descent, and its exact law.

        D_i(t + 1) - D_i(t) = eta^2 (|dL/dV_i|^2 - |dL/dw_i|^2)

    `imbalance_drift` is the drift of each neuron, `largest_drift` the largest so far of any, and
    `imbalance_gap` the largest distance so far between D_i and the law summed from t = 0. The law
    holds for the population and for samples.
    """

    name: ClassVar[str] = "imbalance_drift"
    needs: ClassVar[type] = PlantedView

    def dims(self) -> dict[str, Dims]:
        """Axes of the three arrays."""
        return {"imbalance_drift": ("neuron",), "largest_drift": (), "imbalance_gap": ()}

    def start(self, fields: PlantedView, scheme: Any) -> _Drift:
        """No drift yet.

        Raises:
            InputError: for a scheme other than plain gradient descent.
        """
        check(scheme.is_descent, "scheme", "be gradient descent for imbalance_drift", scheme)
        now, zero = fields.imbalance, jnp.zeros((), fields.hidden.dtype)
        return _Drift(jnp.asarray(scheme.step_size, zero.dtype), now, now, zero, zero)

    def look(self, memory: _Drift, fields: PlantedView) -> _Drift:
        """Compare this state with the law, and take the law one step on."""
        now = fields.imbalance
        by_hidden, by_readout = fields.gradient_rows
        change = jnp.sum(by_readout**2, axis=1) - jnp.sum(by_hidden**2, axis=1)
        return _Drift(
            step_size=memory.step_size,
            start=memory.start,
            law=memory.law + memory.step_size**2 * change,
            gap=jnp.maximum(memory.gap, jnp.max(jnp.abs(now - memory.law))),
            largest=jnp.maximum(memory.largest, jnp.max(jnp.abs(now - memory.start))),
        )

    def observe(self, memory: _Drift, fields: PlantedView) -> tuple[dict[str, Array], Any]:
        """Drift of this state."""
        found, after = super().observe(memory, fields)
        return {"imbalance_drift": fields.imbalance - memory.start, **found}, after

    def tell(self, memory: _Drift) -> dict[str, Array]:
        """The largest so far."""
        return {"largest_drift": memory.largest, "imbalance_gap": memory.gap}


class _Window(eqx.Module):
    """Memory of `FinalRate`: step and loss at which it was entered, and at the last state in it."""

    step: Int[Array, ""]
    entered: Float[Array, "2"]
    last: Float[Array, "2"]


class FinalRate(EveryState):
    """Factor by which the error shrinks a step at the end, (loss' / loss)^(1 / (2 steps)).

    The error of weights near a minimum is the root of the loss. It is followed from the first state
    with a loss below `below` to the last one before it falls below `until`; NaN before there are
    two. The usual window is one for float64; in float32 the loss is not known to better than 1e-7.

    Attributes:
        below: Loss of the population, in units of |B|_F^2, from which it is followed.
        until: Loss to which it is followed, above what rounding leaves.
    """

    below: float = eqx.field(static=True, default=1e-8)
    until: float = eqx.field(static=True, default=1e-13)
    name: ClassVar[str] = "final_rate"
    needs: ClassVar[type] = PlantedView

    def dims(self) -> dict[str, Dims]:
        """Axes of the array."""
        return {"final_rate": ()}

    def start(self, fields: PlantedView, scheme: Any) -> _Window:
        """Nothing followed yet."""
        empty = jnp.full(2, jnp.nan, fields.hidden.dtype)
        return _Window(jnp.zeros((), jnp.int32), empty, empty)

    def look(self, memory: _Window, fields: PlantedView) -> _Window:
        """Note this state if its loss is inside, and no earlier one was below."""
        level = fields.population_loss / fields.target_square
        now = jnp.stack([memory.step.astype(level.dtype), level])
        inside = (level < self.below) & (level >= self.until)
        first = inside & jnp.isnan(memory.entered[0])
        # Once below, rounding may lift it again.
        follows = inside & (first | (memory.step == memory.last[0].astype(jnp.int32) + 1))
        entered = jnp.where(first, now, memory.entered)
        return _Window(memory.step + 1, entered, jnp.where(follows, now, memory.last))

    def tell(self, memory: _Window) -> dict[str, Array]:
        """The factor."""
        steps, logs = memory.last[0] - memory.entered[0], jnp.log(memory.last[1])
        rate = jnp.exp((logs - jnp.log(memory.entered[1])) / (2.0 * jnp.maximum(steps, 1.0)))
        return {"final_rate": jnp.where(steps > 0, rate, jnp.nan)}


@register("final_rate")
def make_final_rate(below: float = 1e-8, until: float = 1e-13) -> FinalRate:
    """Factor of the error a step, between two losses in units of |B|_F^2."""
    check_positive("until", until)
    check(check_positive("below", below) > until, "below", f"be above until = {until:g}", below)
    return FinalRate(below, until)
