"""Exit of a command of the trainer on an expected error."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from engine.errors import EngineError
from trainer.errors import TrainerError


@contextmanager
def errors_said() -> Iterator[None]:
    """End the command with an error's message and its exit status."""
    try:
        yield
    except (TrainerError, EngineError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False)
        raise typer.Exit(error.exit_code) from error
