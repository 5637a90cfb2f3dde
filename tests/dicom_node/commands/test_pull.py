"""`hepar pull` and `hepar segment --from`, against archives in this process."""

import io
import json
import re

import pytest
from pydicom import dcmread
from rich.console import Console
from rich.progress import Progress

from dicom_node.commands.arguments.archive import say
from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import BadConfiguration, PeerUnavailable
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.node.node import running_node
from dicom_node.results.phantom import write_series
from engine.phantom import make_phantom
from tests.dicom_node.commands.test_commands import hepar, toy_folder, write_liver
from tests.dicom_node.node_process import Thresholds, wait_until
from tests.dicom_node.retrieve.archives import DicomArchive, WebArchive

__all__ = ["hepar", "toy_folder", "write_liver"]


@pytest.fixture(params=[DicomArchive, WebArchive])
def start(request):
    """Start an archive that holds the DICOM files of these folders; gives back its table too."""
    running = []

    def start(*folders, **more):
        paths = [path for folder in folders for path in folder.rglob("*.dcm")]
        running.append(request.param([dcmread(path) for path in paths]))
        archive = running[-1]
        if request.param is DicomArchive:
            archive.knows.update(more)
            address = (
                f'kind = "store"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {archive.port}'
            )
        else:
            address = f'kind = "stow"\nurl = "{archive.peer.url}"'
        return archive, f"[peers.archive]\n{address}\n"

    yield start
    for archive in running:
        archive.stop()


def test_segment_from_an_archive_writes_one_seg(start, hepar, write_liver, toy_folder, tmp_path):
    good, mr = write_liver("good"), write_liver("mr", Modality="MR")
    _, table = start(good, mr)
    config = tmp_path / "hepar.toml"
    config.write_text(table)
    first, other = dcmread(good / "0.dcm"), dcmread(mr / "0.dcm")
    more = ("-o", tmp_path / "out", "-m", toy_folder, "-c", config)
    said = hepar("segment", "--from", "archive", "--study", first.StudyInstanceUID, *more)
    (seg,) = (tmp_path / "out").iterdir()
    assert seg.name == f"{first.SeriesInstanceUID}.dcm"
    assert "liver" in said
    said = hepar("segment", "--from", "archive", "--since", "2026-01-02", *more)
    assert f"{other.SeriesInstanceUID}: not fetched: Modality is MR, not CT" in said
    said = hepar("segment", "--from", "archive", "--since", "2026-01-03", *more)
    assert said == "archive has nothing since 2026-01-03\n"


