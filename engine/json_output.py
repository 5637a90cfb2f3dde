"""The option --json, and the printing of JSON."""

import json
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def print_json(content: object) -> None:
    """Print JSON, whatever the width of the terminal."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False, default=str))
