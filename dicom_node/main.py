"""The `hepar` command: the commands of every package of Hepar."""

from importlib.metadata import EntryPoint, entry_points
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from dicom_node.command_line import LazyGroup, run_program

GROUP = "hepar.commands"
"""Entry points `package.commands:register`; each adds its commands to the app."""

REQUIRED = ("dicom_node", "engine")
"""Packages that must be installed."""


def main() -> None:
    """Run the command line and end with its exit status."""
    run_program(lambda: build()())


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
