"""Training data: tasks from packages, random numbers or files, and how inputs are scaled."""

from gramdyn.data.arrays import arrays
from gramdyn.data.clusters import clusters
from gramdyn.data.digits import digits, mnist5k
from gramdyn.data.gaussian import gaussian
from gramdyn.data.images import Images, task_images
from gramdyn.data.linear_map import linear_map
from gramdyn.data.modular_addition import modular_addition
from gramdyn.data.moments import Moments, task_moments
from gramdyn.data.monomials import monomials
from gramdyn.data.orthogonal import orthogonal
from gramdyn.data.planted_map import Population, planted_map, task_population
from gramdyn.data.registry import TASKS, register_task
from gramdyn.data.scaling import centre, norm_each, scale_inputs, whiten
from gramdyn.data.spirals import spirals
from gramdyn.data.swiss_roll import swiss_roll
from gramdyn.data.tanh_teacher import tanh_teacher
from gramdyn.data.task import HeldOut, Task, make_task

__all__ = [
    "TASKS",
    "HeldOut",
    "Images",
    "Moments",
    "Population",
    "Task",
    "arrays",
    "centre",
    "clusters",
    "digits",
    "gaussian",
    "linear_map",
    "make_task",
    "mnist5k",
    "modular_addition",
    "monomials",
    "norm_each",
    "orthogonal",
    "planted_map",
    "register_task",
    "scale_inputs",
    "spirals",
    "swiss_roll",
    "tanh_teacher",
    "task_images",
    "task_moments",
    "task_population",
    "whiten",
]
