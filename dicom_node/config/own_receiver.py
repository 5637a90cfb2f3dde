"""The node's own receiver, as programs on its machine call it: health checks and `hepar pull`."""

import contextlib
import ssl
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import BadConfiguration, PeerUnavailable
from dicom_node.net.callers import Caller
from dicom_node.net.tls.client_tls import handshake_failure
from dicom_node.net.tls.server_tls import ServerTlsFiles

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""Addresses to listen on, to addresses to call."""

LOOPBACK: tuple[IPv4Network | IPv6Network, ...] = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def own_receiver(settings: Settings, address: tuple[str, int] | None = None) -> StorePeer:
    """Return the receiver as a peer that is called under the node's own AE title.

    Args:
        settings: the node's.
        address: on which it listens; the configured one without.

    Raises:
        BadConfiguration: its certificate cannot be read.
    """
    node = settings.node
    host, port = address or (node.host, node.port)
    tls = _own_context(settings.tls.files) if settings.tls.files else None
    host = ANY_ADDRESS.get(host, host)
    return StorePeer("this node", node.ae_title, host, port, node.ae_title, tls=tls)


def own_caller(settings: Settings) -> Caller:
    """Return the node itself as a caller: its own title, from its own machine alone."""
    networks = LOOPBACK
    with contextlib.suppress(ValueError):  # a host name: the source of a call to it is not certain
        networks += (ip_network(ip_address(settings.node.host)),)
    return Caller(settings.node.ae_title, networks, settings.node.ae_title)


def echo_itself(settings: Settings, address: tuple[str, int], answer_s: float) -> str:
    """Return how the receiver answers: a C-ECHO, or at least a TLS handshake.

    Its certificate may be one that callers cannot show: for servers only, or of an authority that
    is none of the callers'. A handshake that is refused shows that the receiver works.

    Raises:
        NodeError: it does not.
    """
    peer = replace(
        own_receiver(settings, address),
        connect_s=answer_s,
        negotiate_s=answer_s,
        answer_s=answer_s,
    )
    try:
        peer.echo()
    except PeerUnavailable:
        if peer.tls is None or not handshake_failure(peer.host, peer.port, peer.tls):
            raise
        return "answers TLS handshakes; its own certificate is none that callers can show"
    return "answers C-ECHO"


def _own_context(files: ServerTlsFiles) -> ssl.SSLContext:
    """Return a context that trusts the node's certificate alone, and shows it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # it is called by whatever address it listens on
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # no authority is needed
    try:
        context.load_verify_locations(files.cert_file)
        context.load_cert_chain(files.cert_file, files.key_file)
    except OSError as error:  # ssl.SSLError is one
        raise BadConfiguration(
            f"cannot use the certificate {files.cert_file}: {error.strerror or error}; name"
            " readable PEM files in tls.cert_file and tls.key_file"
        ) from error
    return context
