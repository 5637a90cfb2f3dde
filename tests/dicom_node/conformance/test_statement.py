"""The conformance statement says what the code does."""

from functools import cache
from pathlib import Path

import pytest
from pydicom.datadict import keyword_for_tag
from pydicom.uid import UID
from pynetdicom import AE
from pynetdicom.presentation import build_context

from dicom_node.conformance.attributes import rows
from dicom_node.conformance.examples import examples
from dicom_node.conformance.network import accepted_table
from dicom_node.conformance.notes import NOTES, notes_on
from dicom_node.conformance.statement import statement
from dicom_node.receive.scp import RECEIVED, Limits, receiver
from dicom_node.results.objects import Encoding, ObjectKind

FILE = Path(__file__).resolve().parents[3] / "docs" / "conformance.md"


drawn = cache(examples)
"""Each is made once for all tests here."""


@pytest.fixture(scope="module")
def seg():
    """Keyword of a top-level attribute to presence, source and value."""
    return {
        keyword_for_tag(row.path[0]): row.cells[3:]
        for row in rows(drawn(ObjectKind.SEG), notes_on(ObjectKind.SEG))
        if len(row.path) == 1
    }


def test_the_file_is_what_the_code_says(monkeypatch):
    monkeypatch.setattr("dicom_node.conformance.statement.examples", drawn)
    assert FILE.read_text() == statement(), "run `make docs` and look at what has changed"


def test_what_is_the_patient_s_is_copied_and_never_invented(seg):
    for keyword in ("PatientName", "PatientID", "StudyDate", "AccessionNumber"):
        assert seg[keyword] == ("VNAP", "COPY", "")
    assert seg["StudyDescription"] == ("ANAP", "COPY", "")


def test_what_is_always_the_same_is_told(seg):
    assert seg["Modality"] == ("ALWAYS", "FIXED", "SEG")
    assert seg["SegmentationType"] == ("ALWAYS", "FIXED", "BINARY")
    told = "the source's times 1000000, plus 0 and five digits of the UID"
    assert seg["SeriesNumber"] == ("ALWAYS", "AUTO", told)


def test_every_note_is_on_an_attribute_that_there_is():
    made = [drawn(kind) for kind in ObjectKind] + [drawn(ObjectKind.SEG, Encoding.LABELMAP)]
    told = {keyword_for_tag(row.path[-1]) for each in made for row in rows(each, {})}
    assert set(NOTES) <= told


def test_what_it_says_is_accepted_is_accepted():
    told = [UID(line.split("`")[1]) for line in accepted_table().splitlines()[2:]]
    server = receiver("HEPAR", Limits(stored=RECEIVED)).start_server(("127.0.0.1", 0), block=False)
    try:
        host, port = server.socket.getsockname()
        association = AE().associate(host, port, [build_context(each) for each in told])
        assert {each.abstract_syntax for each in association.accepted_contexts} == set(told)
        association.release()
    finally:
        server.shutdown()
