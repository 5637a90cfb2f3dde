"""Commands that are imported when they are asked for.

A command takes up to a second to import; nobody who calls one should wait for the others'.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class LazyGroup(TyperGroup):
    """A group that may hold commands which are promised only."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of this name, imported; None if there is none."""
        command = super().get_command(ctx, cmd_name)
        if isinstance(command, _Promise):
            command = self.commands[cmd_name] = command.kept()
        return command


def add_lazy(app: typer.Typer, module: str, name: str, panel: str) -> None:
    """Add the command `name`: the Typer `app` that a module has, or its function of this name.

    The app that it is added to must be of the class `LazyGroup`.
    """

    def load() -> Any:
        found = import_module(module)
        return getattr(found, "app" if hasattr(found, "app") else name)

    app.command(name, cls=_Promise, rich_help_panel=panel)(load)


class _Promise(TyperCommand):
    """Stands for a command until it is asked for."""

    callback: Callable[..., Any]

    def kept(self) -> Any:
        """Return the command itself."""
        found = self.callback()
        app = typer.Typer(rich_markup_mode=self.rich_markup_mode, add_completion=False)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=self.name, rich_help_panel=self.rich_help_panel)
        else:
            app.command(self.name, rich_help_panel=self.rich_help_panel)(found)
        made: Any = typer.main.get_command(app)
        return made.commands[self.name] if isinstance(found, typer.Typer) else made
