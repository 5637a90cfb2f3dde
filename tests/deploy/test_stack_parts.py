"""The parts of the stack that need no server."""

import base64
import hashlib
import io
import json
import socket
import subprocess
import sys
import tarfile
import tomllib
from contextlib import contextmanager
from dataclasses import astuple, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest
from pydicom import dcmread

from deploy.stack import __main__ as main
from deploy.stack import ohif, places
from deploy.stack.errors import DidNotStart, Missing
from deploy.stack.example import NoExample, load_example
from deploy.stack.links import Links
from deploy.stack.places import Ports
from deploy.stack.process import Process
from deploy.stack.settings import write_archive, write_node, write_web
from deploy.stack.stack import Stack
from dicom_node.config.settings import load_settings
from hepar_plugin.settings import read_settings


@pytest.fixture
def package(tmp_path):
    """A package like OHIF's, and its integrity."""
    path = tmp_path / "app.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("LICENSE", "dist/index.html", "dist/a.js", "dist/a.js.map", "dist/ort/x.wasm"):
            member = tarfile.TarInfo(f"package/{name}")
            member.size = 4
            archive.addfile(member, io.BytesIO(b"text"))
    digest = hashlib.sha512(path.read_bytes()).digest()
    return path, f"sha512-{base64.b64encode(digest).decode()}"


def test_what_ct_needs_of_the_viewer_is_unpacked(package, tmp_path):
    path, integrity = package
    folder = ohif.unpack(path, tmp_path / "unpacked", integrity)
    names = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    assert names == {"index.html", "a.js"}


def test_another_package_is_not_unpacked(package, tmp_path):
    with pytest.raises(Missing, match="not sha512-WZdx"):
        ohif.unpack(package[0], tmp_path / "unpacked")
    assert not (tmp_path / "unpacked").exists()


def test_a_viewer_that_is_here_is_not_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setattr(ohif.shutil, "which", lambda _: None)
    with pytest.raises(Missing, match="apt-get install npm"):
        ohif.find_ohif(tmp_path)
    folder = tmp_path / f"ohif-{ohif.VERSION}"
    folder.mkdir()
    (folder / "index.html").touch()
    assert ohif.find_ohif(tmp_path) == folder


def test_a_port_that_is_taken_is_left_to_whoever_has_it():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with socket.socket() as probe:
            assert places._bound(probe, other.getsockname()[1]) != other.getsockname()[1]


@pytest.mark.parametrize("wanted", [0, Ports.free().web], ids=["any", "a free one"])
def test_free_ports_differ_from_one_another_also_where_one_is_wanted_twice(wanted):
    ports = astuple(places._all_free(Ports, dict.fromkeys(vars(Ports()), wanted)))
    assert len(set(ports)) == len(ports)


def test_what_is_not_installed_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(places, "NEEDED", {"no-such": "no-such-program"})
    with pytest.raises(Missing, match="sudo apt-get install no-such"):
        places.require_packages()


def test_the_parts_are_told_of_one_another(tmp_path):
    ports = Ports(1, 2, 3, 4, 5)
    node = load_settings(write_node(tmp_path, ports, 2.0, None))
    archive = json.loads(write_archive(tmp_path, ports, 5).read_text())
    assert (node.node.port, node.http.port) == (5, 4)
    assert node.peers["archive"].url == "http://127.0.0.1:2/dicom-web"
    assert node.viewer.url.startswith("http://localhost:1/viewer?")
    assert archive["DicomModalities"]["hepar"] == ["HEPAR", "127.0.0.1", 5]
    assert read_settings(archive).state_url == "http://127.0.0.1:4"
    assert node.http.open  # the plugin has no token, also where the node has one


def test_the_stack_names_the_address_of_the_nodes_page(tmp_path):
    parts = SimpleNamespace(ports=Ports(1, 2, 3, 4, 5), viewer="http://localhost:1", seconds=1.0)
    assert "Hepar     http://localhost:4/\n" in main._welcome(parts, tmp_path)


def test_the_web_server_s_configuration_has_no_gaps(tmp_path):
    write_web(tmp_path, Ports(), tmp_path / "ohif")
    for name in ("nginx.conf", "site.conf"):
        assert "${" not in (tmp_path / name).read_text()
    site = (tmp_path / "site.conf").read_text()
    assert "try_files $uri /index.html" in site
    assert f'root "{tmp_path}/ohif"' in site


