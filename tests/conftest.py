"""Settings of every test: float64, strict promotion, four CPU devices, compiled programs kept.

The tests set precision themselves, since importing gramdyn changes no global setting of JAX.
"""

import gc
import os
import time
from collections.abc import Iterator

# A hit of the compile cache on CPU prints kilobytes about two machine features that are no more
# than hints to the compiler; they come from C++ and look like errors.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import pytest
from hypothesis import HealthCheck, settings

from gramdyn._process import use_compile_cache

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")
# Write the axes and the dtypes you mean: a hidden promotion is a defect.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Most of the time of a first run is compiling; GRAMDYN_CACHE=off for no cache.
use_compile_cache()

# No deadline, since the first example compiles; the same examples in every run.
settings.register_profile(
    "gramdyn",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("gramdyn")


def pytest_addoption(parser: pytest.Parser) -> None:
    """A time after which no test begins: those left are skipped, `--no-fold-skipped` names them."""
    parser.addoption("--until", type=float, metavar="SECONDS", help="seconds since 1970")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose turn comes too late."""
    until = item.config.getoption("--until")
    if until is not None and time.time() > until:
        pytest.skip("its turn came too late")


@pytest.fixture(autouse=True, scope="module")
def drop_programs() -> Iterator[None]:
    """Forget the compiled programs of each module: some thousand of them fill the memory."""
    yield
    _forget_programs()


@pytest.fixture(autouse=True)
def drop_programs_of_long_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forget those of each long test: two claims hold 36 000 of the 65 530 maps of a process.

    One map too many, and the compiler aborts.
    """
    yield
    if request.node.get_closest_marker("slow"):
        _forget_programs()


def _forget_programs() -> None:
    jax.clear_caches()
    gc.collect()


@pytest.fixture
def key() -> jax.Array:
    """A random key, the same in every test."""
    return jax.random.key(20240)
