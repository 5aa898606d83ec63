"""What ctrl-C comes to on the command line."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def told_when_stopped() -> Iterator[None]:
    """Turn ctrl-C inside the block into one line on stderr and status 130.

    The process ends at once, without waiting for programs that are being compiled: a run folder is
    whole at any moment.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        told = str(stop) or "Stopped; the same command goes on."
        print(f"gramdyn: {told}", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)
