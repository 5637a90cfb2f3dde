import socket
from pathlib import Path

import pytest

from dicom_node.config.settings import Settings, load_settings
from dicom_node.errors import BadConfiguration
from dicom_node.selection.rules import Rules


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "hepar.toml"
        path.write_text(text)
        return path

    return write


def test_nothing_need_be_configured(tmp_path):
    settings = Settings(node={"data": tmp_path})
    assert (settings.node.ae_title, settings.node.host) == ("HEPAR", "127.0.0.1")
    assert settings.destinations["folder"].folder == tmp_path / "delivered"
    assert settings.database_url == f"sqlite:///{tmp_path / 'jobs.sqlite'}"


def test_the_rules_of_the_file_are_the_rules_of_the_selection():
    assert Settings().select == Rules()


def test_a_file_says_what_differs(write):
    settings = load_settings(
        write('[node]\nport = 4242\n[peers.a]\nkind = "folder"\nfolder = "/srv"\n')
    )
    assert settings.node.port == 4242
    assert list(settings.destinations) == ["a"]


def test_a_peer_gets_what_its_table_says(write):
    settings = load_settings(
        write(
            '[peers.a]\nkind = "folder"\nfolder = "/srv"\nobjects = ["seg", "report"]\n'
            "segment_per_lesion = true\n"
            '[peers.b]\nkind = "folder"\nfolder = "/srv"\nseg_encoding = "labelmap"\n'
            'objects = ["seg", "report"]\n'
        )
    )
    items = {name: [item.name for item in it.profile.items] for name, it in settings.peers.items()}
    assert items == {
        "a": ["seg-lesions", "report-lesions"],
        "b": ["seg-labelmap", "report-labelmap"],
    }


@pytest.mark.parametrize(
    "text",
    [
        "[node]\nhost = '::'\n[[callers]]\nae_title = 'CT'",
        "[node]\nhost = '192.0.2.1'\nopen = true",
        "[node]\nhost = '127.0.0.2'",
        "[node]\nhost = 'localhost'",
    ],
)
def test_an_address_that_others_reach_needs_callers_or_to_be_open(write, text):
    assert load_settings(write(text)).node.host


def test_options_win_over_the_file(write):
    settings = load_settings(write("[node]\nport = 4242\n"), node={"port": 1})
    assert settings.node.port == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[node]\nae_titel = 'X'", r"unknown key 'node.ae_titel'; did you mean 'ae_title'\?"),
        ("[nod]\nport = 1", r"unknown key 'nod'; did you mean 'node'\?"),
        ("[jobs]\nx = 1", "unknown key 'jobs.x'; allowed: at_once, database, first_pause_s"),
        ("[node]\nport = 'high'", "node.port: Input should be a valid integer"),
        ("[node]\nae_title = 'AAAAABBBBBCCCCCDD'", "node.ae_title: .* at most 16"),
        ("[peers.a]\nkind = 'stove'", "peers.a: .*'folder', 'store', 'stow'"),
        (
            "[peers.a]\nkind = 'store'\nae_title = 'A'\nhost = 'h'\nprot = 1",
            r"unknown key 'peers.a.prot'; did you mean 'port'\?",
        ),
        ("[peers.a]\nkind = 'folder'", "peers.a.folder: Field required"),
        (
            "[peers.a]\nkind = 'stow'\nurl = 'http://h'\ntoken = 'sesame'",
            "peers.a.token is a secret .* set HEPAR_PEERS__A__TOKEN in the environment",
        ),
        (
            "[peers.a]\nkind = 'folder'\nfolder = 'f'\nobjects = ['report']",
            'peers.a: .*add "seg" to objects',
        ),
        (
            "[peers.a]\nkind = 'folder'\nfolder = 'f'\nobjects = ['segg']",
            "peers.a.objects.0: Input should be 'seg'",
        ),
        ("[jobs]\ndatabase = 'x'", "jobs.database is a secret"),
        ("[node]\nae_title = 'A\\B'", r"node.ae_title: 'A.*B' is not an AE title; use letters"),
        ("[node]\nae_title = '  '", "node.ae_title: '  ' is not an AE title"),
        ("[peers.Viewer]\nkind = 'folder'\nfolder = 'f'", "'Viewer' cannot name a peer; use lower"),
        ("[peers.a]\nfolder = 'f'", "peers.a: kind is missing; allowed: folder, store, stow"),
        (
            "[peers.a]\nkind = 'stow'\nurl = 'https://me:sesame@h/dicom-web'",
            "peers.a.url: it must hold neither user nor password; set user, and",
        ),
        (
            "[peers.a]\nkind = 'stow'\nurl = 'h/dicom-web'",
            "peers.a.url: not an address; an example is https:",
        ),
        (
            "[viewer]\nurl = 'https://v/{series}'",
            "viewer.url: must begin .* contain {study} and then",
        ),
        (
            "[select]\ninclude = { SeriesDescription = '(' }",
            "select.include: .* for .* no regular expr",
        ),
        (
            "[urgent]\ninclude = { PatientName = 'x' }",
            "urgent.include: unknown attribute .PatientName.; allowed",
        ),
        (
            "[select]\nmin_slices = 9\nmax_slices = 8",
            "select: no series has at least 9 and at most 8",
        ),
        (
            "[receive]\nask = 'pacs'",
            r"toml: receive.ask is 'pacs', which is no archive .* \(there is none\)",
        ),
        (
            "[receive]\nask = 'a'\n[peers.a]\nkind = 'folder'\nfolder = 'f'\n"
            "[peers.b]\nkind = 'stow'\nurl = 'http://h'",
            r"receive.ask is 'a', which is no archive .* kind store or stow \(b\)",
        ),
        ("[node]\nhost = '0.0.0.0'", r"node.host 0.0.0.0 .* \[\[callers\]\] .* node.open = true"),
        ("[node]\nhost = ''", "node.host  can be reached by others"),
        ("[node]\nhost = 'hepar.example'", "node.host hepar.example can be reached by others"),
        (
            "[[callers]]\nae_title = 'CT'\ncertificate = 'ct.example'",
            "callers CT are known by their certificates, .* set tls.cert_file and tls.ca_file",
        ),
        ("[[callers]]\nae_title = 'CT'\nmay = ['stor']", "may"),
        ("[[callers]]\nae_title = 'CT'\nrate = 0", "rate"),
        ("port = = 1", "is not TOML"),
    ],
)
def test_a_mistake_is_named_with_what_would_do(write, text, complaint):
    with pytest.raises(BadConfiguration, match=complaint) as caught:
        load_settings(write(text))
    assert "sesame" not in str(caught.value)


