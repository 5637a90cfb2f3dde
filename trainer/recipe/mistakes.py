"""Mistakes in a recipe, as its author reads them."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def mistakes(error: ValidationError, model: type[BaseModel]) -> str:
    """Return what is wrong with a table of `model`, key by key as one writes them."""
    return "; ".join(
        # A mistake of the whole recipe has no key before its colon.
        f"{'.'.join(map(str, mistake['loc']))}: {_wrong(mistake, model)}".removeprefix(": ")
        for mistake in error.errors(include_url=False)
    )


def _wrong(mistake: ErrorDetails, model: type[BaseModel]) -> str:
    if mistake["type"] != "extra_forbidden":
        return mistake["msg"].removeprefix("Value error, ")
    keys = sorted(_section(model, mistake["loc"][:-1]).model_fields)
    return f"there is no such key; allowed are {', '.join(keys)}"


def _section(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel]:
    """Return the model of the section at a location, whose numbers are places in lists."""
    for step in location:
        if isinstance(step, str):
            model = next(_models(model.model_fields[step].annotation))
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models within an annotation, such as that of `Phase | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
