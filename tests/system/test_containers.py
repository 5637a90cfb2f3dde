"""Login of the containers' archive and viewer, with the configurations of deploy/ on loopback."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

import httpx
import pytest

from deploy.stack.settings import DEPLOY
from tests.system.servers import ENVIRONMENT, Orthanc, Server, free_port, system_program
from tests.waiting import GENEROUS_S

PASSWORD = "sesame1"
PAGES = ["/", "/viewer", "/segmentation", "/dicom-web/studies", "/orthanc/system"]
OF_NOBODY = ["/app-config.js", "/main.js"]


class ContainersOrthanc(Orthanc):
    """Orthanc with the containers' configuration, apart from folders and ports."""

    def _settings(self):
        settings = json.loads((DEPLOY / "compose" / "orthanc.json").read_text())
        own = super()._settings()
        for key in ("StorageDirectory", "IndexDirectory", "DicomPort", "HttpPort", "Plugins"):
            settings[key] = own[key]
        del settings["PythonScript"], settings["TemporaryDirectory"]
        return settings

    def answers(self) -> bool:
        return _status(f"http://127.0.0.1:{self.http_port}/system") == 401


class Nginx(Server):
    """nginx with the stack's site."""

    def __init__(self, folder: Path, archive: str) -> None:
        super().__init__(folder, "nginx")
        self.port = free_port()
        viewer = folder / "ohif"
        viewer.mkdir()
        for name in ("index.html", "main.js", "app-config.js"):
            (viewer / name).write_text(name)
        filled = {
            "HEPAR_LISTEN": f"127.0.0.1:{self.port}",
            "HEPAR_ORTHANC": archive,
            "HEPAR_APP_CONFIG": str(viewer / "app-config.js"),
            "HEPAR_OHIF": str(viewer),
            "HEPAR_SITE": str(folder / "site.conf"),
            "HEPAR_FOLDER": str(folder),
        }
        for name, source in (("site.conf", "site"), ("nginx.conf", "stack")):
            template = Template((DEPLOY / "nginx" / f"{source}.conf.template").read_text())
            (folder / name).write_text(template.safe_substitute(filled))

    def command(self) -> list[str]:
        program = system_program("nginx")
        assert program is not None
        options = ["-e", "stderr", "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder)]
        # Started by root, its workers would be nobody, who may not enter pytest's folders.
        return [program, *options, *(["-g", "user root;"] if os.getuid() == 0 else [])]

    def answers(self) -> bool:
        return _status(f"http://127.0.0.1:{self.port}/app-config.js") == 200


@dataclass(frozen=True)
class Site:
    """The containers' site."""

    url: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if system_program("nginx") is None:
        pytest.skip("needs Debian's nginx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENVIRONMENT, "HEPAR_ARCHIVE_PASSWORD", PASSWORD)
        with ContainersOrthanc(tmp_path_factory.mktemp("archive")) as archive:
            address = f"http://127.0.0.1:{archive.http_port}"
            with Nginx(tmp_path_factory.mktemp("web"), address) as web:
                yield Site(f"http://127.0.0.1:{web.port}")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_for_the_archives_login(site: Site, page: str) -> None:
    asked = httpx.get(site.url + page, timeout=GENEROUS_S)
    assert asked.status_code == 401
    assert asked.headers["www-authenticate"].startswith("Basic")
    assert _status(site.url + page, ("hepar", "wrong")) == 401
    assert _status(site.url + page, ("hepar", PASSWORD)) == 200


@pytest.mark.parametrize("page", OF_NOBODY)
def test_the_viewers_own_files_are_of_nobody(site: Site, page: str) -> None:
    assert _status(site.url + page) == 200


def _status(url: str, auth: tuple[str, str] | None = None) -> int | None:
    try:
        return httpx.get(url, auth=auth, timeout=GENEROUS_S).status_code
    except httpx.TransportError:
        return None
