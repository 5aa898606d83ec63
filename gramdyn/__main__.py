"""`python -m gramdyn` is the command line."""

from gramdyn.cli import main

main()
