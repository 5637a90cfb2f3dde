"""The codes that segments and reports use."""

from collections.abc import Iterable, Iterator, Mapping

from pydicom.sr.coding import Code

from dicom_node.conformance.markdown import code, table
from dicom_node.results.attributes import codes
from dicom_node.results.attributes.segment_description import FINDINGS


def code_table() -> str:
    """Return every code, each once, by scheme."""
    known = {(each.scheme_designator, each.value, each.meaning) for each in _codes()}
    return table(
        ("Scheme", "Code", "Meaning"),
        ((scheme, code(value), meaning) for scheme, value, meaning in sorted(known)),
    )


def segment_table() -> str:
    """Return what each segment is called."""
    return table(
        (
            "Number",
            "Segment Label",
            "Category",
            "Type",
            "Anatomic region",
            "Display CIELab",
            "Meaning",
        ),
        (
            (
                int(label),
                each.name,
                _as_text(each.category),
                _as_text(each.kind),
                _as_text(each.region) if each.region else "",
                "\\".join(map(str, each.colour.value)),
                each.meaning,
            )
            for label, each in FINDINGS.items()
        ),
    )


def _codes() -> Iterator[Code]:
    yield from _in(vars(codes).values())
    for finding in FINDINGS.values():
        yield from _in((finding.category, finding.kind, finding.region))


def _in(values: Iterable[object]) -> Iterator[Code]:
    for value in values:
        if isinstance(value, Code):
            yield value
        elif isinstance(value, Mapping):
            yield from _in(value.values())


def _as_text(each: Code) -> str:
    return f"({each.value}, {each.scheme_designator}, {each.meaning})"
