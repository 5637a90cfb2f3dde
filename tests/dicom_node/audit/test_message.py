"""Audit messages as XML."""

from base64 import b64decode
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage

from dicom_node.audit import audit_event as events
from dicom_node.audit.audit_event import Study
from dicom_node.audit.instances import series_query, study_of
from dicom_node.audit.message import to_xml
from dicom_node.receive.part10 import to_part10
from tests.dicom_node.audit.schema import parsed, schema

STUDY = Study("1.2.3", {CTImageStorage: 30}, ("CT1", "ROUTER"))

EVENTS = {
    "start": events.activity(events.APPLICATION_START),
    "stop": events.activity(events.APPLICATION_STOP),
    "received": events.received(STUDY),
    "received from nobody": events.received(Study("1.2.3")),
    "sent": events.sent(STUDY, "pacs"),
    "deleted": events.deleted(STUDY),
    "deleted at a peer": events.deleted(Study("1.2.3"), "pacs"),
    "queried": events.queried(series_query("1.2.3", "1.2.4"), "pacs"),
    "refused": events.refused("EVIL", "10.0.0.1"),
    "refused in TLS": events.refused("", "fe80::1"),
}


@pytest.mark.parametrize("name", EVENTS)
def test_a_message_is_valid_by_the_schema_and_one_line(name):
    message = to_xml(EVENTS[name], "HEPAR")
    tree = parsed(message)
    assert "\n" not in message
    assert tree.find("AuditSourceIdentification").get("AuditSourceID") == "HEPAR"
    assert tree.find("ActiveParticipant").get("AlternativeUserID") == "AETITLES=HEPAR"


@pytest.mark.parametrize(
    ("name", "code", "action"),
    [
        ("start", "110100", "E"),
        ("received", "110104", "C"),
        ("sent", "110104", "R"),
        ("deleted", "110103", "D"),
        ("queried", "110112", "E"),
        ("refused", "110113", "E"),
    ],
)
def test_an_event_has_the_code_of_the_standard(name, code, action):
    event = parsed(to_xml(EVENTS[name], "HEPAR")).find("EventIdentification")
    assert event.find("EventID").get("csd-code") == code
    assert event.get("EventActionCode") == action


def test_start_stop_and_refusal_have_their_types():
    types = [
        parsed(to_xml(EVENTS[name], "HEPAR")).find(".//EventTypeCode").get("csd-code")
        for name in ("start", "stop", "refused")
    ]
    assert types == ["110120", "110121", "110126"]


def test_a_transfer_names_its_source_its_destination_and_the_study():
    tree = parsed(to_xml(EVENTS["received"], "HEPAR"))
    roles = {
        each.get("UserID"): each.find("RoleIDCode").get("csd-code")
        for each in tree.findall("ActiveParticipant")
    }
    assert roles == {"HEPAR": "110152", "CT1": "110153", "ROUTER": "110153"}
    study = tree.find("ParticipantObjectIdentification")
    assert study.get("ParticipantObjectID") == "1.2.3"
    assert dict(study.find(".//SOPClass").attrib) == {
        "UID": CTImageStorage,
        "NumberOfInstances": "30",
    }


def test_a_refused_caller_is_named_with_its_address():
    tree = parsed(to_xml(EVENTS["refused"], "HEPAR"))
    caller = tree.findall("ActiveParticipant")[1]
    assert caller.get("UserID") == "EVIL"
    assert (caller.get("NetworkAccessPointID"), caller.get("NetworkAccessPointTypeCode")) == (
        "10.0.0.1",
        "2",
    )
    assert tree.find("EventIdentification").get("EventOutcomeIndicator") == "4"


def test_a_query_holds_its_keys_encoded():
    tree = parsed(to_xml(EVENTS["queried"], "HEPAR"))
    query = b64decode(tree.find(".//ParticipantObjectQuery").text)
    keys = dcmread(BytesIO(query), force=True)
    assert (keys.StudyInstanceUID, keys.SeriesInstanceUID) == ("1.2.3", "1.2.4")


@pytest.mark.parametrize(
    "text", ['"><x/>', "a\nb", "\x00\x1b[31m", "\ud800", "\ufffe", "Miller^Anna", "ä" * 5000]
)
def test_text_from_outside_neither_breaks_nor_fills_a_message(text):
    message = to_xml(events.refused(text, "10.0.0.1"), "HEPAR")
    parsed(message)
    message.encode()
    assert "\n" not in message
    assert "Miller" not in message
    assert len(message) < 2000


def test_the_schema_refuses_what_is_not_as_the_standard_has_it():
    tree = parsed(to_xml(EVENTS["sent"], "HEPAR"))
    tree.find("EventIdentification").set("EventDateTime", "today")
    assert not schema().validate(tree)


def test_files_are_counted_by_sop_class_and_sender_and_one_that_is_gone_is_not(tmp_path):
    for number, sender in enumerate(["CT1", "CT1", "CT2"]):
        file = to_part10(b"", CTImageStorage, f"1.2.{number}", "1.2.840.10008.1.2.1", sender)
        (tmp_path / f"{number}").write_bytes(b"".join(file.pieces()))
    paths = [*sorted(tmp_path.iterdir()), tmp_path / "gone"]
    (page := tmp_path / "page.html").write_text("<!DOCTYPE html>" + 200 * " ")
    assert study_of("1.2.3", [*paths, page]) == Study("1.2.3", {CTImageStorage: 3}, ("CT1", "CT2"))


def test_a_damaged_file_is_not_counted(tmp_path):
    whole = to_part10(b"", CTImageStorage, "1.2.3", "1.2.840.10008.1.2.1", "CT1")
    content = b"".join(whole.pieces())
    (tmp_path / "whole").write_bytes(content)
    for cut in (0, 131, 150, 200):
        (tmp_path / f"{cut}").write_bytes(content[:cut])
    (tmp_path / "other").write_bytes(content.replace(b"DICM", b"DUCM"))
    found = study_of("1.2.3", sorted(tmp_path.iterdir()))
    assert found.instances[CTImageStorage] >= 1
    assert sum(found.instances.values()) < 6


def test_a_file_whose_class_has_an_unknown_vr_is_not_counted(tmp_path):
    """Found by fuzzing: pydicom raises it only when the value is asked for."""
    whole = b"".join(to_part10(b"", CTImageStorage, "1.2.3", "1.2.840.10008.1.2.1").pieces())
    (path := tmp_path / "file").write_bytes(whole.replace(b"\x02\0\x02\0UI", b"\x02\0\x02\0ZA"))
    assert study_of("1.2.3", [path]) == Study("1.2.3", {}, ())
