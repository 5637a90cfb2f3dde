"""The `hepar` command: the commands of every package of Hepar."""

import gc
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from importlib.metadata import version as installed_version
from typing import Annotated

import typer
from rich.console import Console

from dicom_node.error_location import unforeseen
from dicom_node.errors import NodeError
from dicom_node.lazy_commands import LazyGroup
from engine.errors import EngineError

GROUP = "hepar.commands"
"""Entry points `package.commands:register`; each adds its commands to the app."""

REQUIRED = ("dicom_node", "engine")
"""Packages that must be installed."""

TRACEBACK = "HEPAR_TRACEBACK"
"""Environment variable that lets an unforeseen error end in a traceback, for whoever mends it."""

GARBAGE = 100_000, 20, 100
"""Thresholds of the garbage collector. A series is a hundred thousand objects, none of them
garbage: with Python's own 700, collecting takes half of the time of reading a series."""


def main() -> None:
    """Run the command line and end with its exit status."""
    gc.set_threshold(*GARBAGE)
    try:
        build()()
    except (NodeError, EngineError) as error:
        print_error(error)
        sys.exit(error.exit_code)
    # The edge of the program: an unforeseen error's own words may name a patient.
    except Exception as error:
        # The edge of the command: Python would print the error's words, which may quote a file of a
        # patient. Its kind and place are named, and the exit status says that it failed.
        if os.environ.get(TRACEBACK):
            raise
        print_error(f"{unforeseen(error)}, or set {TRACEBACK}=1 to see all of it")
        sys.exit(1)


def build() -> typer.Typer:
    """Return the command with the subcommands of every package that can be imported here."""
    app = typer.Typer(
        name="hepar",
        cls=LazyGroup,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_show_locals=False,  # they would show patients
    )
    app.callback()(options)
    for entry_point in sorted(entry_points(group=GROUP), key=lambda each: each.name):
        _register(entry_point, app)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"hepar {installed_version('hepar')}")
        raise typer.Exit


def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version of Hepar.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    """Mark the liver and its tumours in CT series: a DICOM node and its tools."""


def print_error(error: Exception | str) -> None:
    """Print an error as one line."""
    message = f"error: {error}"  # not wrapped: a path or a UID in it may be copied
    Console(stderr=True).print(message, style="red", markup=False, highlight=False, soft_wrap=True)


def _register(entry_point: EntryPoint, app: typer.Typer) -> None:
    """Add the commands of a package, unless a library that only it needs is absent."""
    try:
        register = entry_point.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in REQUIRED or entry_point.module.split(".")[0] in REQUIRED:
            raise
        return
    register(app)
