"""Types of values in the configuration, with the message for a value that does not fit."""

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field


def _require_ae_title(title: str) -> str:
    r"""16 characters of ASCII without "\\" or control characters, not all blank (PS3.5 6.2)."""
    if not (title.isascii() and title.isprintable() and title.strip()) or "\\" in title:
        raise ValueError(f"{title!r} is not an AE title; use letters, digits, _ and -")
    return title


def _require_peer_name(name: str) -> str:
    if not (name.isascii() and name.isidentifier() and name == name.lower()) or "__" in name:
        raise ValueError(
            f"{name!r} cannot name a peer; use lower-case letters, digits and single _, so that the"
            " environment can name it too"
        )
    return name


def _require_web_root(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an address; an example is https://archive.example/dicom-web")
    # Addresses are logged and shown.
    if parts.username or parts.password:
        raise ValueError(
            "it must hold neither user nor password; set user, and set the password in the"
            " environment"
        )
    return url


def _require_viewer(url: str) -> str:
    marked = url.replace("{study}", "", 1).replace("{series}", "", 1)
    in_order = -1 < url.find("{study}") < url.find("{series}")
    if not (url.startswith(("http://", "https://")) and in_order) or {*marked} & {"{", "}"}:
        raise ValueError(
            "must begin with http:// or https:// and contain {study} and then {series}, once each"
        )
    return url


def host_and_port(text: str) -> tuple[str, int]:
    """Return the two parts of "host:port"; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is not of this form.
    """
    message = 'not an address; an example is "logs.example:6514"'
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is no number, or too large
        raise ValueError(message) from None
    # Compared with the whole text, so that no path, query or second colon slips through.
    if not host or not port or parts.netloc != text or parts.username is not None:
        raise ValueError(message)
    return host, port


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached by this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _require_host_and_port(text: str) -> str:
    host_and_port(text)
    return text


AeTitle = Annotated[str, Field(min_length=1, max_length=16), AfterValidator(_require_ae_title)]
"""Name of a DICOM node."""

PeerName = Annotated[str, AfterValidator(_require_peer_name)]
"""Name of a peer; it must fit into `HEPAR_PEERS__<NAME>__PASSWORD`."""

WebRoot = Annotated[str, AfterValidator(_require_web_root)]
"""Address of a DICOMweb server, without secrets, because addresses are logged."""

ViewerUrl = Annotated[str, AfterValidator(_require_viewer)]
"""Address of a SEG in a viewer, with placeholders for its UIDs."""

UserPath = Annotated[Path, AfterValidator(Path.expanduser)]
"""A path in which "~" is the home folder of the user that runs the node."""

HostAndPort = Annotated[str, AfterValidator(_require_host_and_port)]
"""Address of a server, as "host:port"."""
