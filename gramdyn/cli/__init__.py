"""The command line: parse, call, print. Each command imports what it runs."""

from gramdyn.cli.app import main

__all__ = ["main"]
