"""Events that an audit trail holds, and the codes of DICOM for them (PS3.15 A.5.3, PS3.16 D)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, StrEnum


@dataclass(frozen=True)
class Code:
    """A coded value."""

    value: str
    meaning: str
    scheme: str = "DCM"


class Action(StrEnum):
    """What was done to the objects of an event."""

    CREATE, READ, UPDATE, DELETE, EXECUTE = "C", "R", "U", "D", "E"


class Severity(StrEnum):
    """Outcome of an event."""

    SUCCESS, MINOR, SERIOUS, MAJOR = "0", "4", "8", "12"


class Kind(Enum):
    """Kinds of events that this node reports."""

    APPLICATION_ACTIVITY = Code("110100", "Application Activity")
    INSTANCES_ACCESSED = Code("110103", "DICOM Instances Accessed")
    INSTANCES_TRANSFERRED = Code("110104", "DICOM Instances Transferred")
    QUERY = Code("110112", "Query")
    SECURITY_ALERT = Code("110113", "Security Alert")


APPLICATION_START = Code("110120", "Application Start")
APPLICATION_STOP = Code("110121", "Application Stop")
NODE_AUTHENTICATION = Code("110126", "Node Authentication")
SOFTWARE_CONFIGURATION = Code("110131", "Software Configuration")

APPLICATION = Code("110150", "Application")
DESTINATION = Code("110152", "Destination Role ID")
SOURCE = Code("110153", "Source Role ID")


@dataclass(frozen=True)
class Participant:
    """A system that took part in an event, other than this node."""

    user: str
    """Its AE title, its name in the configuration, or its address."""
    role: Code | None = None
    requestor: bool = False
    """Whether it began the event."""
    address: str = ""
    """IP address, where it is known."""


@dataclass(frozen=True)
class Study:
    """Instances of one study."""

    uid: str
    instances: Mapping[str, int] = field(default_factory=dict)
    """Number of instances by SOP Class UID."""
    senders: tuple[str, ...] = ()
    """AE titles from which the instances came, as far as they are known."""


@dataclass(frozen=True)
class QueriedSopClass:
    """A query."""

    uid: str
    """SOP Class UID."""
    identifier: bytes
    """Identifier of the query, encoded."""
    transfer_syntax: str
    """In which it is encoded."""


@dataclass(frozen=True)
class AuditEvent:
    """An event; the node itself always takes part in it."""

    kind: Kind
    action: Action
    role: Code | None = None
    """Role of this node."""
    requestor: bool = False
    """Whether this node began the event."""
    detail: Code | None = None
    """Type of the event."""
    others: tuple[Participant, ...] = ()
    objects: tuple[Study | QueriedSopClass, ...] = ()
    severity: Severity = Severity.SUCCESS
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


def activity(detail: Code) -> AuditEvent:
    """Return the event that the node starts or stops."""
    return AuditEvent(Kind.APPLICATION_ACTIVITY, Action.EXECUTE, APPLICATION, detail=detail)


def received(study: Study) -> AuditEvent:
    """Return the event that a series came in."""
    senders = study.senders or ("unknown",)
    sources = tuple(Participant(each, SOURCE, requestor=True) for each in senders)
    return AuditEvent(
        Kind.INSTANCES_TRANSFERRED, Action.CREATE, DESTINATION, others=sources, objects=(study,)
    )


def sent(study: Study, peer: str) -> AuditEvent:
    """Return the event that instances were accepted by a peer."""
    return AuditEvent(
        Kind.INSTANCES_TRANSFERRED,
        Action.READ,
        SOURCE,
        requestor=True,
        others=(Participant(peer, DESTINATION),),
        objects=(study,),
    )


def deleted(study: Study, peer: str = "") -> AuditEvent:
    """Return the event that the node removed its copies of instances, or had a peer's removed."""
    return AuditEvent(
        Kind.INSTANCES_ACCESSED,
        Action.DELETE,
        APPLICATION,
        requestor=True,
        others=(Participant(peer),) if peer else (),
        objects=(study,),
    )


def queried(query: QueriedSopClass, peer: str) -> AuditEvent:
    """Return the event that the node asked an archive."""
    return AuditEvent(
        Kind.QUERY,
        Action.EXECUTE,
        SOURCE,
        requestor=True,
        others=(Participant(peer, DESTINATION),),
        objects=(query,),
    )


def model_changed() -> AuditEvent:
    """Return the event that a person changed which model serves (PS3.15 A.5.3.11)."""
    return AuditEvent(
        Kind.SECURITY_ALERT,
        Action.EXECUTE,
        APPLICATION,
        requestor=True,
        detail=SOFTWARE_CONFIGURATION,
    )


def refused(caller: str, address: str) -> AuditEvent:
    """Return the event that a caller could not prove that it may call."""
    return AuditEvent(
        Kind.SECURITY_ALERT,
        Action.EXECUTE,
        APPLICATION,
        detail=NODE_AUTHENTICATION,
        others=(Participant(caller or address, requestor=True, address=address),),
        severity=Severity.MINOR,
    )
