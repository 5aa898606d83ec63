"""Training data: tasks from packages, random numbers or files, and how inputs are scaled."""

from gramdyn.data.arrays import arrays
from gramdyn.data.digits import digits, mnist5k
from gramdyn.data.gaussian import gaussian
from gramdyn.data.linear_map import linear_map
from gramdyn.data.moments import Moments, task_moments
from gramdyn.data.orthogonal import orthogonal
from gramdyn.data.planted_map import Population, planted_map, task_population
from gramdyn.data.registry import TASKS, register_task
from gramdyn.data.scaling import centre, norm_each, scale_inputs, whiten
from gramdyn.data.task import Task, make_task

__all__ = [
    "TASKS",
    "Moments",
    "Population",
    "Task",
    "arrays",
    "centre",
    "digits",
    "gaussian",
    "linear_map",
    "make_task",
    "mnist5k",
    "norm_each",
    "orthogonal",
    "planted_map",
    "register_task",
    "scale_inputs",
    "task_moments",
    "task_population",
    "whiten",
]
