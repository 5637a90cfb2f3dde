"""`hepar train RECIPE` beside `hepar train list` and its like."""

from typing import TYPE_CHECKING

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    # Older versions of typer have no such module; newer ones no public name for what it holds.
    from typer._click.core import Command, Context

TRAIN = "recipe"
"""Command that a first word which names no command is handed to."""


class RecipeFirst(TyperGroup):
    """A group whose first word may be a recipe or an option, as if it were one command."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Put the command before a line that begins with a recipe."""
        if not args or args[0] not in self.commands:
            args = [TRAIN, *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: "Context", args: list[str]
    ) -> "tuple[str | None, Command | None, list[str]]":
        """Leave the command's name out of its usage, as nobody has typed it."""
        name, command, rest = super().resolve_command(ctx, args)
        return (None if name == TRAIN else name), command, rest


def make_group() -> typer.Typer:
    """Return the group `hepar train`, without its commands."""
    return typer.Typer(cls=RecipeFirst, help="Train by a recipe; list, plan and compare.")
