"""What a value of the configuration must look like, and what is said of one that does not."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field


def _require_ae_title(title: str) -> str:
    r"""16 characters of ASCII without "\\" or control characters, not all blank (PS3.5 6.2)."""
    if not (title.isascii() and title.isprintable() and title.strip()) or "\\" in title:
        raise ValueError(f"{title!r} is no AE title; letters, digits, _ and - would do")
    return title


def _require_peer_name(name: str) -> str:
    if not (name.isascii() and name.isidentifier() and name == name.lower()) or "__" in name:
        raise ValueError(
            f"{name!r} cannot name a peer; small letters, digits and _ would do, so that the"
            " environment can name it too"
        )
    return name


def _require_web_root(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("no address; https://archive.example/dicom-web would be one")
    if parts.username or parts.password:
        raise ValueError(
            "a user and a password do not belong into it; set user, and the password in the"
            " environment"
        )
    return url


def _require_viewer(url: str) -> str:
    marked = url.replace("{study}", "", 1).replace("{series}", "", 1)
    in_order = -1 < url.find("{study}") < url.find("{series}")
    if not (url.startswith(("http://", "https://")) and in_order) or {*marked} & {"{", "}"}:
        raise ValueError(
            "must begin with http:// or https:// and hold {study} and behind it {series}, once each"
        )
    return url


AeTitle = Annotated[str, Field(min_length=1, max_length=16), AfterValidator(_require_ae_title)]
"""How a DICOM node calls itself."""

PeerName = Annotated[str, AfterValidator(_require_peer_name)]
"""What the configuration calls a peer: `HEPAR_PEERS__<NAME>__PASSWORD` must be able to say it."""

WebRoot = Annotated[str, AfterValidator(_require_web_root)]
"""Where a DICOMweb server is, without secrets: addresses are logged."""

ViewerUrl = Annotated[str, AfterValidator(_require_viewer)]
"""Address of a SEG in a viewer, with words for its UIDs."""

UserPath = Annotated[Path, AfterValidator(Path.expanduser)]
"""A path in which "~" is the home of whoever runs the node."""
