"""Associations that this node opens with a DICOM application entity."""

import ssl
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import EventHandlerType
from pynetdicom.pdu_primitives import A_ASSOCIATE, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_context

from dicom_node.errors import PeerSilent, PeerUnavailable, ServiceRefused
from dicom_node.net.connection import prepare_connection
from dicom_node.net.pynetdicom_settings import configure_pynetdicom
from dicom_node.net.reactor import install_reactor_pause
from dicom_node.net.shutdown import SETTLE_S, close_connection
from dicom_node.net.tls.client_tls import handshake_failure, speaks_tls
from dicom_node.sop_classes import sop_class_name

Context = tuple[UID, UID]
"""SOP class and transfer syntax."""

ANSWER_BYTES = 1 << 24
"""Longest PDU that is read from a peer."""

TRANSIENT_REJECTION = 2
"""Result of an A-ASSOCIATE-RJ (PS3.8 9.3.4)."""


@dataclass(frozen=True)
class ApplicationEntity:
    """An application entity at an address."""

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
    """Time for the answer to one message; an object gets more, by its size."""
    tls: ssl.SSLContext | None = None
    """Encrypts the association, if given; it also decides how the peer proves its identity."""

    @contextmanager
    def associated(
        self,
        contexts: Sequence[Context],
        handlers: Sequence[EventHandlerType] = (),
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    ) -> Iterator[Association]:
        """Hold an association open while the block lasts, with at least one context accepted.

        Raises:
            PeerUnavailable: nothing answers at the address, or the peer is busy.
            ServiceRefused: the peer rejects this AE title, or accepts none of the contexts.
        """
        configure_pynetdicom()
        entity = AE(self.calling_ae_title)
        entity.maximum_pdu_size = 0  # no limit; 1.7 times faster than the default
        entity.connection_timeout = self.connect_s
        entity.acse_timeout = self.negotiate_s
        entity.dimse_timeout = entity.network_timeout = self.answer_s
        association = self._request(entity, contexts, handlers, roles)
        try:
            self._require_established(association, contexts)
            yield association
        except PeerSilent:
            association.join(SETTLE_S)  # its thread may not yet have noticed that the peer aborted
            raise
        finally:
            # Without its reader no answer to a release could arrive.
            if association.is_established and association.dul.is_alive():
                _release(association)
            close_connection(association)  # also where the thread that should have done so has died

    def _request(
        self,
        entity: AE,
        contexts: Sequence[Context],
        handlers: Sequence[EventHandlerType],
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation],
    ) -> Association:
        """Ask for an association and return it, agreed on or not.

        Raises:
            PeerUnavailable: the name of the host has no address.
        """
        try:
            return entity.associate(
                self.host,
                self.port,
                contexts=[build_context(*context) for context in contexts],
                ae_title=self.ae_title,
                ext_neg=list(roles),
                # The host as it is configured, which the certificate must name.
                tls_args=(self.tls, self.host) if self.tls else None,
                evt_handlers=[
                    (evt.EVT_CONN_OPEN, prepare_connection, [self.answer_s, ANSWER_BYTES]),
                    (evt.EVT_CONN_OPEN, install_reactor_pause),
                    *handlers,
                ],
            )
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise PeerUnavailable(
                f"{self.name}: the host {self.host} cannot be found: {reason}; check its name, and"
                " the DNS of this machine"
            ) from error

    def unaccepted(self, contexts: Collection[Context]) -> ServiceRefused:
        """Return the error of a peer that does not accept these contexts."""
        wanted = ", ".join(
            f"{sop_class_name(kind)} as {syntax.name}" for kind, syntax in sorted(contexts)
        )
        return ServiceRefused(
            f"{self.name}: {self.ae_title} at {self.host}:{self.port} does not accept {wanted};"
            " allow it there"
        )

    def silent(self, association: Association) -> PeerSilent:
        """Return the error of a peer that gave no answer on an open association."""
        return PeerSilent(
            f"{self.name}: {self.ae_title} at {self.host}:{self.port} aborted, or gave no answer"
            f" within {association.dimse_timeout:.3g} s"
        )

    def _require_established(self, association: Association, asked: Sequence[Context]) -> None:
        if association.is_established:
            return
        answer = association.acceptor.primitive
        if association.is_rejected and answer:
            raise self._rejection(answer)
        # pynetdicom aborts such an association by itself, which looks like a peer that is away.
        if association.rejected_contexts and not association.accepted_contexts:
            raise self.unaccepted(set(asked))
        raise PeerUnavailable(
            f"{self.name}: no association with {self.ae_title} at {self.host}:{self.port};"
            f" {self._advice()}"
        )

    def _advice(self) -> str:
        """Return a remedy for a peer that does not answer an association request."""
        if self.tls:
            # Asked anew: of the handshake that failed, pynetdicom keeps no reason.
            reason = handshake_failure(self.host, self.port, self.tls)
            return reason or "check that it runs, and the address"
        if speaks_tls(self.host, self.port):
            return "it expects TLS: set tls = true"
        return "check that it runs, and the address"

    def _rejection(self, answer: A_ASSOCIATE) -> PeerUnavailable | ServiceRefused:
        """Return the error for a full peer, or for one that rejects us (PS3.8 table 9-21)."""
        message = (
            f"{self.name}: {self.ae_title} at {self.host}:{self.port} rejected the association of"
            f" {self.calling_ae_title}: {answer.reason_str}"
        )
        if answer.result == TRANSIENT_REJECTION:
            return PeerUnavailable(message)
        return ServiceRefused(f"{message}; register both AE titles in the peer")


def _release(association: Association) -> None:
    """Release an association as its own `release` does, but never wait without end.

    That one waits for the flag that the reactor is paused. pynetdicom serves a report
    (N-EVENT-REPORT) in a thread of its own, which resets that flag when it is done (pynetdicom
    issue 820); `ReactorPause.clear` returns once the reactor is paused, whatever the flag says.
    """
    association._reactor_checkpoint.clear()
    association.acse.negotiate_release()
    association._reactor_checkpoint.set()


def accepted(association: Association) -> set[Context]:
    """Return the contexts that the peer accepted."""
    return {
        # The only one: an accepted context has a single transfer syntax (PS3.8 9.3.3.2).
        (UID(context.abstract_syntax), UID(context.transfer_syntax[0]))
        for context in association.accepted_contexts
        if context.abstract_syntax
    }
