"""A DICOM node that takes objects by C-STORE."""

import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import build_context

from dicom_node.errors import PeerRefused, PeerUnavailable
from dicom_node.peers.answers import failure, is_stored

Context = tuple[UID, UID]
"""SOP class and transfer syntax."""

VERIFICATION = UID("1.2.840.10008.1.1")
"""SOP class of C-ECHO (PS3.4 A.4)."""

UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""Every node takes the second (PS3.5 10.1); what is in the first can be told in it."""

TRANSIENT_REJECTION = 2
"""Result of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""

_config.STORE_SEND_CHUNKED_DATASET = True  # a path is sent as the bytes that lie there


def _ignore(_: int) -> None:
    pass


@dataclass(frozen=True)
class StorePeer:
    """A Storage SCP."""

    name: str
    ae_title: str
    host: str
    port: int
    calling_ae_title: str = "HEPAR"
    connect_s: float = 10
    """Time to reach the host."""
    negotiate_s: float = 30
    """Time to agree on an association, and to release it."""
    answer_s: float = 60
    """Time for the answer to one object."""

    def send(self, path: Path) -> None:
        """Store one object, in the other value representation where the peer takes only that."""
        sop_class, syntax = _context(path)
        syntaxes = UNCOMPRESSED if syntax in UNCOMPRESSED else (syntax,)
        asked = [(sop_class, each) for each in syntaxes]
        with self._associated(asked) as association:
            as_it_is = (sop_class, syntax) in _accepted(association)
            self._store(association, path if as_it_is else dcmread(path))

    def send_many(self, paths: Sequence[Path], progress: Callable[[int], None] = _ignore) -> None:
        """Store objects over one association, each in the encoding it has.

        Args:
            paths: DICOM files.
            progress: called with the number of objects stored so far.

        Raises:
            PeerUnavailable: what was stored until then stays with the peer.
            PeerRefused: names the encodings that were not accepted, before anything is sent; or
                the peer did not want an object.
        """
        asked = sorted({_context(path) for path in paths})
        with self._associated(asked) as association:
            self._require_accepted(association, asked)
            for count, path in enumerate(paths, start=1):
                self._store(association, path)
                progress(count)

    def echo(self) -> None:
        """Return if the peer answers a C-ECHO."""
        with self._associated([(VERIFICATION, ImplicitVRLittleEndian)]) as association:
            self._check(association.send_c_echo())

    @contextmanager
    def _associated(self, contexts: Sequence[Context]) -> Iterator[Association]:
        entity = AE(self.calling_ae_title)
        entity.maximum_pdu_size = 0  # no limit; 1.7 times faster than the default
        entity.connection_timeout = self.connect_s
        entity.acse_timeout = self.negotiate_s
        entity.dimse_timeout = entity.network_timeout = self.answer_s
        association = entity.associate(
            self.host,
            self.port,
            contexts=[build_context(*context) for context in contexts],
            ae_title=self.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once)],
        )
        try:
            self._require_established(association, contexts)
            yield association
        finally:
            if association.is_established:
                association.release()

    def _require_established(self, association: Association, asked: Sequence[Context]) -> None:
        if association.is_established:
            return
        answer = association.acceptor.primitive
        if association.is_rejected and answer:
            raise self._rejection(answer)
        if association.rejected_contexts and not association.accepted_contexts:
            raise self._unaccepted(set(asked))
        raise PeerUnavailable(
            f"{self.name}: no association with {self.ae_title} at {self.host}:{self.port};"
            " check that it runs, and the address"
        )

    def _rejection(self, answer: A_ASSOCIATE) -> PeerUnavailable | PeerRefused:
        """Tell a full peer from one that does not know us (PS3.8 table 9-21)."""
        said = (
            f"{self.name}: {self.ae_title} at {self.host}:{self.port} rejected the association of"
            f" {self.calling_ae_title}: {answer.reason_str}"
        )
        if answer.result == TRANSIENT_REJECTION:
            return PeerUnavailable(said)
        return PeerRefused(f"{said}; make the two AE titles known to the peer")

    def _unaccepted(self, contexts: Collection[Context]) -> PeerRefused:
        wanted = ", ".join(f"{kind.name} as {syntax.name}" for kind, syntax in sorted(contexts))
        return PeerRefused(
            f"{self.name}: {self.ae_title} at {self.host}:{self.port} does not accept {wanted};"
            " allow it there"
        )

    def _require_accepted(self, association: Association, contexts: Collection[Context]) -> None:
        if missing := set(contexts) - _accepted(association):
            raise self._unaccepted(missing)

    def _store(self, association: Association, content: Path | Dataset) -> None:
        try:
            status = association.send_c_store(content)
        except RuntimeError as error:  # the peer aborted since the object before
            raise self._silent() from error
        self._check(status)

    def _check(self, status: Dataset) -> None:
        """Raise unless `status`, a group of command elements, says that all is well."""
        if "Status" not in status:  # pynetdicom's way to say timeout or abort
            raise self._silent()
        if not is_stored(status.Status):
            raise failure(self.name, status.Status, status.get("ErrorComment", ""))

    def _silent(self) -> PeerUnavailable:
        return PeerUnavailable(
            f"{self.name}: {self.ae_title} at {self.host}:{self.port} broke off, or gave no answer"
            f" within {self.answer_s:g} s"
        )


def _context(path: Path) -> Context:
    try:
        meta = read_file_meta_info(path)
        uids = (meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
        instance = meta.MediaStorageSOPInstanceUID
    except (InvalidDicomError, AttributeError) as error:
        raise PeerRefused(f"{path} is no DICOM file: {error}") from error
    if not (all(uids) and instance):
        raise PeerRefused(f"{path} has a blank UID; give it SOP class, instance and syntax")
    return UID(uids[0]), UID(uids[1])


def _accepted(association: Association) -> set[Context]:
    return {
        (UID(context.abstract_syntax), UID(context.transfer_syntax[0]))
        for context in association.accepted_contexts
        if context.abstract_syntax
    }


def _send_at_once(event: evt.Event) -> None:
    """Turn off Nagle's algorithm, which holds back the tail of each object for 40 ms."""
    connection = event.assoc.dul.socket
    if connection and connection.socket:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
