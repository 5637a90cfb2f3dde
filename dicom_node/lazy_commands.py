"""Commands that are imported when they are called.

A command takes up to a second to import; `hepar --help` and every other command need not wait.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


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
