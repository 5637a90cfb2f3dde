"""Checks of one peer that send it nothing: answer, TLS, credentials, services, SOP classes."""

import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.confirm_by import ConfirmBy
from dicom_node.deliver.dicomweb import DicomWebPeer
from dicom_node.deliver.peer_interface import Peer
from dicom_node.errors import NodeError, PeerRefused
from dicom_node.net.application_entity import accepted
from dicom_node.net.tls.certificate_files import EXPIRES_SOON_DAYS, days_left
from dicom_node.net.tls.client_tls import certificate_expiry
from dicom_node.sop_classes import STORAGE_COMMITMENT, STUDY_ROOT_FIND, sop_class_name


@dataclass(frozen=True)
class PeerFinding:
    """Result of one check."""

    check: str
    passed: bool
    message: str
    """Observation, or the fault and its remedy."""


def check_peer(peer: Peer, sop_classes: Sequence[UID] = ()) -> Iterator[PeerFinding]:
    """Yield the result of each check; the others are left out if the peer cannot be reached.

    Args:
        peer: any kind of peer.
        sop_classes: classes of the objects that it is to get; only a Storage SCP names those that
            it accepts.
    """
    reached = _passed(_reach_name(peer), peer.echo, "answers")
    yield reached
    # Also where the peer was not reached: an expired certificate may be why.
    if (expiry := _expiry(peer)) is not None:
        yield _certificate(expiry)
    if reached.passed and isinstance(peer, StorePeer):
        if sop_classes:
            yield _passed("storage", lambda: _require_classes(peer, sop_classes), "all accepted")
        yield _confirmation(peer)


def _reach_name(peer: Peer) -> str:
    if isinstance(peer, StorePeer):
        return "C-ECHO over TLS" if peer.tls else "C-ECHO"
    return "QIDO-RS" if isinstance(peer, DicomWebPeer) else "folder"


def _passed(check: str, act: Callable[[], None], message: str) -> PeerFinding:
    try:
        act()
    except NodeError as error:
        return PeerFinding(check, False, str(error))
    return PeerFinding(check, True, message)


def _require_classes(peer: StorePeer, sop_classes: Sequence[UID]) -> None:
    """Raise unless the peer accepts every class, in one of the uncompressed encodings."""
    contexts = [
        (each, syntax)
        for each in sop_classes
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    ]
    with peer.associated(contexts) as association:
        known = {sop_class for sop_class, _ in accepted(association)}
    if missing := [each for each in sop_classes if each not in known]:
        raise PeerRefused(
            f"{peer.ae_title} does not accept {', '.join(map(sop_class_name, missing))}; switch"
            " these classes on there, or take them out of objects"
        )


def _confirmation(peer: StorePeer) -> PeerFinding:
    """Check that the peer offers what its `confirm` asks for."""
    wanted = {
        ConfirmBy.COMMITMENT: [STORAGE_COMMITMENT],
        ConfirmBy.FIND: [STUDY_ROOT_FIND],
        ConfirmBy.AUTO: [STORAGE_COMMITMENT, STUDY_ROOT_FIND],
        ConfirmBy.NONE: [],
    }[peer.means]
    if not wanted:
        return PeerFinding("confirmation", True, "none: results are accepted, not verified")
    try:
        with peer.associated([(each, ImplicitVRLittleEndian) for each in wanted]) as association:
            offered = [sop_class.name for sop_class, _ in sorted(accepted(association))]
    except NodeError as error:
        auto = peer.means is ConfirmBy.AUTO and isinstance(error, PeerRefused)
        message = "refused: results would be accepted, not verified" if auto else str(error)
        return PeerFinding("confirmation", auto, message)
    return PeerFinding("confirmation", True, ", ".join(offered))


def _expiry(peer: Peer) -> datetime | None:
    """Return when the peer's certificate ends, if it has one that can be seen."""
    if isinstance(peer, StorePeer) and peer.tls:
        return certificate_expiry(peer.host, peer.port, peer.tls)
    if isinstance(peer, DicomWebPeer) and (parts := urlsplit(peer.url)).scheme == "https":
        context: ssl.SSLContext = peer.tls.context()
        return certificate_expiry(parts.hostname or "", parts.port or 443, context)
    return None


def _certificate(expiry: datetime) -> PeerFinding:
    days = days_left(expiry)
    message = f"valid until {expiry:%Y-%m-%d}, {days} days"
    soon = days < EXPIRES_SOON_DAYS
    return PeerFinding("certificate", not soon, message + ("; renew it in the peer" * soon))
