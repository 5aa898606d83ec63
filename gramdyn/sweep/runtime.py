"""Where and how a sweep runs: devices, precision, memory, compile cache."""

import os
import platform as host
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jax

from gramdyn._errors import InputError
from gramdyn.sweep.config import Config


@dataclass(frozen=True)
class Runtime:
    """Devices and numbers of a sweep.

    Attributes:
        devices: Local devices the runs are split over.
        dtype: "float32" or "float64".
        memory_bytes: What the records of the chunks in flight may take.
        batching: "auto", "map" or "vmap".
    """

    devices: tuple[jax.Device, ...]
    dtype: str
    memory_bytes: int
    batching: str

    @classmethod
    def of(cls, config: Config) -> "Runtime":
        """The runtime a configuration asks for, on this machine.

        Raises:
            InputError: if it asks for more devices than there are.
        """
        local = jax.local_devices()
        wanted = config.runtime.devices or len(local)
        if wanted > len(local):
            raise InputError(f"runtime.devices must be at most {len(local)} here, but is {wanted}.")
        memory = int(config.runtime.memory_gb * 2**30)
        return cls(tuple(local[:wanted]), config.precision, memory, config.runtime.batching)

    @property
    def platform(self) -> str:
        """Kind of the devices, "cpu", "gpu" or "tpu"."""
        return self.devices[0].platform

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Compute in this precision inside the block, products never below it."""
        # Matmuls in full: a default of TF32 would be another physics.
        with jax.enable_x64(self.dtype == "float64"), jax.default_matmul_precision("highest"):
            yield


def use_all_cores() -> None:
    """Let JAX see one CPU device a core; a global setting, so only the command line calls it.

    Runs are split over devices: measured, two host devices beat two threads of one device.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", cores or 1)


def cache_folder() -> Path | None:
    """Where compiled programs are kept between processes; None where GRAMDYN_CACHE is "off".

    Named after jaxlib and the CPU, since a program of one is refused or wrong on another.
    """
    chosen = os.environ.get("GRAMDYN_CACHE", "")
    if chosen == "off":
        return None
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = Path(chosen) if chosen else home / "gramdyn"
    cpu = "".join(c if c.isalnum() else "-" for c in _cpu_name())
    return root / f"jaxlib-{jax.lib.__version__}-{cpu}"


def use_compile_cache() -> None:
    """Keep compiled programs between processes; a global setting, for the command line alone."""
    folder = cache_folder()
    if folder is None:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return host.processor() or host.machine() or "cpu"
