"""Damage to encoded instances, as a broken disk, a careless sender or an attacker does it."""

import struct
from collections.abc import Callable

from hypothesis import strategies as st

Mutation = Callable[[bytearray], None]

TAGS = {
    "SOP Class UID": b"\x08\x00\x16\x00",
    "Series Instance UID": b"\x20\x00\x0e\x00",
    "Image Position": b"\x20\x00\x32\x00",
    "Image Orientation": b"\x20\x00\x37\x00",
    "Rows": b"\x28\x00\x10\x00",
    "Columns": b"\x28\x00\x11\x00",
    "Pixel Spacing": b"\x28\x00\x30\x00",
    "Bits Allocated": b"\x28\x00\x00\x01",
    "Bits Stored": b"\x28\x00\x01\x01",
    "High Bit": b"\x28\x00\x02\x01",
    "Pixel Representation": b"\x28\x00\x03\x01",
    "Rescale Intercept": b"\x28\x00\x52\x10",
    "Rescale Slope": b"\x28\x00\x53\x10",
    "Pixel Data": b"\xe0\x7f\x10\x00",
    "Specific Character Set": b"\x08\x00\x05\x00",
    "Patient's Name": b"\x10\x00\x10\x00",
}
"""Elements whose VR, length or value is changed, as they begin in Explicit VR Little Endian."""

VRS = [b"UI", b"DS", b"IS", b"US", b"OB", b"OW", b"SQ", b"UN", b"AT", b"FD", b"ZZ", b"\0\0"]
WORDS = [0, 1, 2, 15, 16, 17, 255, 256, 32767, 32768, 65535]
TEXTS = [
    b"",
    b"1e300",
    b"-1e300",
    b"inf",
    b"nan",
    b"0",
    b"1,5",
    b"1\\2",
    b"\\\\\\",
    b"1.2.03",
    b" ",
]
TEXTS += [b" ", b"\0\0", b"ISO_IR 999", b"\x1b$B", b"A" * 64, b"\n\x1b[31m", b"9" * 16]
ITEM = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
NESTED = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff"


def _in_place(name: str, offset: int, new: bytes) -> Mutation:
    """Overwrite bytes of an element, so that all lengths around it stay right."""

    def change(data: bytearray) -> None:
        _overwrite(data, data.index(TAGS[name]) + offset, new)

    return change


def _text_in_place(name: str, text: bytes) -> Mutation:
    def change(data: bytearray) -> None:
        at = data.index(TAGS[name])
        length = int.from_bytes(data[at + 6 : at + 8], "little")
        _overwrite(data, at + 8, text[:length].ljust(length))

    return change


IN_PLACE = {
    "a UID of unknown VR": _in_place("SOP Class UID", 4, b"ZZ"),
    "a UID as a sequence": _in_place("Series Instance UID", 4, b"SQ"),
    "a UID as a number": _in_place("Series Instance UID", 4, b"FD"),
    "a UID that leads out of a folder": _text_in_place("Series Instance UID", b"../../../x"),
    "a UID longer than the data set": _in_place("Series Instance UID", 6, b"\xff\xff"),
    "rows of three bytes": _in_place("Rows", 6, b"\x03\0"),
    "a spacing that is no number": _text_in_place("Pixel Spacing", b"1,5\\a"),
    "an orientation that is none": _text_in_place("Image Orientation", b"\\\\\\"),
    "an intercept that is no number": _text_in_place("Rescale Intercept", b"1,5"),
    "a name as a sequence": _in_place("Patient's Name", 4, b"SQ"),
}
"""Damage of each kind that once ended a reader with an error that it did not expect."""

META_CLASS = b"\x02\x00\x02\x00UI"
"""Media Storage SOP Class UID (0002,0002), as it begins."""


def _sequence_that_breaks_off(data: bytearray) -> None:
    """Let an item begin in front of the UIDs, and end there."""
    at = data.index(TAGS["SOP Class UID"])
    data[at:] = NESTED + ITEM + TAGS["Rows"]


KNOWN = IN_PLACE | {
    "no prefix": lambda data: _overwrite(data, data.index(b"DICM"), b"NONE"),
    "file meta information of unknown VR": lambda data: _overwrite(
        data, data.index(META_CLASS), META_CLASS[:4] + b"ZZ"
    ),
    "file meta information as a number": lambda data: _overwrite(
        data, data.index(META_CLASS), META_CLASS[:4] + b"FD"
    ),
    "a sequence that breaks off": _sequence_that_breaks_off,
    "sequences 5,000 deep": lambda data: _insert(data, data.index(TAGS["Rows"]), _deep(5000)),
    "sequences 5,000 deep before the UIDs": lambda data: _insert(
        data, data.index(TAGS["SOP Class UID"]), _deep(5000)
    ),
    "cut within the header": lambda data: data.__delitem__(
        slice(data.index(TAGS["Rows"]) + 5, None)
    ),
    "cut within the pixels": lambda data: data.__delitem__(slice(len(data) // 2, None)),
}


def mutations() -> st.SearchStrategy[list[Mutation]]:
    """One to four changes, of the kinds below."""
    kinds = st.one_of(
        _at(st.binary(min_size=1, max_size=8), _overwrite),
        _at(st.binary(min_size=1, max_size=64), _insert),
        _at(st.integers(1, 4096), _remove),
        _at(st.integers(1, 4096), _repeat),
        _at(st.just(0), lambda data, at, _: data.__delitem__(slice(at, None))),
        _element(st.sampled_from(VRS), lambda data, at, vr: _overwrite(data, at + 4, vr)),
        _element(st.sampled_from(WORDS), lambda data, at, n: _overwrite(data, at + 6, _word(n))),
        _element(st.sampled_from(WORDS), lambda data, at, n: _overwrite(data, at + 8, _word(n))),
        _element(st.sampled_from(TEXTS), _replace_text),
        _element(st.sampled_from([3, 300, 5000]), lambda data, at, n: _insert(data, at, _deep(n))),
        _element(st.just(0), lambda data, at, _: _repeat(data, at, 8 + data[at + 6])),
    )
    return st.lists(kinds, min_size=1, max_size=4)


def mutated(content: bytes, changes: list[Mutation]) -> bytes:
    """Return the content with these changes."""
    data = bytearray(content)
    for change in changes:
        change(data)
    return bytes(data)


def _at(value, change):
    """A change at any place; most values of an instance lie before its pixels."""
    places = st.one_of(st.floats(0, 1), st.floats(0, 0.2))
    return st.builds(
        lambda place, drawn: lambda data: change(data, int(place * len(data)), drawn), places, value
    )


def _element(value, change):
    """A change of one element, where it is there."""

    def build(name, drawn):
        def changed(data):
            at = data.find(TAGS[name])
            if 0 <= at < len(data) - 8:
                change(data, at, drawn)

        return changed

    return st.builds(build, st.sampled_from(sorted(TAGS)), value)


def _overwrite(data, at, new):
    data[at : at + len(new)] = new


def _insert(data, at, new):
    data[at:at] = new


def _remove(data, at, count):
    del data[at : at + count]


def _repeat(data, at, count):
    data[at:at] = data[at : at + count]


def _replace_text(data, at, text):
    length = int.from_bytes(data[at + 6 : at + 8], "little")
    text += b" " * (len(text) % 2)
    data[at + 6 : at + 8 + length] = _word(len(text)) + text


def _word(number):
    return struct.pack("<H", number)


def _deep(levels):
    return (NESTED + ITEM) * levels