def test_a_table_in_the_environment_that_is_no_json_is_told_without_its_value(monkeypatch):
    monkeypatch.setenv("HEPAR_PEERS", "sesame")
    with pytest.raises(BadConfiguration, match="name one key, as in HEPAR_NODE__PORT") as caught:
        load_settings()
    assert "sesame" not in str(caught.value)


def test_a_tilde_is_the_home_of_whoever_runs_the_node(write, monkeypatch):
    monkeypatch.setenv("HOME", "/home/hepar")
    settings = load_settings(
        write("[node]\ndata = '~/data'\n[peers.a]\nkind = 'folder'\nfolder = '~/out'")
    )
    assert str(settings.node.data) == "/home/hepar/data"
    assert str(settings.peers["a"].folder) == "/home/hepar/out"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(BadConfiguration, match=r"cannot read .*absent\.toml: No such file"):
        load_settings(tmp_path / "absent.toml")


def test_secrets_come_from_the_environment_and_are_never_shown(write, monkeypatch):
    monkeypatch.setenv("HEPAR_PEERS__WEB__TOKEN", "sesame")
    monkeypatch.setenv("HEPAR_JOBS__DATABASE", "postgresql://hepar:sesame@db/hepar")
    settings = load_settings(write('[peers.web]\nkind = "stow"\nurl = "http://h/dicom-web"'))
    assert settings.peers["web"].token.get_secret_value() == "sesame"
    assert settings.database_url == "postgresql://hepar:sesame@db/hepar"
    assert "sesame" not in repr(settings)


FETCHED = {"cluster": {"files": "fetched", "token": "sesame"}}
SHELF = {"peers": {"shelf": {"kind": "folder", "folder": "/srv"}}}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({**SHELF, "cluster": {"files": "fetched"}}, "set HEPAR_CLUSTER__TOKEN"),
        ({**SHELF, "cluster": {"files": "fetched", "token": ""}}, "set HEPAR_CLUSTER__TOKEN"),
        (FETCHED, r"name a destination in \[peers\]"),
        ({**FETCHED, **SHELF, "engine": {"shadow": "base"}}, "engine.shadow"),
        ({**FETCHED, **SHELF, "select": {"best_of_study": True}}, "select.best_of_study"),
        ({**FETCHED, **SHELF, "receive": {"processes": 2}}, "receive.processes"),
        ({"cluster": {"name": "a/b"}}, "cannot name a cluster"),
    ],
)
def test_what_fetched_files_cannot_do_is_refused_with_the_remedy(changes, complaint):
    with pytest.raises(BadConfiguration, match=complaint):
        load_settings(**changes)


def test_a_gateway_is_reached_by_the_name_of_its_machine_unless_an_address_is_given():
    section = load_settings(**FETCHED, **SHELF).cluster
    assert "sesame" not in repr(section)
    assert section.reached_at(1) == "http://127.0.0.1:1"
    section = section.model_copy(update={"host": "0.0.0.0", "cert_file": Path("/own.pem")})
    assert section.reached_at(1) == f"https://{socket.gethostname()}:1"
    named = load_settings(
        **SHELF, cluster={**FETCHED["cluster"], "address": "https://gw1.example:8443"}
    )
    assert named.cluster.reached_at(1) == "https://gw1.example:8443"
