"""`hepar rehearse` and `hepar peers test` against real archives, with features switched off."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dicom_node.main import build
from tests.system.servers import Dcmqrscp, Orthanc, Storescp


@pytest.fixture
def hepar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run `hepar` with this configuration of peers; returns what it prints."""
    monkeypatch.setenv("COLUMNS", "300")
    # An Orthanc reports at once, or, where nobody listens, never.
    monkeypatch.setattr("dicom_node.deliver.storage_commitment.REPORT_S", 2.0)
    monkeypatch.setattr("dicom_node.deliver.storage_commitment.SAME_ASSOCIATION_S", 1.0)
    config = tmp_path / "hepar.toml"

    def run(peers: str, *words: str) -> str:
        config.write_text(f'[node]\ndata = "{tmp_path / "data"}"\n{peers}')
        result = CliRunner().invoke(build(), [*words, "-c", str(config)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.output

    return run


@pytest.mark.parametrize(
    ("kind", "known", "unknown_classes", "confirm", "labelmap"),
    [
        ("store", True, True, "find", "accepted"),
        ("store", True, False, "find", "refused"),
        ("store", False, True, "none", "accepted"),
        ("stow", False, True, "qidors", "accepted"),
    ],
)
def test_orthanc(hepar, tmp_path, monkeypatch, kind, known, unknown_classes, confirm, labelmap):
    archive = Orthanc(tmp_path / "archive")
    if confirm == "none":  # however often it is searched
        monkeypatch.setattr("dicom_node.deliver.rehearsal.LOOK_S", 0.05)
    if known:
        archive.know(hepar=("HEPAR", 1))  # nobody listens there: no report comes
    settings = archive.configuration.read_text()
    if not unknown_classes:
        settings = settings.replace('"UnknownSopClassAccepted": true', '"Nothing": true')
    archive.configuration.write_text(settings)
    with archive:
        said = hepar(archive.peer(kind), "rehearse", "archive")
        assert "good" in hepar(archive.peer(kind), "peers", "test")
    assert f'confirm = "{confirm}"' in said
    assert 'objects = ["seg", "report", "montage", "rtstruct"' in said
    (line,) = [line for line in said.splitlines() if line.split()[:1] == ["seg-labelmap"]]
    assert labelmap in line
    if kind == "stow":
        assert "equal" in said


def test_storescp_confirms_nothing(hepar, tmp_path):
    with Storescp(tmp_path / "receiver") as receiver:
        said = hepar(receiver.peer(), "rehearse", "archive")
        assert "accepted, not verified" in hepar(receiver.peer(), "peers", "test")
    assert 'confirm = "none"' in said


def test_dcmqrscp_is_searched(hepar, tmp_path):
    with Dcmqrscp(tmp_path / "archive") as archive:
        said = hepar(archive.peer(), "rehearse", "archive")
    assert 'confirm = "find"' in said