def test_pull_brings_series_to_the_node_which_segments_them(start, hepar, toy_folder, tmp_path):
    made = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)
    paths = write_series(made, "pulled", tmp_path / "series")
    settings = Settings(
        node={"data": tmp_path / "data", "port": 0},
        receive={"quiet_s": 0.2, "keep_free_mb": 0},
        engine={"model": toy_folder},
    )
    with (
        running_node(settings, open_device=lambda model, settings: Thresholds()) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        _, table = start(tmp_path / "series", HEPAR=node.address)
        config = tmp_path / "hepar.toml"
        config.write_text(f"[node]\nport = {node.address[1]}\n{table}")
        study = dcmread(paths[0]).StudyInstanceUID
        said = hepar("pull", "archive", "--study", study, "-c", config)
        assert "1 series pulled" in said
        wait_until(lambda: [job.state for job in ledger.jobs()] == [State.DONE])
        assert len(ledger.jobs()[0].paths) == 20


def test_a_series_that_cannot_be_pulled_stops_no_other(
    start, hepar, write_liver, tmp_path, monkeypatch
):
    folders = [write_liver(name) for name in ("away", "odd", "good")]
    away, odd, good = (dcmread(folder / "0.dcm").SeriesInstanceUID for folder in folders)
    errors = {away: PeerUnavailable("not now"), odd: KeyError("nobody thought of it")}

    def pull_one(series, source, node, progress):
        if series.series_uid in errors:
            raise errors[series.series_uid]

    monkeypatch.setattr("dicom_node.commands.pull._pull_one", pull_one)
    monkeypatch.setattr(StorePeer, "echo", lambda peer: None)
    _, table = start(*folders)
    config = tmp_path / "hepar.toml"
    config.write_text(table)
    said = hepar("pull", "archive", "--since", "2026-01-02", "-c", config, status=1)
    assert f"{away}: failed: not now" in said
    assert f"{odd}: failed: unforeseen KeyError at" in said
    assert "nobody thought" not in said
    assert f"{good}: pulled" in said
    words = "pull", "archive", "--since", "2026-01-02", "--json", "-c", config
    told = json.loads(hepar(*words, status=1))
    assert told["pulled"] == [good]
    assert told["failed"][away] == "not now"
    assert odd in told["failed"]
    assert "1 series pulled" in said


def test_rules_are_tried_on_headers_alone(start, hepar, write_liver, tmp_path, monkeypatch):
    folders = [write_liver("a"), write_liver("b"), write_liver("mr", Modality="MR")]
    _, table = start(*folders)
    config = tmp_path / "hepar.toml"
    config.write_text(table)
    words = ("rules", "try", "archive", "--since", "2026-01-02", "--seconds", 450, "-c", config)
    said = hepar(*words)
    assert re.search(r"^ *2 +would be segmented", said, re.MULTILINE)
    assert re.search(r"^ *1 +not selected: Modality is MR, not CT", said, re.MULTILINE)
    assert "16 slices, 2.0 h of computing at 450 s a slice" in said
    found = json.loads(hepar(*words, "--json"))
    assert (found["slices"], found["hours"], len(found["segmented"])) == (16, 2.0, 2)
    mr = dcmread(folders[2] / "0.dcm").SeriesInstanceUID
    assert found["others"] == {mr: "Modality is MR, not CT"}


@pytest.mark.parametrize(("seconds", "words"), [(2.5, "40 s of"), (45, "12.0 min of")])
def test_short_work_is_stated_in_minutes_or_seconds(
    start, hepar, write_liver, tmp_path, seconds, words
):
    _, table = start(write_liver("a"), write_liver("b"))
    config = tmp_path / "hepar.toml"
    config.write_text(f"{table}[select]\nbest_of_study = true\n")
    said = hepar(
        *("rules", "try", "archive", "--since", "2026-01-02", "--seconds", seconds, "-c", config)
    )
    assert f"16 slices, {words} computing" in said
    assert "one for each study (2 of them)" in said


def test_pull_without_a_running_node_says_what_would_do(start, hepar, write_liver, tmp_path):
    _, table = start(write_liver())
    config = tmp_path / "hepar.toml"
    config.write_text(f"[node]\nport = 1\n{table}")
    with pytest.raises(PeerUnavailable, match="start it with `hepar serve`"):
        hepar("pull", "archive", "--since", "2026-01-02", "-c", config)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_what_is_said_while_a_bar_runs_stays_above_it(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    with Progress(console=Console(file=screen, width=60), transient=True) as bar:
        bar.add_task("series", total=2)
        bar.refresh()
        say("1.2.3: pulled")
    *_, above = screen.getvalue().partition("1.2.3: pulled\n")
    assert "series" in above  # the bar is drawn again, below


def test_what_is_said_goes_into_a_file_though_a_bar_runs(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stdout", log)
    with Progress(console=Console(file=Terminal(), force_terminal=True)):
        say("1.2.3: pulled")
    assert log.getvalue() == "1.2.3: pulled\n"


def test_which_studies_must_be_said(start, hepar, write_liver, tmp_path):
    _, table = start(write_liver())
    config = tmp_path / "hepar.toml"
    config.write_text(table)
    with pytest.raises(BadConfiguration, match="no studies chosen; give --study UID, or --since"):
        hepar("pull", "archive", "-c", config)
    with pytest.raises(BadConfiguration, match=r"archive has no study 1\.2\.3; see that"):
        hepar("pull", "archive", "--study", "1.2.3", "-c", config)


def test_segment_takes_a_folder_or_an_archive_and_not_both(hepar, tmp_path):
    for words in ((), (tmp_path, "--from", "A@127.0.0.1:1"), (tmp_path, "--study", "1.2")):
        with pytest.raises(BadConfiguration, match=r"a folder .*, or an archive: --from"):
            hepar("segment", *words, "-o", tmp_path / "out")
