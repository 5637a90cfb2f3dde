"""`hepar doctor`: examine everything that a node needs to work."""

import shutil
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated

import requests
import typer
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.commands.arguments.options import Config, settings
from dicom_node.commands.peers import check
from dicom_node.config.peers import StowSettings
from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.errors import NodeError
from dicom_node.jobs.ledger import open_ledger
from dicom_node.logs import quieten_libraries
from dicom_node.net.tls.certificate_files import EXPIRES_SOON_DAYS, days_left, valid_until
from dicom_node.node.startup import fleet_of
from dicom_node.shadow.promotion import served_folder
from engine.admin.doctor import Finding, Health, examine, report
from engine.errors import EngineError
from engine.json_output import Json
from engine.model import load_model
from engine.shipped import model_folder

CLOCK_S = 120.0
"""Difference to a server's clock beyond which times in results and logs mislead."""


def doctor(
    config: Config = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave the phantom out.")] = False,
    as_json: Json = False,
) -> None:
    """Examine configuration, ports, store, certificates, disk, peers, clock, model and devices.

    At the end a phantom is segmented. The exit status is 1 if anything is bad.
    """
    quieten_libraries()
    chosen = settings(config)  # a wrong configuration ends here, and says what is wrong
    with Console(stderr=as_json).status("examining …"):
        found = [*node_findings(chosen), *engine_findings(chosen, quick=quick)]
    report(found, as_json=as_json)


def node_findings(chosen: Settings) -> Iterator[Finding]:
    """Yield what is found of the node itself, one thing at a time."""
    yield Finding("configuration", Health.GOOD, f"AE title {chosen.node.ae_title}")
    yield _examined("DICOM port", lambda: _port(chosen.node.host, chosen.node.port))
    if chosen.http.port is not None:
        host, port = chosen.http.host, chosen.http.port
        yield _examined("HTTP port", lambda: _port(host, port))
    yield _examined("data folder", lambda: _disk(chosen))
    yield _examined("job store", lambda: _store(chosen))
    for name, path, chain in _certificates(chosen):
        yield _examined(name, lambda path=path, chain=chain: _expiry(path, chain=chain))  # type: ignore[misc]
    for name, peer in chosen.destinations.items():
        for each in check(name, chosen):
            health = Health.GOOD if each.passed else Health.BAD
            yield Finding(f"{name}: {each.check}", health, each.message)
        if isinstance(peer, StowSettings):
            url = peer.url
            yield _examined(f"{name}: clock", lambda url=url: clock(url))  # type: ignore[misc]


def engine_findings(chosen: Settings, *, quick: bool) -> Iterator[Finding]:
    """Yield what is found of the model, the devices and the plans."""
    data = DataFolder(chosen.node.data)
    try:
        model = served_folder(chosen.engine.model, data)
    except NodeError as error:
        yield Finding("model", Health.BAD, str(error))
        return
    yield from examine(model, chosen.engine.plans or data.plans, quick=quick)
    if chosen.engine.shadow is not None:
        yield _examined("shadow model", lambda: _beside(chosen.engine.shadow, chosen))
    if chosen.engine.backlog_model is not None:
        yield _examined("backlog model", lambda: _beside(chosen.engine.backlog_model, chosen))


def _beside(named: Path | None, chosen: Settings) -> str:
    """Return on which device a model runs that is configured beside the one that serves.

    Raises:
        NodeError, EngineError: it cannot.
    """
    model = load_model(model_folder(named))
    serving = load_model(served_folder(chosen.engine.model, DataFolder(chosen.node.data)))
    if model.digest == serving.digest:
        return f"{model.name} {model.version} is the model that serves, so there is none"
    return f"{model.name} {model.version} on {fleet_of(model, chosen).device().name}"


def _examined(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, Health.GOOD, look())
    except (NodeError, EngineError) as error:
        return Finding(what, Health.BAD, str(error))


