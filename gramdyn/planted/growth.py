"""Growth from a tiny start: the two sign groups rise by a logistic law each, without the other.

After alignment the gain E = sum |e_i| of a group obeys dE/dt = E (|a| - E), its neurons being
balanced, and the loss is ((|a| - E+)^2 + (|a| - E-)^2) / 4: from 1/2 over a plateau at 1/4 to 0.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from gramdyn._checks import check, check_positive, check_real
from gramdyn.planted.early import check_strengths


def group_gain(times: Any, start: Any, target_norm: float = 1.0) -> Float[np.ndarray, "*batch"]:
    """Gain of a sign group under gradient flow, |a| / (1 + (|a| / E(0) - 1) exp(-|a| t)).

    Args:
        times: Times of at least 0; broadcast with `start`.
        start: E(0) in [0, |a|): the sum of s_i^2 / 4 over the group.
        target_norm: |a|, above 0.

    Returns:
        E(t); 0 for a group that starts at 0.

    Raises:
        InputError: for values out of range or NaN.

    Cost: some operations a time.

    Source: derived here, tested; for a lone neuron with s^2 / 4 = E(0).
    """
    moments, begun = check_real("times", times), check_real("start", start)
    size = check_positive("target_norm", target_norm)
    check(bool(np.all(moments >= 0)), "times", "be at least 0", "not")
    check(bool(np.all((begun >= 0) & (begun < size))), "start", f"lie in [0, {size:g})", "not")
    return np.asarray(_gain(moments, begun, size))


def _gain(times: Any, start: Any, size: float) -> Any:
    with np.errstate(divide="ignore"):
        return size * expit(size * times + np.log(start) - np.log(size - start))


def _group_starts(strengths: Any, size: float) -> Float[np.ndarray, "2 *batch"]:
    """E(0) of the positive and of the negative group."""
    found = check_strengths(strengths)
    groups = [np.sum(np.where(sign * found > 0, found, 0.0) ** 2, axis=-1) / 4 for sign in (1, -1)]
    starts = np.stack(groups)
    small = bool(np.all(starts < size))
    check(small, "strengths", "be small: sum s^2 / 4 of a group below |a|", starts.max())
    return starts


def growth_loss(
    times: Float[np.ndarray, "T"], strengths: Any, target_norm: float = 1.0
) -> Float[np.ndarray, "T *batch"]:
    """Loss under gradient flow from a tiny start, ((|a| - E+)^2 + (|a| - E-)^2) / 4.

    Args:
        times: Times of at least 0, shape (T,).
        strengths: s_i, shape (..., k), sum s^2 / 4 of a group below |a|.
        target_norm: |a|, above 0.

    Returns:
        Losses, times first.

    Raises:
        InputError: for values out of range or NaN.

    Cost: some operations a time and network.

    Source: derived here, tested.
    """
    starts = _group_starts(strengths, check_positive("target_norm", target_norm))
    moments = times.reshape(-1, *[1] * (starts.ndim - 1))
    gains = [group_gain(moments, start, target_norm) for start in starts]
    return np.asarray(sum((target_norm - gain) ** 2 for gain in gains) / 4)


def half_rise_time(strengths: Any, target_norm: float = 1.0) -> Float[np.ndarray, "*batch k"]:
    """Time at which a lone neuron has half its gain: log(4 |a| / s^2 - 1) / |a|.

    Args:
        strengths: s of neurons that are alone with their sign, any shape.
        target_norm: |a|, above 0.

    Returns:
        Times, about 2 log(2 / |s|) for |a| = 1; inf for s = 0; below 0 where it starts above half.

    Raises:
        InputError: for NaN, s^2 / 4 of |a| and more, or a norm out of range.

    Cost: some operations a neuron.

    Source: derived here, tested.
    """
    found, size = check_strengths(strengths), check_positive("target_norm", target_norm)
    small = bool(np.all(found**2 / 4 < size))
    check(small, "strengths", "be below 2 sqrt(|a|)", np.abs(found).max())
    with np.errstate(divide="ignore"):
        return (np.log(4 * size - found**2) - 2 * np.log(np.abs(found))) / size


def half_rise_steps(
    strengths: Any, step_size: float, target_norm: float = 1.0
) -> Float[np.ndarray, "*batch k"]:
    """Steps of gradient descent until a lone neuron has half its gain, from a tiny start.

    log(2 sqrt(|a|) / |s|) / log(1 + eta |a| / 2) - `half_rise_offset`.

    Args:
        strengths: s of neurons that are alone with their sign, any shape, |s| far below 1.
        step_size: eta, eta |a| in (0, 1].
        target_norm: |a|, above 0.

    Returns:
        Numbers of steps, not rounded; inf for s = 0.

    Raises:
        InputError: for values out of range or NaN.

    Cost: as `half_rise_offset`.

    Source: derived here, tested.
    """
    found, size = check_strengths(strengths), check_positive("target_norm", target_norm)
    offset = half_rise_offset(step_size * size)
    with np.errstate(divide="ignore"):
        logs = math.log(2 * math.sqrt(size)) - np.log(np.abs(found))
    return logs / math.log1p(step_size * size / 2) - offset


def half_rise_offset(step_size: float) -> float:
    """Steps by which a lone neuron is ahead of log(2 / |s|) / log(1 + eta / 2) at half its gain.

    An aligned, balanced neuron obeys x' = x + eta/2 (x - x^3). In the coordinate in which this map
    is the product with 1 + eta/2, and x itself at 0, it is where x^2 = 1/2 lies. It comes from
    running the map backwards to 0.

    Args:
        step_size: eta |a|, in (0, 1].

    Returns:
        The offset; log(8)/4 = 0.5199 in the limit of small steps.

    Raises:
        InputError: for a step out of range.

    Cost: some 80 / eta operations.

    Source: derived here, tested.
    """
    rate = check_positive("step_size", step_size) / 2
    check(rate <= 0.5, "step_size", "be at most 1", step_size)
    x, ahead = math.sqrt(0.5), 0.0
    # x^2 shrinks by (1 + rate)^-2 a step, and what is left out by as much.
    while rate * x**2 > 1e-18:
        before = x / (1 + rate)
        for _ in range(60):
            change = before + rate * (before - before**3) - x
            before -= change / (1 + rate - 3 * rate * before**2)
            if abs(change) <= 4e-16 * x:
                break
        ahead += -math.log1p(-rate * before**2 / (1 + rate))
        x = before
    # log of the coordinate at x^2 = 1/2 is log(sqrt(1/2)) + ahead
    return -(math.log(math.sqrt(0.5)) + ahead) / math.log1p(rate)


def rise_lag_steps(
    first: Any, second: Any, step_size: float, target_norm: float = 1.0
) -> Float[np.ndarray, "*batch"]:
    """Steps from the rise of one group to that of the other, the length of the plateau.

    log(|s_2| / |s_1|) / log(1 + eta |a| / 2) in size; s of a group is the root of the sum of s_i^2.

    Args:
        first: s of one group, not 0; broadcast with `second`.
        second: s of the other one, not 0.
        step_size: eta, above 0.
        target_norm: |a|, above 0.

    Returns:
        Numbers of steps, at least 0.

    Raises:
        InputError: for values out of range or NaN.

    Cost: some operations a pair.

    Source: derived here, tested.
    """
    one, other = (np.abs(check_real(n, s)) for n, s in (("first", first), ("second", second)))
    for name, found in (("first", one), ("second", other)):
        check(bool(np.all((found > 0) & np.isfinite(found))), name, "be finite and not 0", "not")
    eta, size = check_positive("step_size", step_size), check_positive("target_norm", target_norm)
    return np.abs(np.log(other) - np.log(one)) / math.log1p(eta * size / 2)


def growth_steps(
    strengths: Any, step_size: float, level: float = 0.01, target_norm: float = 1.0
) -> Float[np.ndarray, "*batch"]:
    """Steps of gradient descent from a tiny start until the loss is down to level |a|^2.

    The root x of the gain of a group obeys x' = x + eta/2 (x - x^3) for |a| = 1, from the root of
    the sum of s_i^2 / 4. By the flow of `growth_loss`, its times over eta times
    (eta/2) / log(1 + eta/2), it would be 1.4 steps more to a level of 0.01, whatever eta.

    Args:
        strengths: s_i, shape (..., k), sum s^2 / 4 of a group below |a|.
        step_size: eta, eta |a| in (0, 1].
        level: Level in (0, 1/2).
        target_norm: |a|, above 0.

    Returns:
        Numbers of steps, at least 0 and not rounded; inf where a group that is needed is empty.

    Raises:
        InputError: for values out of range or NaN.

    Cost: some 40 / eta steps of two numbers a network, whatever the scale of the start.

    Source: derived here, tested.
    """
    check(bool(0 < level < 0.5), "level", "lie between 0 and 1/2", level)
    size = check_positive("target_norm", target_norm)
    rate = check_positive("step_size", step_size) * size / 2
    check(rate <= 0.5, "step_size", f"be at most {1 / size:g}", step_size)
    roots = np.sqrt(_group_starts(strengths, size) / size)
    done = _far_growth(roots, rate)
    roots, floor = roots * (1 + rate) ** done, np.sum(roots == 0, axis=0) / 4
    return _count(roots, done, rate, level, np.asarray(floor >= level))


def _far_growth(roots: Float[np.ndarray, "2 *batch"], rate: float) -> Float[np.ndarray, "*batch"]:
    """Whole steps for which the larger root stays below 1e-9 and only multiplies."""
    top = np.max(roots, axis=0)
    room = np.log(1e-9) - np.log(np.where(top > 0, top, 1.0))
    return np.asarray(np.floor(np.maximum(room / math.log1p(rate), 0.0)))


def _count(
    roots: Float[np.ndarray, "2 *batch"],
    done: Float[np.ndarray, "*batch"],
    rate: float,
    level: float,
    never: Bool[np.ndarray, "*batch"],
) -> Float[np.ndarray, "*batch"]:
    """Steps until the loss is at its level, between whole ones as its logarithm has it."""
    loss = np.sum((1 - roots**2) ** 2, axis=0) / 4
    found = np.where(never, np.inf, np.where(loss <= level, 0.0, np.nan))
    while np.any(np.isnan(found)):
        before, roots = loss, roots + rate * (roots - roots**3)
        loss = np.sum((1 - roots**2) ** 2, axis=0) / 4
        now = np.isnan(found) & (loss <= level)
        fall = np.log(np.where(now, before / np.maximum(loss, 1e-300), 2.0))
        found = np.where(now, done + np.log(np.where(now, before, 1.0) / level) / fall, found)
        done = done + 1
    return found
