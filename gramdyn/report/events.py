"""Picture: when a ReLU network on a planted map aligns, grows and refines, over an axis."""

from collections.abc import Sequence

from gramdyn.report.against import times_picture
from gramdyn.report.cells import Cell
from gramdyn.report.picture import Picture


def draw_events(cells: Sequence[Cell]) -> Picture | None:
    """First step of each event against the numeric axis with the most values."""
    return times_picture(
        cells,
        "phase_steps",
        "event",
        down="step",
        name="events",
        title="First step of each phase",
        text="First step at which every row w_i is aligned with the line of a (aligned: by "
        "default to 0.1, on n samples to 1.5 arctan(sqrt(2d/n)) if that is more), and at which the "
        "loss of the population, in units of |B|², is at most 3/8 (plateau), 0.01 (grown) and "
        "1e-12 (refined). Line: median over seeds, a colour an event. Band: 10 to 90 % of them, on "
        "the solid lines. A line ends where half of the runs did not get there in the steps they "
        "had.",
        law="On the population, from a small start, with one output a of length 1 and steps &eta;, "
        "s<sub>i</sub> = v<sub>i</sub> + a&middot;w<sub>i</sub> grows by 1 + &eta;/2 a step. "
        "Alignment does not depend on the scale &sigma; of the start, and hardly on d; growth "
        "comes later by ln(1/&sigma;)/ln(1 + &eta;/2).",
    )
