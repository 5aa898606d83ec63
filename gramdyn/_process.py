"""Settings of JAX for a whole process, none of them made on import: a script makes what it wants.

The command line makes all of them.
"""

import os
import platform as host
from pathlib import Path

import jax


def use_all_cores() -> None:
    """Let JAX see one CPU device a core; a global setting, to be made before JAX starts.

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
    """Keep compiled programs between processes; a global setting."""
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
