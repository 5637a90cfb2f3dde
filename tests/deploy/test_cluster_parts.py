"""The parts of `make cluster`, each alone."""

import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path

import pytest

from deploy.cluster import __main__ as main
from deploy.cluster import postgres
from deploy.cluster.__main__ import welcome
from deploy.cluster.cluster import Cluster, ClusterPorts, Worker
from deploy.cluster.proxy import MODULE, write_proxy
from deploy.stack.errors import Missing
from deploy.stack.places import program
from deploy.stack.settings import write_node
from deploy.stack.stack import nginx
from dicom_node.config.settings import load_settings

MAKEFILE = Path(__file__).resolve().parents[2] / "Makefile"

needs_stream = pytest.mark.skipif(
    not MODULE.exists() or program("nginx") is None,
    reason="needs Debian's nginx, libnginx-mod-stream",
)


@needs_stream
def test_nginx_understands_the_proxys_configuration(tmp_path):
    file = write_proxy(tmp_path, ClusterPorts.free().node_dicom, [11113, 11114])
    assert re.findall(r"server 127.0.0.1:(\d+) ", file.read_text()) == ["11113", "11114"]
    asked = subprocess.run([*nginx(tmp_path, file), "-t"], capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr


def test_a_proxy_without_its_module_is_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("deploy.cluster.proxy.MODULE", tmp_path / "none.so")
    with pytest.raises(Missing, match="sudo apt-get install libnginx-mod-stream"):
        write_proxy(tmp_path, 1, [2])


def test_a_postgresql_that_is_not_installed_is_named_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "PLACES", tmp_path)
    with pytest.raises(Missing, match="sudo apt-get install postgresql"):
        postgres.program("initdb")


def test_what_the_cluster_needs_is_installed_by_make():
    (packages,) = re.findall(r"^CLUSTER := (.*)$", MAKEFILE.read_text(), re.MULTILINE)
    assert "$(STACK)" in packages
    assert f"libnginx-mod-stream:{MODULE.name}" in packages
    assert "postgresql:" in packages


def test_ports_differ_and_are_those_that_the_parts_have(tmp_path):
    ports = ClusterPorts.free()
    assert len(set(astuple(ports))) == len(astuple(ports))
    settings = load_settings(write_node(tmp_path, ports, 2.0, None))
    assert settings.http.port == ports.node_http
    assert ports.gateways == {
        ports.gateway_1: ports.gateway_1_http,
        ports.gateway_2: ports.gateway_2_http,
    }


def test_a_worker_is_ready_once_its_log_has_it_and_not_by_an_older_line(tmp_path):
    line = "INFO work-host-1 works with model toy on cpu action=start"
    (tmp_path / "work-1.log").write_text(f"{line}\n")
    script = f"import sys; sys.stdin.read(); print({line!r}, flush=True)"
    silent = Worker("work-1", [sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)
    assert not silent.answers()
    silent.stop()
    talking = Worker("work-1", [sys.executable, "-c", script], tmp_path)
    talking.wait_until_ready()
    talking.stop()


def test_the_addresses_and_the_process_ids_are_printed(tmp_path):
    worker = Worker("work-1", [sys.executable, "-c", ""], tmp_path)
    cluster = Cluster(ClusterPorts(), (worker,), 1.0, tmp_path / "hepar.toml", "postgresql://h@l/h")
    worker.stop()
    assert f"work-1 {worker.pid}" in welcome(cluster)  # its name in the cluster is not known yet
    lines = "work-h-{} works with model toy on cpu", "ERROR the archive is away"
    worker.log.write_text("\n".join([lines[0].format(1), lines[0].format(3), lines[1]]))
    shown = welcome(cluster)
    assert f"ORTHANC@127.0.0.1:{ClusterPorts().archive_dicom}" in shown
    assert f"HEPAR at 127.0.0.1:{ClusterPorts().node_dicom}" in shown
    assert f"http://localhost:{ClusterPorts().node_http}/" in shown
    assert f"work-h-3 {worker.pid}" in shown
    assert "HEPAR_JOBS__DATABASE=postgresql://h@l/h " in shown
    assert cluster.worker_logs == [tmp_path / "work-1.log"]


def test_only_the_first_start_loads_the_example_into_the_archive(tmp_path, monkeypatch):
    filled = []

    @contextmanager
    def running(folder, ports, **_):
        (folder / "archive").mkdir(exist_ok=True)  # as Orthanc does
        yield Cluster(ports, (), 0.0, folder / "hepar.toml", "postgresql://h@l/h")

    monkeypatch.setattr(main, "running_cluster", running)
    monkeypatch.setattr(main, "is_told", lambda _: True)
    monkeypatch.setattr(main, "fill", filled.append)
    monkeypatch.setattr("deploy.stack.ending.signal.signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["cluster", "--folder", str(tmp_path)])
    assert main.main() == 0
    assert main.main() == 0
    assert filled == [ClusterPorts.usual().archive_http]
