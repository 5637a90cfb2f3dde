"""Messages for mistakes in the configuration, each with a remedy and without secrets."""

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

Location = tuple[int | str, ...]


def validation_messages(root: type[BaseModel], error: ValidationError) -> list[str]:
    """Return one sentence per mistake, without any of the values."""
    return [
        _unknown_key(root, mistake["loc"])
        if mistake["type"] == "extra_forbidden"
        else f"{_dotted(root, mistake['loc'])}: {_message(mistake)}".removeprefix(": ")
        # Without the input, which may be a secret.
        for mistake in error.errors(include_input=False, include_url=False)
    ]


def misplaced_secrets(root: type[BaseModel], tables: Mapping[str, Any]) -> list[str]:
    """Return one sentence per secret that stands in the file and not in the environment."""
    return [
        f"{'.'.join(keys)} is a secret and must not stand in a file; "
        f"set HEPAR_{'__'.join(keys).upper()} in the environment"
        for keys in _leaves(tables)
        if _is_secret(root, keys)
    ]


def _message(mistake: ErrorDetails) -> str:
    """Return the message of a mistake; our own validators' messages are kept as they are."""
    if mistake["type"] == "union_tag_not_found":
        return "kind is missing; allowed: folder, store, stow"
    return mistake["msg"].removeprefix("Value error, ")


def _unknown_key(root: type[BaseModel], location: Location) -> str:
    *parents, key = location
    known = sorted({name for model in _models_at(root, parents) for name in model.model_fields})
    close = difflib.get_close_matches(str(key), known, n=1)
    remedy = f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(known)}"
    return f"unknown key {_dotted(root, location)!r}; {remedy}"


def _dotted(root: type[BaseModel], location: Location) -> str:
    """Write a location as the user wrote it: without the tags that pydantic adds for unions."""
    words: list[str] = []
    for index, word in enumerate(location):
        tag = index > 0 and len(_models_at(root, location[:index])) > 1
        if not tag:
            words.append(str(word))
    return ".".join(words)


def _models_at(root: type[BaseModel], location: Sequence[int | str]) -> list[type[BaseModel]]:
    """Return the classes that can describe the table at `location`."""
    models, mappings = [root], list[Any]()
    for word in location:
        if mappings:  # any name is a key of a dict
            models, mappings = [m for each in mappings for m in _models_in(each)], []
            continue
        tagged = [m for m in models if _tag(m) == word]
        if tagged:
            models = tagged
            continue
        fields = [m.model_fields[str(word)] for m in models if str(word) in m.model_fields]
        types_here = [field.annotation for field in fields]
        mappings = [get_args(each)[1] for each in types_here if get_origin(each) is dict]
        models = [m for each in types_here for m in _models_in(each)]
    return models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from _models_in(each)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation


def _tag(model: type[BaseModel]) -> str | None:
    kind = model.model_fields.get("kind")
    return str(get_args(kind.annotation)[0]) if kind else None


def _is_secret(root: type[BaseModel], keys: Sequence[str]) -> bool:
    return any(
        SecretStr in get_args(model.model_fields[keys[-1]].annotation)
        for model in _models_at(root, keys[:-1])
        if keys[-1] in model.model_fields
    )


def _leaves(tables: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in tables.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key)
