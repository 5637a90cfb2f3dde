"""The command line: commands that are imported when they are called, and how an error ends one.

A command takes up to a second to import; `hepar --help` and every other command need not wait.
"""

import gc
import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from dicom_node.error_location import unforeseen
from dicom_node.errors import NodeError
from engine.errors import EngineError

TRACEBACK = "HEPAR_TRACEBACK"
"""Environment variable that lets an unforeseen error end in a traceback, for whoever mends it."""

GARBAGE = 100_000, 20, 100
"""Thresholds of the garbage collector. A series is a hundred thousand objects, none of them
garbage: with Python's own 700, collecting takes half of the time of reading a series."""


def run_program(program: Callable[[], object]) -> None:
    """Run what this process is for; an error ends it with one line and the exit status."""
    gc.set_threshold(*GARBAGE)
    try:
        program()
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


def print_error(error: Exception | str) -> None:
    """Print an error as one line."""
    message = f"error: {error}"  # not wrapped: a path or a UID in it may be copied
    Console(stderr=True).print(message, style="red", markup=False, highlight=False, soft_wrap=True)


class LazyGroup(TyperGroup):
    """A group that imports a command on its first use."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of this name, imported; None if there is none."""
        command = super().get_command(ctx, cmd_name)
        if isinstance(command, _LazyCommand):
            command = self.commands[cmd_name] = command.resolve()
        return command


def add_lazy(app: typer.Typer, module: str, name: str, panel: str) -> None:
    """Add the command `name`: a module's Typer `app`, or its function of this name.

    The app that it is added to must use `LazyGroup` as its class.
    """

    def load() -> Any:
        found = import_module(module)
        return getattr(found, "app" if hasattr(found, "app") else name)

    app.command(name, cls=_LazyCommand, rich_help_panel=panel)(load)


class _LazyCommand(TyperCommand):
    """Placeholder of a command that is not imported yet."""

    callback: Callable[..., Any]

    def resolve(self) -> Any:
        """Import the command and return it."""
        found = self.callback()
        app = typer.Typer(rich_markup_mode=self.rich_markup_mode, add_completion=False)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=self.name, rich_help_panel=self.rich_help_panel)
        else:
            app.command(self.name, rich_help_panel=self.rich_help_panel)(found)
        made: Any = typer.main.get_command(app)
        # Typer makes a lone command the app itself, and an added app a group in it.
        return made.commands[self.name] if isinstance(found, typer.Typer) else made
