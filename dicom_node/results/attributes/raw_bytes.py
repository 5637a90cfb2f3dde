"""Text as the bytes of the file that it came from, past pydicom's decoding."""

from collections.abc import Iterator
from typing import Final

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.tag import BaseTag

TEXT: Final = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")
"""Value representations that Specific Character Set (0008,0005) is about."""


def view(source: Dataset) -> Dataset:
    """Return a data set of the same attributes: decoding one there leaves the source's raw.

    Private attributes are left out: pydicom decodes their group, which may have unknown VRs.
    """
    seen = Dataset()
    for tag in sorted(source.keys()):
        if not tag.is_private:
            seen[tag] = source.get_item(tag)
    return seen


def raw_text(source: Dataset) -> Iterator[tuple[BaseTag, RawDataElement]]:
    """Yield the texts of a data set that are not decoded yet, as the bytes of its file.

    pydicom decodes an attribute when it is first asked for, and replaces what it cannot decode;
    `get_item` does not ask for it.
    """
    for tag in sorted(source.keys()):
        element = source.get_item(tag)
        if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
            continue
        if (vr := _representation(element)) in TEXT:
            yield tag, element._replace(VR=vr)  # implicit VR: the element has none


def _representation(element: RawDataElement) -> str:
    """Return the VR of a raw element without decoding it; "UN" where nothing states it."""
    if element.VR:
        return element.VR
    return dictionary_VR(element.tag) if dictionary_has_tag(element.tag) else "UN"


def keep_raw_bytes(dataset: Dataset, *, implicit_vr: bool) -> None:
    """Have a data set's raw elements written as they are, at the next write.

    pydicom (3.0.1, `write_dataset`) decodes and encodes them anew where the data set did not come
    from a file of the same encoding and character set, so it is marked as if it had. What pydicom
    does for data sets that did not, finding the VR of attributes with several, is done here.
    """
    correct_ambiguous_vr(dataset, True)
    _mark(dataset, implicit_vr)
    # The one sequence whose items are given a source's bytes on purpose (`provenance`).
    for item in dataset.get("ContributingEquipmentSequence") or []:
        _mark(item, implicit_vr)


def _mark(dataset: Dataset, implicit_vr: bool) -> None:
    # `_character_set` is what pydicom compares with, and has no public name
    dataset.set_original_encoding(implicit_vr, True, dataset._character_set)
