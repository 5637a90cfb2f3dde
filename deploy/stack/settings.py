"""Configuration files of the parts, written into the stack's folder."""

import json
from pathlib import Path
from string import Template
from typing import Any

from deploy.stack.places import PLUGINS, Ports

DEPLOY = Path(__file__).resolve().parents[1]

NGINX = DEPLOY / "nginx"

ARCHIVE = "archive"
"""Orthanc's folder within the stack's."""

QUERY = "?StudyInstanceUIDs={study}&initialSeriesInstanceUID={series}"

VIEWER = f"/viewer{QUERY}"
# OHIF's segmentation mode has a hanging protocol of its own, which opens the CT without the SEG.
CORRECT = f"/segmentation{QUERY}&hangingprotocolId=default"
"""OHIF opens them with the SEG laid over the series; brushes are in the second."""


def write_archive(folder: Path, ports: Ports, stable_s: int) -> Path:
    """Write Orthanc's configuration and return the file."""
    settings: dict[str, Any] = {
        "Name": "Hepar's archive",
        "StorageDirectory": str(folder / ARCHIVE),
        "IndexDirectory": str(folder / ARCHIVE),
        "DicomAet": "ORTHANC",
        "DicomPort": ports.archive_dicom,
        "HttpPort": ports.archive_http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        # Label Map Segmentation is unknown to Orthanc 1.10, and by C-STORE refused without this.
        "UnknownSopClassAccepted": True,
        "StableAge": stable_s,
        # `NOTE` of the plugin; named so that Orthanc's page shows it.
        "UserMetadata": {"HandedToHepar": 5721},
        "Plugins": [
            str(PLUGINS / "libOrthancDicomWeb.so"),
            str(PLUGINS / "libOrthancPython.so"),
        ],
        "PythonScript": str(DEPLOY / "orthanc" / "plugin.py"),
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "DicomModalities": {"hepar": ["HEPAR", "127.0.0.1", ports.node_dicom]},
        "Hepar": {
            "StateUrl": f"http://127.0.0.1:{ports.node_http}",
            "Rules": {"Modalities": ["CT", "SEG"]},
        },
    }
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    return path


def write_node(folder: Path, ports: Ports, quiet_s: float, model: Path | None) -> Path:
    """Write the node's configuration and return the file."""
    web = f"http://localhost:{ports.web}"
    tables: dict[str, dict[str, Any]] = {
        "node": {"port": ports.node_dicom, "data": str(folder / "node")},
        "receive": {"quiet_s": quiet_s},
        "engine": {"model": str(model.resolve())} if model else {},
        # Open to read: Orthanc's plugin does not log in. A token allows changes, and Try.
        "http": {"port": ports.node_http, "open": True},
        "viewer": {"url": f"{web}{VIEWER}", "correct_url": f"{web}{CORRECT}"},
        "peers.archive": {
            "kind": "stow",
            "url": f"http://127.0.0.1:{ports.archive_http}/dicom-web",
            "objects": ["seg", "report", "pdf"],
            "segment_per_lesion": True,
        },
    }
    lines = []
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    path = folder / "hepar.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_web(folder: Path, ports: Ports, ohif: Path) -> Path:
    """Write nginx's configuration and return the file."""
    words = {
        "HEPAR_FOLDER": str(folder),
        "HEPAR_SITE": str(folder / "site.conf"),
        "HEPAR_LISTEN": f"127.0.0.1:{ports.web}",
        "HEPAR_ORTHANC": f"http://127.0.0.1:{ports.archive_http}",
        "HEPAR_APP_CONFIG": str(DEPLOY / "ohif" / "app-config.js"),
        "HEPAR_OHIF": str(ohif),
    }
    fill_in(NGINX / "site.conf.template", words, folder / "site.conf")
    return fill_in(NGINX / "stack.conf.template", words, folder / "nginx.conf")


def fill_in(template: Path, words: dict[str, str], file: Path) -> Path:
    """Write a template of nginx's configuration with these words and return the file."""
    text = Template(template.read_text("utf-8"))
    # Safe: nginx's own variables look the same, and stay.
    file.write_text(text.safe_substitute(words), encoding="utf-8")
    return file