def _port(host: str, port: int) -> str:
    """Return whether a port is free or the node listens there.

    Raises:
        NodeError: neither can be.
    """
    if port == 0:
        return "any free one"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As pynetdicom's listener: a port on which connections ended a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen()  # two sockets may bind one port until one listens
        except OSError as error:
            if _listens(host, port):
                return f"{host}:{port} is in use, presumably by the running node"
            raise NodeError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another port, or an"
                " address of this machine"
            ) from error
    return f"{host}:{port} is free; no node runs"


def _listens(host: str, port: int) -> bool:
    # An address to listen on, not to call; some systems refuse it.
    called = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        socket.create_connection((called, port), 2).close()
    except OSError:
        return False
    return True


def _disk(chosen: Settings) -> str:
    """Return how much room there is.

    Raises:
        NodeError: the node would refuse instances.
    """
    # The data folder may not exist yet: the disk is that of the nearest parent that does.
    folder = next(path for path in (chosen.node.data, *chosen.node.data.parents) if path.exists())
    free_mb, keep_mb = shutil.disk_usage(folder).free >> 20, chosen.receive.keep_free_mb
    if free_mb < keep_mb:
        raise NodeError(
            f"{free_mb} MB free in {folder}, and receive.keep_free_mb is {keep_mb}: every instance"
            " is refused; make room"
        )
    return f"{free_mb} MB free in {chosen.node.data}; below {keep_mb} MB instances are refused"


def _store(chosen: Settings) -> str:
    path = Path(chosen.node.data) / "jobs.sqlite"
    if chosen.jobs.database is None and not path.exists():
        return "none yet; the first start makes it"
    try:
        with open_ledger(chosen.database_url) as ledger:
            newest = ledger.jobs(1)
    except SQLAlchemyError as error:
        raise NodeError(
            f"cannot be read: {type(error).__name__}; check jobs.database and its server"
        ) from None  # its own message holds the address with the password
    return f"newest job of {newest[0].created.astimezone():%Y-%m-%d %H:%M}" if newest else "no jobs"


def _certificates(chosen: Settings) -> Iterator[tuple[str, Path, bool]]:
    """Yield key and path of each certificate file that is configured, and if it is a chain."""
    tables = {"tls": chosen.tls, **chosen.destinations}
    for name, table in tables.items():
        for key in ("cert_file", "ca_file"):
            if path := getattr(table, key, None):
                yield f"{name}.{key}", path, key == "cert_file"


def _expiry(path: Path, *, chain: bool) -> str:
    """Return until when a certificate file serves.

    Raises:
        NodeError: it ends soon, or cannot be read.
    """
    end = valid_until(path, chain=chain)
    days = days_left(end)
    message = f"{path} is valid until {end:%Y-%m-%d}, {days} days"
    if days < EXPIRES_SOON_DAYS:
        raise NodeError(f"{message}; renew it: the file may be replaced while the node runs")
    return message


def clock(url: str) -> str:
    """Return how far this machine's clock is from a server's.

    Raises:
        NodeError: too far.
    """
    try:
        # Unverified: only the date is read, and the certificate has a check of its own.
        answer = requests.head(
            url,
            timeout=5,
            allow_redirects=False,
            verify=False,
            auth=lambda request: request,  # without it, ~/.netrc's password would go there
        )
        server = parsedate_to_datetime(answer.headers["Date"])
    except (requests.RequestException, KeyError, ValueError):
        return "not compared: the server sends no date"
    if server.tzinfo is None:  # "-0000": UTC, at a place that is not stated (RFC 5322 3.3)
        server = server.replace(tzinfo=UTC)
    apart_s = abs((datetime.now(UTC) - server).total_seconds())
    if apart_s > CLOCK_S:
        raise NodeError(f"{apart_s:.0f} s apart from the server's; set up NTP on both machines")
    return f"{apart_s:.0f} s apart from the server's"
