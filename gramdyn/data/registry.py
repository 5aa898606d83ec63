"""Tasks by name, as configurations ask for them."""

from collections.abc import Callable

from gramdyn._errors import InputError
from gramdyn.data.arrays import arrays
from gramdyn.data.clusters import clusters
from gramdyn.data.digits import digits, mnist5k
from gramdyn.data.gaussian import gaussian
from gramdyn.data.linear_map import linear_map
from gramdyn.data.modular_addition import modular_addition
from gramdyn.data.monomials import monomials
from gramdyn.data.orthogonal import orthogonal
from gramdyn.data.planted_map import planted_map
from gramdyn.data.spirals import spirals
from gramdyn.data.swiss_roll import swiss_roll
from gramdyn.data.tanh_teacher import tanh_teacher
from gramdyn.data.task import Task

TASKS: dict[str, Callable[..., Task]] = {
    "arrays": arrays,
    "clusters": clusters,
    "digits": digits,
    "gaussian": gaussian,
    "linear_map": linear_map,
    "mnist5k": mnist5k,
    "modular_addition": modular_addition,
    "monomials": monomials,
    "orthogonal": orthogonal,
    "planted_map": planted_map,
    "spirals": spirals,
    "swiss_roll": swiss_roll,
    "tanh_teacher": tanh_teacher,
}


def register_task(name: str) -> Callable[[Callable[..., Task]], Callable[..., Task]]:
    """Decorator that adds a function to `TASKS`, so that configurations can name it.

    Args:
        name: Name of the task; not one of those there are.

    Returns:
        A decorator that hands the function back unchanged.

    Raises:
        InputError: The name is empty or taken.
    """
    if not name:
        raise InputError("Argument `name` must not be empty.")
    if name in TASKS:
        raise InputError(f"Task `{name}` is there already; taken: {', '.join(sorted(TASKS))}.")

    def add(function: Callable[..., Task]) -> Callable[..., Task]:
        TASKS[name] = function
        return function

    return add