def test_a_model_folder_with_odd_letters_stays_itself(tmp_path):
    model = tmp_path / 'a "model" \\ of ours'
    model.mkdir()
    written = tomllib.loads(write_node(tmp_path, Ports(), 2.0, model).read_text())
    assert written["engine"]["model"] == str(model)


def test_a_program_that_ends_at_once_is_told_with_its_last_words(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no licence')"]
    process = Process("part", command, "http://127.0.0.1:9/", tmp_path / "part.log")
    with pytest.raises(DidNotStart, match="part ended at once:\nno licence"):
        process.wait_until_ready()
    process.stop()


def test_a_program_that_does_not_want_to_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr("deploy.stack.process.STOP_S", 0.1)
    ignores = "import signal,time; signal.signal(15, signal.SIG_IGN); print(1,flush=True)"
    command = [sys.executable, "-c", f"{ignores}; time.sleep(60)"]
    process = Process("part", command, "http://127.0.0.1:9/", tmp_path / "part.log")
    while not process.tail():
        pass
    process.stop()
    assert not process.running


def test_links_to_results_are_found_in_a_log_that_grows(tmp_path):
    log = tmp_path / "node.log"
    log.write_text("2026-01-01 12:00:00,000 INFO see http://old action=view series=1.1\n")
    links = Links(log)
    with log.open("a") as more:
        more.write("2026-01-01 12:00:01,000 INFO see http://v/1?a=b action=view series=1.2\nand ")
    assert links.fresh() == ["http://v/1?a=b"]
    with log.open("a") as more:
        more.write(" INFO see http://v/2 action=view series=1.3\n")
    assert links.fresh() == ["http://v/2"]
    assert links.fresh() == []


def test_the_command_explains_itself():
    done = subprocess.run(
        [sys.executable, "-m", "deploy.stack", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "--free-ports" in done.stdout


@pytest.fixture
def archive():
    """A web server that keeps what is posted, as (path, bytes)."""
    kept = []

    class Orthanc(BaseHTTPRequestHandler):
        def do_POST(self):
            kept.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Orthanc) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port, kept
        server.shutdown()


SMALL = ("--slices", "4", "--size", "32", "--slice-mm", "40", "--pixel-mm", "12")


def test_an_archive_that_takes_no_example_is_named(monkeypatch):
    def draw(command, **_):
        (Path(command[2]) / "ct").mkdir()
        (Path(command[2]) / "ct" / "0001.dcm").touch()

    monkeypatch.setattr("deploy.stack.example.subprocess.run", draw)
    with pytest.raises(NoExample, match=r"no example study: .*refused"):
        load_example("http://127.0.0.1:9")


def test_only_the_first_start_loads_the_example_and_says_so(archive, tmp_path, monkeypatch, capsys):
    port, kept = archive
    (tmp_path / "node.log").touch()
    node = SimpleNamespace(name="node", log=tmp_path / "node.log", running=True)

    @contextmanager
    def running(folder, ports, **_):
        (folder / "archive").mkdir(exist_ok=True)  # as Orthanc does
        yield Stack(replace(ports, archive_http=port), (node,), 0.0)

    monkeypatch.setattr(main, "running_stack", running)
    monkeypatch.setattr(main, "is_told", lambda _: True)
    monkeypatch.setattr("deploy.stack.example.load_example", partial(load_example, options=SMALL))
    monkeypatch.setattr("deploy.stack.ending.signal.signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["stack", "--folder", str(tmp_path), "--free-ports"])
    assert main.main() == 0
    assert "Loaded, 4 slices" in capsys.readouterr().out
    assert main.main() == 0
    assert "example" not in capsys.readouterr().out
    assert [path for path, _ in kept] == ["/instances"] * 4
    slices = [dcmread(io.BytesIO(part10)) for _, part10 in kept]
    assert {each.Modality for each in slices} == {"CT"}
    assert len({each.SeriesInstanceUID for each in slices}) == 1
    assert {each.PatientIdentityRemoved for each in slices} == {"YES"}
