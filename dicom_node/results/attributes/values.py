"""Values that their value representation (PS3.5 6.2) can hold."""

import math
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from pydicom.charset import python_encoding
from pydicom.valuerep import DSfloat

LONG_STRING, SHORT_TEXT = 64, 1024
"""Characters that the value representations LO and ST hold."""
DECIMAL_STRING = 16
"""Bytes that one value of a DS holds."""

DECIMAL = re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *", re.ASCII)
VALID = {
    "DS": DECIMAL,
    "IS": re.compile(r" *[+-]?\d{1,11} *", re.ASCII),
    "AS": re.compile(r"\d{3}[DWMY]", re.ASCII),
    "DA": re.compile(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", re.ASCII),
    "TM": re.compile(r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)? *", re.ASCII),
}

ASCII_TERMS = ("", "ISO_IR 6", "ISO 2022 IR 6")
"""Terms of Specific Character Set for the default repertoire, which pydicom takes for Latin-1."""
ASCII_FOR = {"·": "-", "…": "...", "×": "x", "\ufffd": "?"}

Value = TypeVar("Value")


def plain(text: str, limit: int) -> str:
    """Fit `text` into a value that every character set can write."""
    return text.encode("ascii", "replace").decode()[:limit]


def writable(text: str, character_set: Any) -> str:
    """Return `text` as far as a Specific Character Set (0008,0005) can write it.

    What it cannot is written in ASCII: a middle dot as a hyphen, a letter as a question mark.
    """
    text = text.replace("\ufffd", "?")
    if _survives(text, character_set):
        return text
    for sign, replacement in ASCII_FOR.items():
        text = text.replace(sign, replacement)
    return text if _survives(text, character_set) else plain(text, len(text))


def _survives(text: str, character_set: Any) -> bool:
    terms = [character_set] if isinstance(character_set, str) else list(character_set or [])
    codecs = [python_encoding.get(term, "") for term in terms if term not in ASCII_TERMS]
    # One codec for all of it: pydicom tries each term alone before it splits a text among several
    # (`charset.encode_string`).
    return text.isascii() or any(_encodes(text, codec) for codec in codecs)


def _encodes(text: str, codec: str) -> bool:
    try:
        return bool(text.encode(codec))
    except (UnicodeError, LookupError):  # a lookup fails for terms that only pydicom knows
        return False


def fitting(number: Value) -> Value | DSfloat | None:
    """Return one value of a DS: as it is where it is valid, else rounded to 16 characters.

    None where it is no finite number.
    """
    # pydicom's DS keeps the text that it was read from, and it is the text that must be valid.
    text = str(number)
    try:
        value = float(text)
    except ValueError:
        return None
    if not math.isfinite(value):
        return None
    if len(text) <= DECIMAL_STRING and DECIMAL.fullmatch(text):
        return number
    return DSfloat(value, auto_format=True)


def all_fitting(numbers: Iterable[Any]) -> list[Any]:
    """Return the values of a DS that are known to be numbers, each of at most 16 characters."""
    return [fitting(number) for number in numbers]


def is_valid(vr: str, value: Any) -> bool:
    """Return whether a value, or each of several, is what its value representation asks for."""
    pattern = VALID.get(vr)
    if pattern is None:
        return True
    several = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
    return all(pattern.fullmatch(str(each)) for each in (value if several else [value]))
