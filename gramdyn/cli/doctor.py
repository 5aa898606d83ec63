"""`gramdyn doctor`: what computes here, and whether it computes right."""

import jax

from gramdyn._canary import wrong_sums
from gramdyn._process import cache_folder, use_all_cores, use_compile_cache
from gramdyn.cli.console import make_console
from gramdyn.store.manifest import versions


def examine() -> int:
    """Print device, versions, precision, cache and canary; 1 if the toolchain computes wrong."""
    use_all_cores()
    use_compile_cache()
    console = make_console()
    devices = jax.local_devices()
    console.print(f"device      {len(devices)} x {devices[0].platform} ({devices[0].device_kind})")
    console.print(f"versions    {', '.join(f'{k} {v}' for k, v in versions().items())}")
    console.print(
        "precision   float32 by default, float64 where a config says so; matmuls 'highest'"
    )
    console.print(f"cache       {_cache()}")
    wrong = wrong_sums()
    verdict = "right" if not wrong else f"WRONG for {', '.join(wrong)}; use another jaxlib"
    console.print(f"canary      vmapped products with sums over many rows: {verdict}")
    return 1 if wrong else 0


def _cache() -> str:
    folder = cache_folder()
    if folder is None:
        return "off (GRAMDYN_CACHE=off)"
    return f"{folder} ({'a hit' if _hits() else 'no hit: compiled programs are not reused here'})"


def _hits() -> bool:
    """Whether a program compiled a moment ago is found again."""
    hits: list[str] = []
    jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
    for _ in range(2):
        jax.clear_caches()
        jax.jit(lambda x: x * 3.0 + 1.0)(2.0).block_until_ready()
    return any("cache_hit" in event for event in hits)
