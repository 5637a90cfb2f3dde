"""The argument PEER: a configured peer, or an address."""

import re

from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.peer_interface import Peer
from dicom_node.errors import BadConfiguration
from dicom_node.node.peers import to_peer

# An AE title has 16 characters at most, blanks among them (PS3.5 6.2).
ADDRESS = re.compile(r"(?P<ae_title>[^@]{1,16})@(?P<host>[^@]+):(?P<port>\d{1,5})")


def peer_named(name: str, chosen: Settings) -> Peer:
    """Return a peer of the configuration, or the DICOM node at an address.

    Raises:
        BadConfiguration: it is neither.
    """
    calling = chosen.node.ae_title
    if address := ADDRESS.fullmatch(name):
        host, port = address["host"], int(address["port"])
        return StorePeer(name, address["ae_title"], host, port, calling)
    known = chosen.destinations
    if name not in known:
        raise BadConfiguration(
            f"no peer {name!r}, only {', '.join(known)}; name one of them, or AET@HOST:PORT"
        )
    return to_peer(name, known[name], calling)
