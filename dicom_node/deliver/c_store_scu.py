"""A Storage SCP as a peer: stored by C-STORE, confirmed as `confirm` says."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from pynetdicom.association import Association

from dicom_node.deliver.confirm_by import ConfirmBy
from dicom_node.deliver.confirmation import Confirmation, confirm_by
from dicom_node.deliver.sop_reference import read_reference
from dicom_node.errors import NodeError, PeerRefused, PeerSilent, PeerUnavailable
from dicom_node.net.application_entity import ApplicationEntity, Context, accepted
from dicom_node.net.commitments import Commitments
from dicom_node.net.status import COERCED, DUPLICATE_INSTANCE, error_for_status, is_stored
from dicom_node.sop_classes import VERIFICATION

UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""Every node accepts the second (PS3.5 10.1); what is in the first can be written in it."""

CONVERTED = (*UNCOMPRESSED, RLELossless)
"""Encodings of results that are replaced where the peer does not accept them."""

SLOWEST_BYTES_PER_S = 50_000
"""Slowest link that is waited for; pynetdicom times the answer from the first byte sent."""


def _ignore(_: int) -> None:
    pass


@dataclass(frozen=True)
class StorePeer(ApplicationEntity):
    """A Storage SCP."""

    means: ConfirmBy = ConfirmBy.AUTO
    """Means of confirmation."""
    commitments: Commitments = field(default_factory=Commitments, repr=False, compare=False)
    """Shared with the receiver: a report may come on an association of its own."""

    def send(self, path: Path) -> str:
        """Store one object, in another encoding where the peer does not accept its own.

        Explicit and implicit VR stand in for one another, and both for RLE, which loses nothing.
        """
        sop_class, syntax = _context(path)
        # Not a set: its own encoding is to be asked for first.
        syntaxes = dict.fromkeys((syntax, *UNCOMPRESSED)) if syntax in CONVERTED else (syntax,)
        # A context for each, as the peer picks one encoding out of a context (PS3.8 9.3.3.2), and
        # its choice would be unknown before.
        asked = [(sop_class, each) for each in syntaxes]
        with self.associated(asked) as association:
            status = self._store(association, path)
        return "warning 0xB000: some values were replaced" if status == COERCED else ""

    def confirm(self, path: Path) -> Confirmation:
        """Ask whether the peer keeps an object that it accepted."""
        return confirm_by(self.means, self, read_reference(path), self.commitments)

    def send_many(self, paths: Sequence[Path], progress: Callable[[int], None] = _ignore) -> None:
        """Store objects over one association, each in the encoding it has.

        Args:
            paths: DICOM files.
            progress: called with the number of objects stored so far.

        Raises:
            PeerUnavailable: what was stored until then stays with the peer.
            PeerRefused: names the encodings that were not accepted, before anything is sent; or
                the peer refused an object.
        """
        asked = sorted({_context(path) for path in paths})
        with self.associated(asked) as association:
            self._require_accepted(association, asked)
            for count, path in enumerate(paths, start=1):
                try:
                    self._store(association, path)
                except (PeerRefused, PeerUnavailable) as error:
                    where = f"at {path}, after {count - 1} of {len(paths)}"
                    raise type(error)(f"{error}; {where}") from error
                progress(count)

    def send_each(self, paths: Sequence[Path]) -> Iterator[tuple[Path, NodeError | None]]:
        """Store what the peer accepts, and yield each file with the error that it met, or None.

        Raises:
            PeerUnavailable, PeerRefused: there is no association with the peer at all.
        """
        waiting = []
        for path in paths:
            try:
                waiting.append((_context(path), path))
            except PeerRefused as error:
                yield path, error
        while waiting:
            with self.associated(sorted({context for context, _ in waiting})) as association:
                while waiting:
                    # Taken out before it is sent: an object that ends each association is not met
                    # twice.
                    context, path = waiting.pop(0)
                    failure = self._failure(association, context, path)
                    yield path, failure
                    if isinstance(failure, PeerSilent):
                        break  # the association is gone; the rest goes over another one

    def _failure(self, association: Association, context: Context, path: Path) -> NodeError | None:
        if context not in accepted(association):
            return self.unaccepted([context])
        try:
            self._store(association, path)
        except (PeerRefused, PeerUnavailable) as error:
            return error
        return None

    def echo(self) -> None:
        """Return if the peer answers a C-ECHO."""
        with self.associated([(VERIFICATION, ImplicitVRLittleEndian)]) as association:
            self._check(association, association.send_c_echo())

    def _require_accepted(self, association: Association, contexts: Collection[Context]) -> None:
        if missing := set(contexts) - accepted(association):
            raise self.unaccepted(missing)

    def _store(self, association: Association, path: Path) -> int:
        """Return the status of an object that the peer stored, or had already."""
        as_it_is = _context(path) in accepted(association)
        # For each object anew: a page of 2 kB need not be waited for like a SEG of 200 MB.
        association.dimse_timeout = self.answer_s + path.stat().st_size / SLOWEST_BYTES_PER_S
        try:
            answer = association.send_c_store(path if as_it_is else _uncompressed(path))
        except RuntimeError as error:  # the peer aborted since the object before
            raise self.silent(association) from error
        return self._check(association, answer)

    def _check(self, association: Association, answer: Dataset) -> int:
        """Return the status in an answer, a group of command elements.

        Raises:
            PeerUnavailable, PeerRefused: it is a failure, or there is none.
        """
        if "Status" not in answer:  # pynetdicom's sign of a timeout or an abort
            raise self.silent(association)
        status = int(answer.Status)
        # A duplicate is what a second attempt meets whose first had been stored; `confirm` looks.
        if not is_stored(status) and status != DUPLICATE_INSTANCE:
            raise error_for_status(self.name, status, str(answer.get("ErrorComment", "")))
        return status


def _uncompressed(path: Path) -> Dataset:
    instance = dcmread(path)
    if instance.file_meta.TransferSyntaxUID.is_compressed:
        instance.decompress(generate_instance_uid=False)  # the same object, to the bit
    return instance


def _context(path: Path) -> Context:
    try:
        meta = read_file_meta_info(path)
        uids = (meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
        instance = meta.MediaStorageSOPInstanceUID
    except (InvalidDicomError, AttributeError) as error:
        raise PeerRefused(f"{path} is not a DICOM file: {error}") from error
    if not (all(uids) and instance):
        raise PeerRefused(f"{path} has a blank UID; give it SOP class, instance and syntax")
    return UID(uids[0]), UID(uids[1])
