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
