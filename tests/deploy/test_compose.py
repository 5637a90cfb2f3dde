"""Hardening of containers and services, and the syntax of their files."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from typer.testing import CliRunner

from deploy.cluster.proxy import MODULE
from deploy.stack import ohif
from deploy.stack.places import Ports, program
from deploy.stack.settings import write_node
from deploy.stack.stack import nginx
from dicom_node.config.settings import load_settings
from dicom_node.errors import AlreadyRunning, BadConfiguration
from dicom_node.main import build
from hepar_plugin.settings import read_settings
from tests.system.servers import BIN

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
FILES = [DEPLOY / "compose.yaml", DEPLOY / "compose.gpu.yaml"]
SERVICES = yaml.safe_load(FILES[0].read_text())["services"]
BUILT = [name for name, service in SERVICES.items() if "build" in service]
CLUSTER = [name for name, service in SERVICES.items() if service.get("profiles") == ["cluster"]]
PROFILED = [name for name, service in SERVICES.items() if "profiles" in service]
ROLES = [name for name in PROFILED if "command" in SERVICES[name]]


def compose() -> list[str]:
    """The command that understands compose files, or a skip."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            known = subprocess.run([*command, "version"], capture_output=True)
            if known.returncode == 0:
                return command
    pytest.skip("needs docker compose")


@pytest.mark.parametrize("files", [FILES[:1], FILES], ids=["CPU", "GPU"])
def test_docker_compose_understands_the_files(files):
    named = [word for file in files for word in ("-f", str(file))]
    done = subprocess.run([*compose(), *named, "config"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_no_root_and_writes_only_where_it_must(name):
    service = SERVICES[name]
    assert int(service["user"].split(":")[0]) > 0
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])


@pytest.mark.parametrize("name", BUILT)
def test_an_image_runs_as_its_service_does_and_says_whether_it_is_well(name):
    dockerfile = (DEPLOY.parent / SERVICES[name]["build"]["dockerfile"]).read_text()
    assert f"USER {SERVICES[name]['user']}" in dockerfile
    assert "HEALTHCHECK" in dockerfile
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        assert all((DEPLOY.parent / each).exists() for each in source.split()), source


@pytest.mark.parametrize("name", BUILT)
def test_every_base_image_is_pinned_by_its_digest(name):
    dockerfile = (DEPLOY.parent / SERVICES[name]["build"]["dockerfile"]).read_text()
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert bases
    assert [base for base in bases if not re.fullmatch(r".+:.+@sha256:[0-9a-f]{64}", base)] == []


