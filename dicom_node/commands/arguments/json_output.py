"""The option --json, and the printing of JSON."""

import json
from collections.abc import Callable
from typing import Annotated

import typer

from dicom_node.commands.arguments.archive import say

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines of text.")]


def print_json(content: object) -> None:
    """Print JSON, whatever the width of the terminal."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False, default=str))


def narrator(as_json: bool) -> Callable[[str], None]:
    """Return the function that prints a line for a person; one that prints nothing beside JSON."""
    return _print_nothing if as_json else say


def _print_nothing(text: str) -> None:
    """Print nothing: the JSON holds it."""
