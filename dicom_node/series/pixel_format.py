"""Consistency of the attributes that describe stored pixels (PS3.3 C.7.6.3.1)."""

from pydicom import Dataset

from dicom_node.attributes import value_of

BITS_ALLOCATED = (8, 16, 32)


def pixel_format_fault(instance: Dataset) -> str | None:
    """Return why the stored bits of an instance cannot be believed, with the values; else None.

    A sample that lies in other bits than the lowest was legal until 2014 (BitsStored 12 in HighBit
    15). Readers differ in what they make of it, so such values are refused: taken for 16 bits they
    are 16 times too large.
    """
    allocated = _number(instance, "BitsAllocated", 16)
    stored = _number(instance, "BitsStored", allocated)
    high = _number(instance, "HighBit", stored - 1)
    if allocated not in BITS_ALLOCATED:
        return f"BitsAllocated is {allocated}, not 8, 16 or 32"
    if not 1 <= stored <= allocated:
        return f"BitsStored is {stored}, with BitsAllocated {allocated}"
    if high != stored - 1:
        return f"BitsStored is {stored} and HighBit {high}, not {stored - 1}"
    if _number(instance, "PixelRepresentation", 0) not in (0, 1):
        return f"PixelRepresentation is {_number(instance, 'PixelRepresentation', 0)}, not 0 or 1"
    return None


def stored_range(instance: Dataset) -> tuple[int, int]:
    """Return the lowest and the highest value that the stored bits can hold."""
    bits = _number(instance, "BitsStored", _number(instance, "BitsAllocated", 16))
    if _number(instance, "PixelRepresentation", 0):
        # `-` binds tighter than `<<`: two to the power of bits less one.
        return -(1 << bits - 1), (1 << bits - 1) - 1
    return 0, (1 << bits) - 1


def padding_range(instance: Dataset) -> tuple[int, int] | None:
    """Return the lowest and the highest value of padding (PS3.3 C.7.5.1.1.2); None without any.

    The element may be written US where the pixels are signed, and the reverse: 63536 is -2000. A
    range limit that is empty or damaged is none.
    """
    padding = value_of(instance, "PixelPaddingValue")
    if not isinstance(padding, int):
        return None
    limit = value_of(instance, "PixelPaddingRangeLimit")
    both = [_wrapped(each, instance) for each in (padding, limit) if isinstance(each, int)]
    return min(both), max(both)


def _wrapped(value: int, instance: Dataset) -> int:
    """Read a padding value in the sign of the pixels."""
    bits = _number(instance, "BitsAllocated", 16)
    unsigned = value % (1 << bits)
    signed = _number(instance, "PixelRepresentation", 0) == 1
    return unsigned - (1 << bits) if signed and unsigned >= 1 << bits - 1 else unsigned


def _number(instance: Dataset, keyword: str, default: int) -> int:
    value = value_of(instance, keyword)
    return default if value is None else int(value)
