"""Which networks of unlike width share one compiled program.

A narrower network filled up with neurons that have no weights trains exactly as alone
(`gramdyn.models.padding`), so one program can serve several widths: a compile saved, at the price
of the wider network's operations. Measured on CPU, five widths from 16 to 256 cost five compiles
of 2 s each, or 3.4 times the operations; where they cross depends on runs and steps.
"""

from dataclasses import dataclass

Widths = tuple[int, ...]

# What a program costs to compile, in seconds, and how many operations a device does in one;
# within a factor of two here, and the choice is about which of two costs is far larger.
_COMPILE_SECONDS = {"cpu": 2.0}
_COMPILE_SECONDS_ELSEWHERE = 6.0
_RATE = {"cpu": 5e10}
_RATE_ELSEWHERE = 1e13


@dataclass(frozen=True)
class Sharer:
    """What decides how much a width costs.

    Attributes:
        n_samples: Training samples n.
        n_inputs: Inputs d.
        n_steps: Steps of a run.
        n_records: Saved times of a run.
        n_devices: Devices the runs are split over.
        platform: Kind of the devices, "cpu", "gpu" or "tpu".
    """

    n_samples: int
    n_inputs: int
    n_steps: int
    n_records: int
    n_devices: int
    platform: str

    def run_seconds(self, widths: Widths) -> float:
        """Seconds of one run in a program for these widths, by its operations."""
        n, ins = self.n_samples, (min(self.n_inputs, self.n_samples), *widths[:-1])
        step = sum(6 * n * out * into for out, into in zip(widths, ins, strict=True))
        record = sum(4 * n**2 * out for out in widths)
        flops = float(self.n_steps * step + self.n_records * record)
        return flops / (_RATE.get(self.platform, _RATE_ELSEWHERE) * self.n_devices)

    @property
    def compile_seconds(self) -> float:
        """Seconds to compile one program."""
        return _COMPILE_SECONDS.get(self.platform, _COMPILE_SECONDS_ELSEWHERE)


def share_widths(
    runs: dict[Widths, int], sharer: Sharer, *, always: bool = False
) -> dict[Widths, Widths]:
    """The widths that each width is compiled for.

    From the widest down, a width joins the program before it where its runs, and that program's
    if it must grow, cost less in extra operations than a program of its own costs to compile.

    Args:
        runs: Number of runs of each width; all of one depth.
        sharer: What a run costs.
        always: Whether to put all in one program whatever the cost.
    """
    found: dict[Widths, Widths] = {}
    members: list[Widths] = []
    for widths in sorted(runs, key=lambda w: (sum(w), w), reverse=True):
        if members and not (always or _pays(members, widths, runs, sharer)):
            found.update(_in_one(members))
            members = []
        members.append(widths)
    return {**found, **_in_one(members)}


def _pays(members: list[Widths], widths: Widths, runs: dict[Widths, int], sharer: Sharer) -> bool:
    """Whether one more width in the program costs less than a program of its own."""
    before = sum(runs[w] for w in members) * sharer.run_seconds(_hull(members))
    alone = runs[widths] * sharer.run_seconds(widths)
    joined = [*members, widths]
    together = sum(runs[w] for w in joined) * sharer.run_seconds(_hull(joined))
    return together - before - alone < sharer.compile_seconds


def _hull(members: list[Widths]) -> Widths:
    """The narrowest widths that hold all of them."""
    return tuple(max(layer) for layer in zip(*members, strict=True))


def _in_one(members: list[Widths]) -> dict[Widths, Widths]:
    return {widths: _hull(members) for widths in members}
