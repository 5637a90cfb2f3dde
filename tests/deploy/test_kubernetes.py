"""The manifests of `deploy/kubernetes` against the code: roles, ports, probes, names."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dicom_node.cluster.draining import DRAINABLE
from dicom_node.commands import CLUSTER, PANELS
from dicom_node.config.settings import load_settings
from dicom_node.web.access import PUBLIC

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
COMPONENT = FOLDER / "deliver"
OBJECTS = [
    each
    for file in [*FILES, COMPONENT / "deliver.yaml"]
    for each in yaml.safe_load_all(file.read_text())
]
ROLES = ("receive", "work", "deliver", "web")


def of(kind: str) -> dict[str, dict[str, Any]]:
    """Return the objects of a kind by name."""
    return {each["metadata"]["name"]: each for each in OBJECTS if each["kind"] == kind}


WORKLOADS = of("StatefulSet") | of("Deployment")


def pod(role: str) -> dict[str, Any]:
    return WORKLOADS[f"hepar-{role}"]["spec"]["template"]


def container(role: str) -> dict[str, Any]:
    (only,) = pod(role)["spec"]["containers"]
    return only


def labels_of(each: dict[str, Any]) -> dict[str, str]:
    return each.get("metadata", {}).get("labels", {})


@pytest.fixture
def secrets(monkeypatch):
    monkeypatch.setenv("HEPAR_JOBS__DATABASE", "postgresql://hepar@db.example.org/hepar")
    monkeypatch.setenv("HEPAR_PEERS__ARCHIVE__PASSWORD", "secret")
    monkeypatch.setenv("HEPAR_HTTP__TOKEN", "a-long-password")


@pytest.fixture
def settings(secrets):
    return load_settings(FOLDER / "hepar.toml")


def test_there_is_a_workload_for_each_role():
    assert set(WORKLOADS) == {f"hepar-{role}" for role in ROLES}


def test_every_file_is_listed_but_for_the_one_that_needs_keda():
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    names = {file.name for file in FILES}
    assert names - {"kustomization.yaml", "scaling.yaml"} == set(listed)


def test_deliveries_are_apart_by_a_component_that_is_off_by_default(secrets, monkeypatch):
    text = (FOLDER / "kustomization.yaml").read_text()
    assert "components" not in yaml.safe_load(text)
    assert yaml.safe_load(text.replace("# components", "components"))["components"] == ["deliver"]
    component = yaml.safe_load((COMPONENT / "kustomization.yaml").read_text())
    assert component["kind"] == "Component"
    named = {*component["resources"], "kustomization.yaml"}
    assert named == {file.name for file in COMPONENT.iterdir()}
    (patch,) = component["patches"]
    # Nothing but the workloads has this label.
    label, value = patch["target"]["labelSelector"].split("=")
    chosen = {each["metadata"]["name"] for each in OBJECTS if labels_of(each).get(label) == value}
    assert chosen == set(WORKLOADS)
    (change,) = yaml.safe_load(patch["patch"])
    assert (change["op"], change["path"]) == ("add", "/spec/template/spec/containers/0/env")
    assert [each for each in WORKLOADS if "env" in container(each.removeprefix("hepar-"))] == []
    (variable,) = change["value"]
    monkeypatch.setenv(variable["name"], variable["value"])
    assert load_settings(FOLDER / "hepar.toml").cluster.deliver_apart


@pytest.mark.parametrize("role", ROLES)
def test_a_container_runs_its_role_with_the_configuration_that_is_mounted(role):
    command, flag, file = container(role)["args"]
    assert (command, PANELS[command]) == (role, CLUSTER)
    assert flag == "--config"
    mounts = {each["name"]: each["mountPath"] for each in container(role)["volumeMounts"]}
    assert file == f"{mounts['configuration']}/hepar.toml"
    volumes = {each["name"]: each for each in pod(role)["spec"]["volumes"]}
    assert set(volumes) == set(mounts)
    (generated,) = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["configMapGenerator"]
    assert volumes["configuration"]["configMap"]["name"] == generated["name"]
    assert generated["files"] == ["hepar.toml"]
    claim = of("PersistentVolumeClaim")[volumes["data"]["persistentVolumeClaim"]["claimName"]]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


@pytest.mark.parametrize("role", ROLES)
def test_folder_and_ports_are_those_of_the_configuration(role, settings):
    mounts = {each["name"]: each["mountPath"] for each in container(role)["volumeMounts"]}
    assert str(settings.node.data) == mounts["data"]
    known = {"dicom": settings.node.port, "http": settings.http.port}
    named = {each["name"]: each["containerPort"] for each in container(role).get("ports", ())}
    assert named == {name: known[name] for name in named}


@pytest.mark.parametrize("role", ROLES)
def test_probes_ask_what_needs_no_login(role):
    probes = [each for name, each in container(role).items() if name.endswith("Probe")]
    assert bool(probes) == (role not in {"work", "deliver"})  # which serve no HTTP
    for probe in probes:
        assert probe["httpGet"]["path"] in PUBLIC
        assert probe["httpGet"]["port"] == "http"


@pytest.mark.parametrize("role", ROLES)
def test_a_pod_may_do_little_and_has_limits(role):
    security = container(role)["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod(role)["spec"]["securityContext"]["runAsNonRoot"]
    dockerfile = (FOLDER.parent / "compose" / "node.Dockerfile").read_text()
    assert f"USER {pod(role)['spec']['securityContext']['runAsUser']}:" in dockerfile
    assert {"requests", "limits"} == set(container(role)["resources"])
    assert "memory" in container(role)["resources"]["limits"]
    names = [each["secretRef"]["name"] for each in container(role)["envFrom"]]
    assert names == ["hepar", f"hepar-{role}"]  # the address of the database is the role's own


@pytest.mark.parametrize("role", DRAINABLE)
def test_a_pod_is_drained_before_it_ends_and_has_the_time_for_it(role):
    *_, line = container(role)["lifecycle"]["preStop"]["exec"]["command"]
    program, command, name, flag, seconds, *config = line.split()
    assert (program, command, flag) == ("/opt/hepar/bin/hepar", "drain", "--wait")
    assert name == f'"{role}-$(hostname)"'
    assert config == container(role)["args"][1:]
    assert float(seconds) < pod(role)["spec"]["terminationGracePeriodSeconds"]


def test_services_and_disruption_budgets_choose_pods_that_there_are():
    labels = [pod(role)["metadata"]["labels"] for role in ROLES]
    for each in WORKLOADS.values():
        assert each["spec"]["selector"]["matchLabels"] in labels
    for service in of("Service").values():
        assert service["spec"]["selector"] in labels
        ports = container(service["spec"]["selector"]["role"]).get("ports", ())
        targets = {port["targetPort"] for port in service["spec"].get("ports", ())}
        assert targets <= {port["name"] for port in ports}
    budgets = of("PodDisruptionBudget")
    assert set(budgets) == set(of("StatefulSet"))
    for name, budget in budgets.items():
        chosen = budget["spec"]["selector"]["matchLabels"]
        assert chosen == WORKLOADS[name]["spec"]["selector"]["matchLabels"]
    for name in of("StatefulSet"):
        assert WORKLOADS[name]["spec"]["serviceName"] in of("Service")


def test_the_workers_are_scaled_by_the_secret_of_the_page_whose_role_only_reads():
    scaled = of("ScaledObject")["hepar-work"]["spec"]
    target = scaled["scaleTargetRef"]
    assert target["name"] in of(target["kind"])
    (trigger,) = scaled["triggers"]
    authentication = of("TriggerAuthentication")[trigger["authenticationRef"]["name"]]
    (secret,) = authentication["spec"]["secretTargetRef"]
    assert secret["name"] == container("web")["envFrom"][1]["secretRef"]["name"]
    assert secret["key"] == "HEPAR_JOBS__DATABASE"
