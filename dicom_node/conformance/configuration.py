"""The keys of the configuration, with their defaults."""

import ast
import inspect
from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dicom_node.config.peers import FolderSettings, StoreSettings, StowSettings
from dicom_node.config.receiver_sections import CallerSection
from dicom_node.config.settings import Settings
from dicom_node.conformance.markdown import code, table

PEERS = (FolderSettings, StoreSettings, StowSettings)
SHARED = set.intersection(*(set(each.model_fields) for each in PEERS)) - {"kind"}
"""Keys of a peer of any kind."""


def configuration_table() -> str:
    """Return every key: section by section, of a caller, and kind by kind of a peer."""
    return table(("Key", "Default", "Meaning"), [*_sections(), *_callers(), *_peers()])


def _sections() -> Iterator[tuple[str, ...]]:
    for name, section in Settings.model_fields.items():
        if isinstance(section.default, BaseModel):
            yield from _keys(name, type(section.default))


def _callers() -> Iterator[tuple[str, ...]]:
    yield from _keys("callers[]", CallerSection)


def _peers() -> Iterator[tuple[str, ...]]:
    yield from _keys("peers.NAME", PEERS[0], SHARED)
    for settings in PEERS:
        (kind,) = settings.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
        yield code("peers.NAME.kind"), "none: must be given", f"{code(_toml(kind))}, with:"
        yield from _keys("peers.NAME", settings, set(settings.model_fields) - SHARED - {"kind"})


def _keys(
    section: str, model: type[BaseModel], names: Collection[str] | None = None
) -> Iterator[tuple[str, str, str]]:
    meanings = _meanings(model)
    for name, field in model.model_fields.items():
        if names is None or name in names:
            yield code(f"{section}.{name}"), _default(field), meanings.get(name, "")


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings of a section's keys, those of its bases among them.

    Not by pydantic's `use_attribute_docstrings`, which parses every section's source whenever it is
    imported: half of the time that the configuration takes at each start of a command.
    """
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if issubclass(each, BaseModel) and each is not BaseModel:
            found |= dict(_documented(each))
    return found


def _documented(section: type[BaseModel]) -> Iterator[tuple[str, str]]:
    (definition,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(definition, ast.ClassDef)
    for key, words in pairwise(definition.body):
        match key, words:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "one of the user's own"
    if field.default is PydanticUndefined:
        return "none: must be given"
    return code(_toml(field.default)) if field.default is not None else ""


def _toml(value: Any) -> str:
    if isinstance(value, frozenset):
        return _toml(tuple(sorted(map(str, value))))
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
