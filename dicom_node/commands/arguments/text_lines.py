"""Lines of text of a command that may print JSON in their place."""

from collections.abc import Callable

from dicom_node.commands.arguments.archive import say


def say_unless(as_json: bool) -> Callable[[str], None]:
    """Return the function that prints a line of text; one that prints nothing beside JSON."""
    return _say_nothing if as_json else say


def _say_nothing(text: str) -> None:
    """Print nothing: the JSON holds it."""
