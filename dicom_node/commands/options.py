"""Options that several commands have."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from dicom_node.config import CONFIG_FILE, Settings, load_settings
from dicom_node.destinations import to_peer
from dicom_node.errors import BadConfiguration
from dicom_node.peers import Peer, StorePeer

ADDRESS = re.compile(r"(?P<ae_title>[^@]{1,16})@(?P<host>[^@]+):(?P<port>\d{1,5})")

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="HEPAR_CONFIG",
        help=f"TOML file of the node; without it {CONFIG_FILE}, if that exists.",
    ),
]
Model = Annotated[
    Path | None,
    typer.Option("--model", "-m", help="Model folder; without it the one that comes with Hepar."),
]


def settings(config: Path | None, model: Path | None = None, **sections: Any) -> Settings:
    """Read the configuration; options win over it."""
    if model is not None:
        sections["engine"] = {"model": model}
    return load_settings(config, **sections)


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
