"""Errors of the node.

NodeError
├── BadConfiguration     the configuration cannot be read, or has an unknown key
├── RejectedInstance     an instance is not kept; carries the status for the sender
├── UnsupportedSeries    the instances do not form one volume that can be segmented
├── UnreadableDrawing    a SEG that someone else made cannot be put on its series
├── NothingFound         the series shows no liver, so there is nothing to send
├── SegMismatch          the SEG read back differs from its label map or its source
├── ResultMismatch       another result read back differs from what it was made of
├── PeerUnavailable      transient: a peer does not answer now
│   ├── GatewayAway      transient: the gateway that holds files of a cluster does not answer now
│   ├── PeerSilent       transient: a peer accepted the association, then aborted or stayed silent
│   └── BadCredentials   transient, a few times: a peer refuses the user, password or token
├── NotHeld              a gateway of a cluster does not hold a file any more
├── NotKept              transient: a peer reports that it does not have what it was sent
│   └── NotFoundYet      transient: a search does not show what the peer was sent
├── PeerRefused          a peer answered, and refuses the object
│   ├── ServiceRefused   a peer does not offer the service that it was asked for
│   └── CredentialsRefused  a peer refused the credentials again and again
├── NotFindable          a peer accepted an object more than once, and it cannot be found there
├── Unforeseen           anything else that ended a job; its own words are not repeated
├── DiedOfIt             the node has died too often while it worked on this series alone
├── SourceChanged        instances of a series came again while it was computed
├── ResultPending        a correction came before the result that it may correct
├── TooManyCorrections   so many corrections wait that another has no room
├── BadUpload            an upload at the page cannot be tried
│   ├── TooLargeUpload   it is larger than uploads may be, as it comes or unpacked
│   └── NoRoomForUpload  the disk, or the list of those that wait, has no room for it
├── UnknownTryout        no upload is kept under this name
├── UnknownJob           the workflow store has no such job, or no job at all
├── StoreUnusable        the workflow store cannot be opened, read or written
└── AlreadyRunning       another node uses the same data folder or port
"""

import errno
from collections.abc import Iterator
from enum import IntEnum
from typing import ClassVar

NO_ROOM = {errno.ENOSPC, errno.EDQUOT}


class StoreStatus(IntEnum):
    """Statuses that answer a C-STORE request (PS3.4 B.2.3, PS3.7 C)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    INVALID_OBJECT_INSTANCE = 0x0117
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NOT_AUTHORISED = 0x0124
    OUT_OF_RESOURCES = 0xA700
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    CANNOT_UNDERSTAND = 0xC000


class NodeError(Exception):
    """Base of every error that the node raises on purpose."""

    transient: ClassVar[bool] = False
    """Whether the same call may succeed later without anyone's help."""
    exit_code: ClassVar[int] = 1
    """Exit status of a command that this error ends."""


class BadConfiguration(NodeError):
    """The configuration cannot be read, or holds a value that is not valid."""

    exit_code = 2


class RejectedInstance(NodeError):
    """An instance is not kept; `status` is the answer to the sender."""

    def __init__(self, message: str, status: StoreStatus) -> None:
        super().__init__(message)
        self.status = status


class UnsupportedSeries(NodeError):
    """The instances do not form one volume that can be segmented."""


class UnreadableDrawing(NodeError):
    """A SEG that someone else made cannot be put on the series it was drawn on."""


class NothingFound(NodeError):
    """The series shows no liver, so there is nothing to send."""


class SegMismatch(NodeError):
    """The SEG read back differs from its label map or its source."""


class ResultMismatch(NodeError):
    """A result other than the SEG, read back, differs from what it was made of."""


class PeerUnavailable(NodeError):
    """A peer does not answer now; `wait_s` is the pause that it asked for, if it did."""

    transient = True

    def __init__(self, message: str = "", wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class PeerSilent(PeerUnavailable):
    """A peer accepted the association, then aborted or stayed silent."""


class BadCredentials(PeerUnavailable):
    """A peer refuses the user, password or token; a token may be renewed meanwhile."""


class GatewayAway(PeerUnavailable):
    """The gateway that holds files cannot be reached, or sends other bytes than it announced."""


class NotHeld(NodeError):
    """A gateway does not hold a file any more."""


class NotKept(NodeError):
    """A peer reports that it does not have what it was sent."""

    transient = True


class NotFoundYet(NotKept):
    """A search does not show what the peer was sent; it may be indexed late."""


class PeerRefused(NodeError):
    """A peer answered, and refuses the object."""


class ServiceRefused(PeerRefused):
    """A peer does not offer the service that it was asked for."""


class CredentialsRefused(PeerRefused):
    """A peer refused the credentials again and again."""


class NotFindable(NodeError):
    """A peer accepted an object more than once, and it cannot be found there."""


class Unforeseen(NodeError):
    """Anything else that ended a job; its own words are not repeated, for they may quote a file."""


class DiedOfIt(NodeError):
    """The node has died too often while it worked on this series alone."""


class SourceChanged(NodeError):
    """Instances of a series came again while it was computed."""


class ResultPending(NodeError):
    """A correction came before the result that it may correct."""


class TooManyCorrections(NodeError):
    """So many corrections wait to be compared that another has no room."""


class BadUpload(NodeError):
    """An upload at the page cannot be tried."""


class TooLargeUpload(BadUpload):
    """An upload is larger than uploads may be, as it comes or unpacked."""


class NoRoomForUpload(BadUpload):
    """The disk, or the list of those that wait, has no room for an upload."""


class UnknownTryout(NodeError):
    """No upload is kept under this name."""


class UnknownJob(NodeError):
    """The workflow store has no such job, or no job at all."""

    exit_code = 2


class StoreUnusable(NodeError):
    """The workflow store cannot be opened, read or written."""

    exit_code = 2


class AlreadyRunning(NodeError):
    """Another node uses the same data folder or port."""

    exit_code = 2


def lacks_room(error: BaseException) -> bool:
    """Return whether an error comes of a full disk, a used-up quota or a full job store."""
    return any(
        (isinstance(each, OSError) and each.errno in NO_ROOM)
        or "database or disk is full" in str(getattr(each, "orig", ""))  # SQLITE_FULL
        for each in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
