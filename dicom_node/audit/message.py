"""DICOM audit messages: an event as XML in the schema of PS3.15 A.5.1."""

import re
from base64 import b64encode
from datetime import UTC
from ipaddress import ip_address
from xml.etree.ElementTree import Element, SubElement, tostring

from dicom_node.audit.audit_event import AuditEvent, Code, Participant, QueriedSopClass, Study
from dicom_node.outside_text import outside_text

STUDY_UID = Code("110180", "Study Instance UID")
SOP_CLASS_UID = Code("110181", "SOP Class UID")

SYSTEM_OBJECT, REPORT_ROLE = "2", "3"
"""Participant Object Type Code and Role of a study, and of a query (PS3.15 A.5.3)."""
IP_ADDRESS, MACHINE_NAME = "2", "1"
"""Network Access Point Type Codes."""
APPLICATION_SERVER = "4"
"""Audit Source Type Code."""

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even as references."""


def to_xml(event: AuditEvent, node: str) -> str:
    """Return an audit message in one line.

    Args:
        event: what happened.
        node: AE title of this node.
    """
    message = Element("AuditMessage")
    _add_event(message, event)
    # The form that PS3.15 A.5.2 has for AE titles.
    _add_participant(message, Participant(node, event.role, event.requestor), f"AETITLES={node}")
    for other in event.others:
        _add_participant(message, other)
    source = SubElement(message, "AuditSourceIdentification", AuditSourceID=_text(node))
    SubElement(source, "AuditSourceTypeCode", {"csd-code": APPLICATION_SERVER})
    for each in event.objects:
        if isinstance(each, Study):
            _add_study(message, each)
        else:
            _add_query(message, each)
    return tostring(message, encoding="unicode")


def _add_event(message: Element, event: AuditEvent) -> None:
    identification = SubElement(
        message,
        "EventIdentification",
        EventActionCode=event.action,
        EventDateTime=event.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        EventOutcomeIndicator=event.severity,
    )
    _add_code(identification, "EventID", event.kind.value)
    if event.detail:
        _add_code(identification, "EventTypeCode", event.detail)


def _add_participant(message: Element, participant: Participant, alternative: str = "") -> None:
    attributes = {
        "UserID": _text(participant.user),
        "UserIsRequestor": str(participant.requestor).lower(),
    }
    if alternative:
        attributes["AlternativeUserID"] = _text(alternative)
    if participant.address:
        attributes["NetworkAccessPointID"] = _text(participant.address)
        attributes["NetworkAccessPointTypeCode"] = _access_point_type(participant.address)
    element = SubElement(message, "ActiveParticipant", attributes)
    if participant.role:
        _add_code(element, "RoleIDCode", participant.role)


def _add_study(message: Element, study: Study) -> None:
    element = _add_object(message, study.uid, STUDY_UID)
    # The schema asks for a name or a query (PS3.15 A.5.1); empty, as a name could be a patient's.
    SubElement(element, "ParticipantObjectName").text = ""
    description = SubElement(element, "ParticipantObjectDescription")
    for sop_class, count in sorted(study.instances.items()):
        SubElement(description, "SOPClass", UID=_text(sop_class), NumberOfInstances=str(count))


def _add_query(message: Element, query: QueriedSopClass) -> None:
    element = _add_object(message, query.uid, SOP_CLASS_UID)
    identifier = SubElement(element, "ParticipantObjectQuery")
    identifier.text = b64encode(query.identifier).decode()
    syntax = b64encode(query.transfer_syntax.encode()).decode()
    SubElement(element, "ParticipantObjectDetail", type="TransferSyntax", value=syntax)


def _add_object(message: Element, uid: str, kind: Code) -> Element:
    element = SubElement(
        message,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_text(uid),
        ParticipantObjectTypeCode=SYSTEM_OBJECT,
        ParticipantObjectTypeCodeRole=REPORT_ROLE,
    )
    _add_code(element, "ParticipantObjectIDTypeCode", kind)
    return element


def _add_code(above: Element, name: str, code: Code) -> None:
    attributes = {"csd-code": code.value, "codeSystemName": code.scheme}
    SubElement(above, name, {**attributes, "originalText": code.meaning})


def _access_point_type(address: str) -> str:
    try:
        ip_address(address)
    except ValueError:
        return MACHINE_NAME
    return IP_ADDRESS


def _text(text: str) -> str:
    """Return text from outside as one line of characters that XML can hold."""
    return _NOT_XML.sub("?", outside_text(text))
