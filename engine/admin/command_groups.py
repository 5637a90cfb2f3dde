"""Groups of commands to which several packages add, such as `hepar model`."""

import typer
from typer.core import TyperGroup


def command_group(
    app: typer.Typer, name: str, purpose: str, cls: type[TyperGroup] | None = None
) -> typer.Typer:
    """Return the group of this name, added to the app by whoever asks first.

    Args:
        app: the whole command.
        name: of the group.
        purpose: its line in the help.
        cls: class of the group, where it is added.
    """
    for each in app.registered_groups:
        if each.name == name and each.typer_instance is not None:
            return each.typer_instance
    group = typer.Typer(help=purpose, no_args_is_help=True, cls=cls)
    app.add_typer(group, name=name)
    return group


MODEL = "Inspect models; compare a candidate with the model that serves, and promote it."
"""Purpose of `hepar model`."""
