"""Where the commands print, and how they say times; loads nothing heavy."""

from rich.console import Console

# Width where output goes to a file or a pipe: room for the tables, whatever the terminal was.
_WIDTH = 110


def make_console() -> Console:
    """A console as wide as its terminal, or wide enough for the tables."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def told_seconds(seconds: float) -> str:
    """A time as one reads it: 12 s, 3 min, 2.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
