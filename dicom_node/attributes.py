"""The one guard through which attributes of received instances are read.

pydicom converts a value when it is first asked for, so a damaged attribute raises wherever it
happens to be read. Here it reads as absent, and the checks then name it as missing or malformed.
"""

import math
import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

UNREADABLE = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""Raised by pydicom and zlib on bytes that are no data set, or on an attribute whose bytes are no
value. Each was met in a file from the field: "10,5" as a ratio raises ValueError, an empty padding
limit TypeError, nested sequences RecursionError, a sequence that is none AttributeError, two bytes
as a number of eight BytesLengthException, which is no ValueError."""

NUMBER_CHARACTERS = re.compile(r"[0-9eE+\-., \\]{1,80}")
"""A text of these alone is safe to repeat in a message: it cannot hold a name."""


@lru_cache(maxsize=256)
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


def value_of(dataset: Dataset, keyword: str) -> Any:
    """Return the value of an attribute; None where it is absent, empty or cannot be read."""
    tag = _tag(keyword)  # by its tag: pydicom looks a keyword up anew each time, for 15 us
    try:
        value = dataset[tag].value if tag in dataset else None
    except UNREADABLE:
        return None
    # Not by truth: 0 is a value.
    return None if isinstance(value, str | bytes | MultiValue | list) and not len(value) else value


def values_of(dataset: Dataset, keyword: str) -> list[Any]:
    """Return the values of an attribute with any multiplicity; none where it cannot be read."""
    value = value_of(dataset, keyword)
    if isinstance(value, MultiValue | list):
        return list(value)
    return [] if value is None else [value]


def text_of(dataset: Dataset, keyword: str) -> str:
    """Return the value of an attribute as text, without padding; empty where there is none.

    Several values have a backslash between them, as in the file, also where there should be one.
    """
    return "\\".join(map(str, values_of(dataset, keyword))).strip().rstrip("\0")


def raw_value(dataset: Dataset, keyword: str) -> object:
    """Return the value of an attribute as it is kept: bytes, unless something converted it."""
    tag = _tag(keyword)
    element = dataset.get_item(tag) if tag in dataset else None
    return getattr(element, "value", None)


def written_form(dataset: Dataset, keyword: str) -> tuple[object, ...] | None:
    """Return the bytes of an attribute and what decides their meaning; none of it where absent.

    None where pydicom has converted them: a value does not show how it was written.
    """
    element = dataset.get_item(_tag(keyword), keep_deferred=True)
    if element is None:
        return ()
    if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
        return None
    return element.VR, element.value, element.is_implicit_VR, element.is_little_endian


def unconverted_text(dataset: Dataset, keyword: str) -> str:
    """Return the value of an attribute as text, and leave its bytes in the data set as they are.

    pydicom replaces what it has converted; bytes that their character set cannot decode would be
    lost to whoever copies them into a result. Such bytes differ as they do.
    """
    try:
        element = dataset.get_item(keyword) if keyword in dataset else None
        if not isinstance(element, RawDataElement):
            return text_of(dataset, keyword)
        text = text_of(unconverted_copy(dataset, [keyword]), keyword)
    except UNREADABLE:
        return ""
    # U+FFFD is how Python decodes what it cannot: two different names would both be "???".
    return repr(element.value.strip(b" \0")) if "\ufffd" in text else text


def unconverted_copy(dataset: Dataset, keywords: Iterable[str]) -> Dataset:
    """Return these attributes in a data set of their own, in which they may be converted."""
    copy = Dataset()
    # First, as pydicom decodes by the set that a data set has at that moment.
    for each in ("SpecificCharacterSet", *keywords):
        if each in dataset:
            copy[each] = dataset.get_item(each)
    return copy


def identifying_text(dataset: Dataset, keyword: str) -> str:
    """Return a value of the patient or the order such that equal ones mean the same.

    In a name, carets at the end of a group and empty groups at the end carry no meaning (PS3.5
    6.2.1.1): DOE^JANE^^^ is DOE^JANE.
    """
    text = unconverted_text(dataset, keyword)
    if keyword != "PatientName":
        return text
    return "=".join(group.rstrip("^ ") for group in text.split("=")).rstrip("=")


def words_of(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of a code string attribute, in capitals."""
    return tuple(str(word).strip().upper() for word in values_of(dataset, keyword))


def numbers_of(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return the values of a numeric attribute; None unless there are `count`, all finite."""
    try:
        found = tuple(float(number) for number in values_of(dataset, keyword))
    except UNREADABLE:
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def items_of(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """Return the items of a sequence; none where it is absent or no sequence."""
    items = value_of(dataset, keyword)
    if items is None or isinstance(items, str | bytes):
        return ()
    try:
        return [item for item in items if isinstance(item, Dataset)]
    except UNREADABLE:
        return ()


def raw_number_text(dataset: Dataset, keyword: str) -> str:
    """Return a malformed number as it was written, to be shown; empty if it could be a name."""
    tag = tag_for_keyword(keyword)
    try:
        element = dataset.get_item(tag) if tag is not None and tag in dataset else None
        value = getattr(element, "value", None)
        parts = value if isinstance(value, MultiValue | list) else [value]
        text = "\\".join(_decoded(part) for part in parts).strip()
    except UNREADABLE:
        return ""
    return text if NUMBER_CHARACTERS.fullmatch(text) else ""


def _decoded(value: Any) -> str:
    """Return a value that pydicom has converted already, or has not yet, as text."""
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
