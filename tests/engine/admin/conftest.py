import pytest
import typer
from typer.testing import CliRunner

from engine.commands import register


@pytest.fixture
def hepar():
    """Run `hepar engine …`; returns what came of it."""
    app = typer.Typer()
    register(app)

    def run(*arguments):
        words = [str(word) for word in arguments]
        return CliRunner().invoke(app, ["engine", *words], env={"COLUMNS": "200"})

    return run
