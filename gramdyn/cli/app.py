"""Commands and their options."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gramdyn._errors import IncompleteError, InputError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Simulate the learning dynamics of neural networks in training-set space.",
)

ConfigFile = Annotated[Path, typer.Argument(help="YAML file, such as configs/quickstart.yaml.")]
Folder = Annotated[Path, typer.Argument(help="What `gramdyn run` wrote.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key; axes are sweep.KEY. Repeatable."
    ),
]


@app.command()
def run(
    config: ConfigFile,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Run folder; by default runs/NAME-DIGEST."),
    ] = None,
    change: Changes = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Set a folder that is there aside, and start anew."),
    ] = False,
    serve: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Let other machines take part: tcp://HOST:PORT here."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="With --serve: worker processes on this machine; 1 by default."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Use the workers of a dask scheduler that is there."),
    ] = None,
) -> None:
    """Run a sweep, show what came out, and store it in a folder."""
    from gramdyn.cli.stop import told_when_stopped

    with told_when_stopped():
        from gramdyn.cli.run import run_config
        from gramdyn.cli.worker import choose_cluster

        where = choose_cluster(serve, workers, cluster)
        run_config(config, out, change or [], where, force=force)


@app.command()
def worker(
    address: Annotated[str, typer.Argument(help="What `gramdyn run --serve` was given.")],
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until the scheduler is there.")
    ] = 60,
) -> None:
    """Compute chunks of a sweep that another machine runs, until that one is done."""
    from gramdyn.cli.worker import work

    work(address, wait)


@app.command()
def plan(
    config: ConfigFile,
    change: Changes = None,
    time: Annotated[
        bool,
        typer.Option(help="Time short pieces of the largest programs to say how long it takes."),
    ] = True,
) -> None:
    """Show groups, runs, bytes, operations, chunks and expected time of a sweep, not run."""
    from gramdyn.cli.run import plan_config

    plan_config(config, change or [], time=time)


@app.command()
def report(
    folder: Folder,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="HTML file to write.")] = None,
) -> None:
    """Write the pictures of a run folder as one HTML file that opens without a network."""
    from gramdyn.cli.show import report_folder

    report_folder(folder, out)


@app.command()
def status(folder: Folder) -> None:
    """Say how a sweep stands, while it runs or after: runs done, speed, time left."""
    from gramdyn.cli.status import show_status

    show_status(folder)


@app.command("list")
def list_(folder: Folder) -> None:
    """List what a run folder holds: its groups, arrays, axes and states."""
    from gramdyn.cli.show import list_folder

    list_folder(folder)


@app.command()
def paper(
    name: Annotated[str | None, typer.Argument(help="Name of a claim; see --list.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the claims and stop.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder; by default runs/paper/NAME.")
    ] = None,
    change: Changes = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Set folders that are there aside, and start anew."),
    ] = False,
) -> None:
    """Reproduce a published claim: predicted beside measured, and a figure."""
    from gramdyn.cli.stop import told_when_stopped

    with told_when_stopped():
        from gramdyn.cli.paper import list_claims, reproduce_claim

        if list_ or name is None:
            list_claims()
            return
        raise typer.Exit(reproduce_claim(name, out, change or [], force=force))


@app.command()
def verify(config: ConfigFile, change: Changes = None) -> None:
    """Check every law of the theory on a sweep's own runs; status 1 if one fails."""
    from gramdyn.cli.verify import verify_file

    raise typer.Exit(verify_file(config, change or []))


@app.command()
def doctor() -> None:
    """Say device, versions, precision and cache, and try the toolchain for known wrong numbers."""
    from gramdyn.cli.doctor import examine

    raise typer.Exit(examine())


def main() -> None:
    """Run the command line; input that cannot be used is one line on stderr and status 2.

    A sweep that ends with chunks missing is one line too, and status 1.
    """
    # XLA prints a screenful a program when the compile cache hits on CPU; its errors still raise.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, "")  # "module:function" of a configuration may lie beside it
    try:
        app()
    except InputError as error:
        print(f"gramdyn: {error}", file=sys.stderr)
        sys.exit(2)
    except IncompleteError as error:
        print(f"gramdyn: {error}", file=sys.stderr)
        sys.exit(1)
