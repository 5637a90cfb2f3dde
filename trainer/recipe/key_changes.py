"""Changes of single keys of a recipe, as `--set` takes them."""

import re
import tomllib
from typing import Any

from trainer.errors import BadRecipe

BARE_WORD = re.compile(r"[A-Za-z][\w.-]*")
"""Text without its quotation marks, which a shell has taken for its own."""


def change_key(table: dict[str, Any], change: str) -> None:
    """Set one key of a recipe's table, such as `members.0.cycles=[100]`.

    Raises:
        BadRecipe: it is no change, or names a place that the table does not have.
    """
    key, _, value = change.partition("=")
    *path, last = key.strip().split(".")
    try:
        place: Any = table
        for step in path:
            # setdefault: a section that a recipe leaves out may be given by --set alone.
            place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
        place[last] = _value(value.strip())
    except (tomllib.TOMLDecodeError, LookupError, TypeError, ValueError) as error:
        raise BadRecipe(
            f"{change!r} is no change of a recipe, such as share=0.5: name a key of the recipe, "
            "and give its value as in TOML"
        ) from error


def _value(text: str) -> Any:
    # TOML's own reader, so that lists, numbers and quotes mean what they mean in a file.
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if BARE_WORD.fullmatch(text):
            return text
        raise
