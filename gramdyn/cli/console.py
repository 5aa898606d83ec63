"""Where the commands print, and how they say times; loads nothing heavy."""

from functools import partial

from rich.console import Console

# Width where output goes to a file or a pipe: room for the tables, whatever the terminal was.
_WIDTH = 110


def make_console() -> Console:
    """A console as wide as its terminal, or wide enough for the tables.

    What it prints is plain text: names of folders and axes may look like markup.
    """
    make = partial(Console, highlight=False, markup=False, emoji=False)
    console = make()
    return console if console.is_terminal else make(width=_WIDTH)


def told_seconds(seconds: float) -> str:
    """A time as one reads it: 12 s, 3 min, 2.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
