"""A study that went through the whole stack, and what it takes to send one."""

import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from deploy.stack.errors import Missing
from deploy.stack.ohif import find_ohif
from deploy.stack.places import missing_packages
from deploy.stack.stack import Stack
from engine.phantom import Phantom
from engine.volume import Label, LabelMap, Volume
from tests.engine.toy_model import LIVER_HU, TUMOUR_HU
from tests.system.browser import CHROMIUM
from tests.waiting import wait_until


@dataclass(frozen=True)
class Segmented:
    """A study that went all the way."""

    stack: Stack
    study: str
    """Orthanc's name of it."""
    state: dict[str, Any]
    """What the plugin says of its only series."""
    files: Sequence[Path]
    """The source series."""
    expected: LabelMap | None = None

    def get(self, path: str) -> Any:
        """Orthanc's answer through the proxy."""
        return json.loads(fetch(f"{self.stack.viewer}/orthanc/{path}"))

    def modalities(self) -> set[str]:
        """Modalities of the study in the archive."""
        series = self.get(f"studies/{self.study}/series")
        return {each["MainDicomTags"]["Modality"] for each in series}

    def only(self, modality: str) -> bytes:
        """The only object of a modality in the study, as the archive has it."""
        series = self.get(f"studies/{self.study}/series")
        (found,) = [each for each in series if each["MainDicomTags"]["Modality"] == modality]
        (instance,) = found["Instances"]
        return fetch(f"{self.stack.viewer}/orthanc/instances/{instance}/file")

    @property
    def dicomweb(self) -> str:
        """Root of the archive's DICOMweb services, as the viewer calls them."""
        return f"{self.stack.viewer}/dicom-web"

    def job(self) -> dict[str, Any]:
        """The node's only job on the study, as its web server gives it."""
        study = dcmread(self.files[0], stop_before_pixels=True).StudyInstanceUID
        node = f"http://127.0.0.1:{self.stack.ports.node_http}"
        (found,) = json.loads(fetch(f"{node}/jobs?study={study}"))
        return dict(found)

    @contextmanager
    def with_series(self, uid: str) -> Iterator[None]:
        """Let a series that was saved be in the archive while the block lasts."""
        series = self.get(f"studies/{self.study}/series")
        (saved,) = [e["ID"] for e in series if e["MainDicomTags"]["SeriesInstanceUID"] == uid]
        try:
            yield
        finally:
            delete(f"{self.stack.viewer}/orthanc/series/{saved}")

    @contextmanager
    def with_object(self, part10: bytes) -> Iterator[None]:
        """Keep one object more in the archive while the block lasts."""
        kept = upload(self.stack, part10)
        yield
        delete(f"{self.stack.viewer}/orthanc/instances/{kept['ID']}")


def fetch(url: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(url, body, timeout=60) as reply:
        return bytes(reply.read())


def delete(url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=60).close()


def upload(stack: Stack, part10: bytes) -> dict[str, str]:
    """Keep an instance as Orthanc's page does; return what Orthanc calls it and its study."""
    return dict(json.loads(fetch(f"{stack.viewer}/orthanc/instances", part10)))


def wait_until_done(stack: Stack, study: str, seconds: float = 300) -> dict[str, Any]:
    """Return what the plugin says of the study's only series once it is done."""

    def series() -> list[dict[str, Any]]:
        said = json.loads(fetch(f"{stack.viewer}/orthanc/hepar/studies/{study}"))
        return list(said["series"])

    wait_until(lambda: [each["state"] for each in series()] == ["done"], seconds)
    return series()[0]


def paint(phantom: Phantom) -> Phantom:
    """The phantom with liver and tumours as the toy model looks for them, and nothing else so."""
    hu, labels = phantom.volume.hu.copy(), phantom.truth.labels
    hu[(hu >= 95) & (hu < 300)] = 90
    hu[labels == Label.LIVER], hu[labels == Label.TUMOUR] = LIVER_HU, TUMOUR_HU
    return replace(phantom, volume=Volume(hu, phantom.volume.geometry))


def missing_for_the_browser() -> str:
    """What of the stack or the browser is missing, as a reason to skip; empty if nothing is."""
    missing = missing_packages() + ([] if CHROMIUM else ["chromium"])
    if missing:
        return f"needs Debian's {', '.join(missing)}"
    if find_spec("playwright") is None:
        return "needs the Python package playwright"
    try:
        find_ohif()
    except Missing as error:
        return str(error)
    return ""


def require_browser() -> None:
    """Skip, with the reason, where something of the stack or the browser is missing."""
    if reason := missing_for_the_browser():
        pytest.skip(reason)
