"""Training data: tasks from packages, random numbers or files, and how inputs are scaled."""

from gramdyn.data.arrays import arrays
from gramdyn.data.digits import digits, mnist5k
from gramdyn.data.gaussian import gaussian
from gramdyn.data.orthogonal import orthogonal
from gramdyn.data.registry import TASKS, register_task
from gramdyn.data.scaling import centre, norm_each, scale_inputs
from gramdyn.data.task import Task, make_task

__all__ = [
    "TASKS",
    "Task",
    "arrays",
    "centre",
    "digits",
    "gaussian",
    "make_task",
    "mnist5k",
    "norm_each",
    "orthogonal",
    "register_task",
    "scale_inputs",
]