@pytest.mark.parametrize("name", BUILT)
def test_hadolint_finds_nothing_in_a_dockerfile(name):
    hadolint = shutil.which("hadolint", path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("needs hadolint")
    dockerfile = DEPLOY.parent / SERVICES[name]["build"]["dockerfile"]
    done = subprocess.run([hadolint, "--no-color", dockerfile], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_listens_beyond_the_machine_unasked(name):
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("${HEPAR_BIND:-127.0.0.1}:")


def test_spool_models_and_plans_are_volumes():
    declared = yaml.safe_load(FILES[0].read_text())["volumes"]
    assert {"spool", "models", "plans", "archive", "shared", "database"} == set(declared)
    assert {"spool:/var/lib/hepar", "models:/models:ro", "plans:/var/lib/hepar/plans"} <= set(
        SERVICES["node"]["volumes"]
    )


def test_an_image_that_is_not_built_here_is_pinned_by_its_digest():
    others = [service["image"] for name, service in SERVICES.items() if name not in BUILT]
    assert others
    assert [each for each in others if not re.fullmatch(r".+:.+@sha256:[0-9a-f]{64}", each)] == []


def test_without_its_profile_a_cluster_neither_starts_nor_asks_for_a_password():
    """Compose fills in the whole file, also what it does not start."""
    assert set(SERVICES) - set(PROFILED) == {"node", "archive", "web"}
    for name in PROFILED:
        for value in SERVICES[name].get("environment", {}).values():
            assert "HEPAR_DATABASE_PASSWORD:?" not in value


@pytest.mark.parametrize("name", ROLES)
def test_a_role_of_a_cluster_reads_the_nodes_configuration_and_shares_one_folder(name):
    service, node = SERVICES[name], SERVICES["node"]
    role, *options = service["command"]
    assert role in {"receive", "work", "deliver", "web"}
    assert CliRunner().invoke(build(), [role, "--help"]).exit_code == 0
    assert options == ["--config", "/etc/hepar/hepar.toml"]
    assert service["build"] == node["build"]
    # Not the node's: `hepar serve` and the roles keep each other out of one folder.
    folders = {each.replace("spool:", "shared:") for each in node["volumes"]}
    assert set(service["volumes"]) == folders
    database = service["environment"]["HEPAR_JOBS__DATABASE"]
    assert urlsplit(database).hostname in SERVICES
    # A gateway that starts again continues what it had; the page answers under one name.
    assert role == "work" or service["hostname"] == name
    # Which serve no HTTP.
    assert service.get("healthcheck", {}).get("disable", False) is (role in {"work", "deliver"})


def test_deliveries_are_apart_for_all_processes_or_none_and_by_a_profile_of_their_own(monkeypatch):
    assert set(PROFILED) - set(CLUSTER) == {"deliver"}
    assert SERVICES["deliver"]["profiles"] == ["deliver"]
    (value,) = {SERVICES[name]["environment"]["HEPAR_CLUSTER__DELIVER_APART"] for name in ROLES}
    assert value == "${HEPAR_DELIVER_APART:-false}"
    for word in ("true", "false"):
        monkeypatch.setenv("HEPAR_CLUSTER__DELIVER_APART", word)
        cluster = load_settings(DEPLOY / "compose" / "hepar.toml").cluster
        assert cluster.deliver_apart is (word == "true")


def test_the_proxy_stands_in_for_the_node():
    proxy = SERVICES["proxy"]
    assert proxy["networks"]["default"]["aliases"] == ["node"]
    assert proxy["ports"] == SERVICES["node"]["ports"]
    text = (DEPLOY / "compose" / "proxy.conf").read_text()
    settings = load_settings(DEPLOY / "compose" / "hepar.toml")
    gateways = re.findall(r"server (\S+):(\d+) max_fails", text)
    receivers = [name for name in ROLES if SERVICES[name]["command"][0] == "receive"]
    assert gateways == [(name, str(settings.node.port)) for name in receivers]
    (page,) = (name for name in ROLES if SERVICES[name]["command"][0] == "web")
    assert f"proxy_pass {page}:{settings.http.port};" in text
    assert re.findall(r"listen (\d+);", text) == [
        str(settings.node.port),
        str(settings.http.port),
    ]
    assert set(proxy["depends_on"]) == {*receivers, page}


@pytest.mark.skipif(
    not MODULE.exists() or program("nginx") is None,
    reason="needs Debian's nginx, libnginx-mod-stream",
)
def test_nginx_understands_the_proxys_configuration_in_the_container(tmp_path):
    text = (DEPLOY / "compose" / "proxy.conf").read_text()
    assert f"load_module {MODULE};" in text
    here = re.sub(r"(receive-\d|page):", "127.0.0.1:", text)
    (tmp_path / "proxy.conf").write_text(here.replace("/tmp/proxy.pid", f"{tmp_path}/proxy.pid"))
    asked = subprocess.run(
        [*nginx(tmp_path, tmp_path / "proxy.conf"), "-t"], capture_output=True, text=True
    )
    assert asked.returncode == 0, asked.stderr


def test_the_containers_configurations_are_read_and_meet():
    node = load_settings(DEPLOY / "compose" / "hepar.toml")
    archive = json.loads((DEPLOY / "compose" / "orthanc.json").read_text())
    assert archive["DicomModalities"]["hepar"] == ["HEPAR", "node", node.node.port]
    assert read_settings(archive).state_url == f"http://node:{node.http.port}"
    assert node.peers["archive"].url == f"http://archive:{archive['HttpPort']}/dicom-web"


def test_the_containers_archive_gets_what_that_of_the_stack_gets(tmp_path):
    stack = load_settings(write_node(tmp_path, Ports(), 1, None)).peers["archive"]
    containers = load_settings(DEPLOY / "compose" / "hepar.toml").peers["archive"]
    assert containers.profile == stack.profile
    assert containers.profile.form.per_lesion


def test_the_image_has_the_viewer_that_the_stack_has():
    dockerfile = (DEPLOY / "compose" / "web.Dockerfile").read_text()
    digest = base64.b64decode(ohif.INTEGRITY.removeprefix("sha512-")).hex()
    assert f"OHIF={ohif.VERSION}\n" in dockerfile
    assert f"SHA512={digest}\n" in dockerfile
    assert len(digest) == 2 * hashlib.sha512().digest_size


def test_the_image_of_the_web_server_fills_every_gap():
    dockerfile = (DEPLOY / "compose" / "web.Dockerfile").read_text()
    templates = [path.read_text() for path in (DEPLOY / "nginx").glob("*.template")]
    gaps = re.findall(r"\$\{HEPAR_\w+\}", "".join(templates))
    assert gaps
    assert [gap for gap in gaps if f"s#{gap}#" not in dockerfile] == []


def test_the_health_check_asks_where_the_node_answers():
    """Otherwise it would restart a node that is well, each minute."""
    service = (DEPLOY / "systemd" / "hepar.service").read_text()
    health = (DEPLOY / "systemd" / "hepar-health.service").read_text()
    (port,) = re.findall(r"HEPAR_HTTP__PORT=(\d+)", service)
    assert f"http://127.0.0.1:{port}/health" in health


@pytest.mark.parametrize("name", ["hepar-health.service", "hepar-restart.service"])
def test_a_helper_of_the_service_may_do_little(name):
    unit = (DEPLOY / "systemd" / name).read_text()
    for line in ("CapabilityBoundingSet=", "NoNewPrivileges=yes", "ProtectSystem=strict"):
        assert f"{line}\n" in unit
    assert "MemoryMax=" in unit


def test_the_health_check_is_not_root_and_restarts_by_another_unit():
    health = (DEPLOY / "systemd" / "hepar-health.service").read_text()
    assert "DynamicUser=yes\n" in health
    assert "OnFailure=hepar-restart.service\n" in health
    assert "systemctl restart" not in health
    restart = (DEPLOY / "systemd" / "hepar-restart.service").read_text()
    assert re.findall(r"^Exec.*$", restart, re.MULTILINE) == [
        "ExecStart=/bin/systemctl restart hepar.service"
    ]


def test_no_service_starts_without_a_password_for_the_archive():
    for name, key in (
        ("node", "HEPAR_PEERS__ARCHIVE__PASSWORD"),
        ("archive", "HEPAR_ARCHIVE_PASSWORD"),
    ):
        assert SERVICES[name]["environment"][key].startswith("${HEPAR_ARCHIVE_PASSWORD:?")


def test_a_configuration_that_is_wrong_does_not_start_the_service_again_and_again():
    service = (DEPLOY / "systemd" / "hepar.service").read_text()
    assert f"RestartPreventExitStatus={BadConfiguration.exit_code}\n" in service
    assert AlreadyRunning.exit_code == BadConfiguration.exit_code


@pytest.mark.parametrize("role", ["receive", "work@", "deliver", "web"])
def test_a_role_of_a_cluster_is_hardened_as_the_node_is(role):
    """But for the user and the folder: those of all machines are the same."""
    node, unit = (
        (DEPLOY / "systemd" / f"{name}.service").read_text().splitlines()
        for name in ("hepar", f"hepar-{role}")
    )
    begin = node.index("ProtectSystem=strict")
    hardening = [line for line in node[begin:] if "=" in line and "MemoryMax" not in line]
    assert len(hardening) > 20
    assert [line for line in hardening if line not in unit] == []
    assert "User=hepar" in unit
    (folder,) = {line.partition("=")[2] for line in unit if line.startswith("ReadWritePaths=")}
    assert f"RequiresMountsFor={folder}" in unit
    assert f"Environment=HEPAR_NODE__DATA={folder} TCP_NODELAY=1" in unit
    assert f"RestartPreventExitStatus={BadConfiguration.exit_code}" in unit
    (command,) = (line for line in unit if line.startswith("ExecStart="))
    assert command.split()[1] == role.rstrip("@")


def test_systemd_understands_the_units(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    for unit in (DEPLOY / "systemd").glob("hepar*.*"):
        here = unit.read_text().replace("/opt/hepar/bin", str(tmp_path))
        (tmp_path / unit.name).write_text(here)
    for name in ("hepar", "python"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    node = "hepar.service", "hepar-health.timer", "hepar-health.service", "hepar-restart.service"
    cluster = (
        "hepar-receive.service",
        "hepar-work@1.service",
        "hepar-deliver.service",
        "hepar-web.service",
    )
    units = [tmp_path / name for name in (*node, *cluster)]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
