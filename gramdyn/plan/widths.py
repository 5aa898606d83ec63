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
        n_rows: Rows of the fields of a layer, one a sample in most coordinates.
        n_inputs: Inputs d.
        n_steps: Steps of a run.
        n_records: Saved times of a run.
        n_devices: Devices the runs are split over.
        platform: Kind of the devices, "cpu", "gpu" or "tpu".
    """

    n_rows: int
    n_inputs: int
    n_steps: int
    n_records: int
    n_devices: int
    platform: str

    def run_seconds(self, widths: Widths) -> float:
        """Seconds of one run in a program for these widths, by its operations."""
        n, ins = self.n_rows, (min(self.n_inputs, self.n_rows), *widths[:-1])
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
    if it must grow, cost less in extra operations than a program of its own costs to compile. So
    it never costs more than all apart; where layers are unlike it may cost more than all in one,
    and then they all are.

    Args:
        runs: Number of runs of each width; all of one depth.
        sharer: What a run costs.
        always: Whether to put all in one program whatever the cost.
    """
    together = [list(runs)]
    groups = together if always else _split(runs, sharer)
    if _seconds(together, runs, sharer) < _seconds(groups, runs, sharer):
        groups = together
    return {widths: _hull(members) for members in groups for widths in members}


def _split(runs: dict[Widths, int], sharer: Sharer) -> list[list[Widths]]:
    """Widths that share a program, from the widest down."""
    groups: list[list[Widths]] = []
    for widths in sorted(runs, key=lambda w: (sum(w), w), reverse=True):
        apart = [*groups[-1:], [widths]]
        joined = [[member for members in apart for member in members]]
        if _seconds(joined, runs, sharer) < _seconds(apart, runs, sharer):
            groups[-1:] = joined
        else:
            groups.append([widths])
    return groups


def _seconds(groups: list[list[Widths]], runs: dict[Widths, int], sharer: Sharer) -> float:
    """Seconds to compile a program for each and to run them."""
    return sum(
        sharer.compile_seconds + sum(runs[w] for w in members) * sharer.run_seconds(_hull(members))
        for members in groups
    )


def _hull(members: list[Widths]) -> Widths:
    """The narrowest widths that hold all of them."""
    return tuple(max(layer) for layer in zip(*members, strict=True))
