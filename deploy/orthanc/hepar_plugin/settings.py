"""The table `Hepar` of Orthanc's configuration."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hepar_plugin.rules import Rules


class BadConfiguration(Exception):
    """A key of Orthanc's configuration is unknown or has a wrong value."""


@dataclass(frozen=True)
class Settings:
    """Configuration of the plugin."""

    modality: str = "hepar"
    """Key of the node in Orthanc's `DicomModalities`."""
    automatic: bool = True
    """Hand over series by themselves once they are stable; otherwise only the button does."""
    state_url: str | None = None
    """Address of the node's `[http]`, for the state of jobs."""
    first_pause_s: float = 5.0
    """Pause after the node could not be reached; each further one is twice as long."""
    longest_pause_s: float = 600.0
    rules: Rules = field(default_factory=Rules)


KEYS = {
    "Modality": "modality",
    "Automatic": "automatic",
    "StateUrl": "state_url",
    "FirstPause": "first_pause_s",
    "LongestPause": "longest_pause_s",
}
RULES = {
    "Modalities": "modalities",
    "MinInstances": "min_instances",
    "MaxInstances": "max_instances",
    "Include": "include",
    "Exclude": "exclude",
}

NUMBER, TEXT, TABLE = ((int, float), "a number"), (str, "a text"), (dict, "a table")
TYPES: dict[str, tuple[Any, str]] = {
    "Modality": TEXT,
    "Automatic": (bool, "true or false"),
    "StateUrl": TEXT,
    "FirstPause": NUMBER,
    "LongestPause": NUMBER,
    "Rules": TABLE,
    "Modalities": (list, 'a list, such as ["CT"],'),
    "MinInstances": NUMBER,
    "MaxInstances": NUMBER,
    "Include": TABLE,
    "Exclude": TABLE,
}


def read_settings(configuration: Mapping[str, Any]) -> Settings:
    """Read the plugin's part of Orthanc's configuration.

    Raises:
        BadConfiguration: names the key that is wrong.
    """
    # A copy: the pop below must not change what the caller has.
    own = dict(configuration.get("Hepar", {}))
    _require_types(own, "Hepar")
    _require_types(own.get("Rules", {}), "Hepar.Rules")
    rules = _named(own.pop("Rules", {}), RULES, "Hepar.Rules")
    _require_expressions(rules)
    chosen = Settings(**_named(own, KEYS, "Hepar"), rules=Rules(**rules))
    known = configuration.get("DicomModalities", {})
    if chosen.modality not in known:
        raise BadConfiguration(
            f"Hepar.Modality {chosen.modality!r} is not in DicomModalities, which has"
            f' {sorted(known)}; add "{chosen.modality}": ["HEPAR", "host", 11112]'
        )
    return chosen


def _named(table: Mapping[str, Any], keys: Mapping[str, str], where: str) -> dict[str, Any]:
    if unknown := sorted(set(table) - set(keys)):
        raise BadConfiguration(f"unknown key {where}.{unknown[0]}; known: {', '.join(keys)}")
    return {keys[key]: value for key, value in table.items()}


def _require_types(table: Mapping[str, Any], where: str) -> None:
    for key in table.keys() & TYPES.keys():
        kind, said = TYPES[key]
        # `True` is an int in Python, and "MinInstances": true would be 1.
        if not isinstance(table[key], kind) or (isinstance(table[key], bool) and kind is not bool):
            raise BadConfiguration(f"{where}.{key} is {table[key]!r}; {said} would do")


def _require_expressions(rules: Mapping[str, Any]) -> None:
    for kind in ("include", "exclude"):
        for tag, expression in rules.get(kind, {}).items():
            try:
                re.compile(expression)
            except re.error as error:
                raise BadConfiguration(
                    f"Hepar.Rules: {expression!r} for {tag} is no regular expression: {error}"
                ) from error
