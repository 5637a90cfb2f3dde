"""The commands as a user types them."""

import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import SimpleITK
from pydicom import dcmread
from rich.text import Text
from typer.testing import CliRunner

from dicom_node.commands.job_views.job_list import print_jobs
from dicom_node.config.settings import Settings, load_settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import BadConfiguration, PeerUnavailable, UnknownJob
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import Job, State
from dicom_node.main import build
from dicom_node.node.node import running_node
from dicom_node.results.phantom import write_series
from dicom_node.verify.report import read_groups
from engine.phantom import make_phantom
from tests.dicom_node.node_process import Thresholds, wait_until
from tests.engine.toy_model import write_toy_model

LIVER_HU, TUMOUR_HU = 150, 250
LOOK = ("--review",)


@pytest.fixture
def hepar(monkeypatch):
    """Run `hepar` with these words; returns what it prints."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*words, status=0):
        result = CliRunner().invoke(build(), [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.output

    return run


@pytest.fixture
def toy_folder(tmp_path):
    return write_toy_model(tmp_path / "toy")


@pytest.fixture
def write_liver(tmp_path, ct_series):
    """Write a CT series with a box that the toy model takes for liver, a part of it for tumour."""

    def write(name="ct", **changes):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        instances = ct_series(slices=8, rows=64, columns=64, spacing_mm=(5, 4, 4))
        for number, instance in enumerate(instances):
            hu = instance.pixel_array.astype("u2") * 0
            hu[10:40, 10:40] = LIVER_HU + 1024
            hu[20:30, 20:30] = TUMOUR_HU + 1024
            instance.PixelData = hu.tobytes()
            for keyword, value in changes.items():
                setattr(instance, keyword, value)
            instance.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        return folder

    return write


def segment(hepar, folder, output, model, *more, status=0):
    return hepar("segment", folder, "-o", output, "-m", model, *more, status=status)


def test_help_names_every_command(hepar):
    said = hepar("--help")
    for command in ("serve", "segment", "send", "jobs", "phantom", "demo", "model"):
        assert re.search(rf"^│ {command} ", said, re.MULTILINE), command


def test_segment_writes_one_seg_for_an_eligible_series(hepar, write_liver, toy_folder, tmp_path):
    folder = write_liver()
    (folder / "notes.txt").write_text("no DICOM")
    said = segment(hepar, folder, tmp_path / "out", toy_folder)
    (seg,) = (tmp_path / "out").iterdir()
    series = dcmread(folder / "0.dcm").SeriesInstanceUID
    assert seg.name == f"{series}.dcm"
    assert "liver" in said
    assert "notes.txt: not a DICOM file" in said
    assert dcmread(seg).ReferencedSeriesSequence[0].SeriesInstanceUID == series


def test_segment_writes_what_else_was_asked_for_beside_the_seg(
    hepar, write_liver, toy_folder, tmp_path
):
    said = segment(hepar, write_liver(), tmp_path / "out", toy_folder, "--also", "report")
    assert "review: liver reaches the first slice, liver reaches the last slice" in said
    seg, report = sorted(map(dcmread, (tmp_path / "out").iterdir()), key=lambda each: each.Modality)
    assert (seg.Modality, report.Modality) == ("SEG", "SR")
    assert read_groups(report)[0].segment == (seg.SOPInstanceUID, 1)


def test_segment_says_why_not_and_goes_on(hepar, write_liver, toy_folder, tmp_path):
    both = write_liver("both/good").parent
    write_liver("both/mr", Modality="MR")
    gap = write_liver("both/gap")
    (gap / "4.dcm").unlink()
    said = segment(hepar, both, tmp_path / "out", toy_folder)
    assert "Modality is MR, not CT" in said
    assert "not segmented: " in said
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_segment_writes_labels_picture_and_figures_of_a_nifti_file(
    hepar, write_liver, toy_folder, tmp_path
):
    folder, out = write_liver(), tmp_path / "out"
    image = SimpleITK.ReadImage(sorted(map(str, folder.iterdir())))
    SimpleITK.WriteImage(SimpleITK.Flip(image, [True, True, False]), tmp_path / "scan.nii.gz")
    said = segment(*(hepar, tmp_path / "scan.nii.gz", out, toy_folder, "--preview", "--statistics"))
    names = {f"scan_labels{suffix}" for suffix in (".nii.gz", ".png", ".json", ".csv")}
    assert {path.name for path in out.iterdir()} == names
    assert "scan.nii.gz: " in said
    assert "review: liver reaches the first slice" in said
    figures = json.loads((out / "scan_labels.json").read_text())
    segment(hepar, folder, out, toy_folder, "--preview", "--statistics")
    (of_series,) = [path for path in out.glob("*.json") if path.stem != "scan_labels"]
    assert json.loads(of_series.read_text()) == figures
    assert of_series.with_name(of_series.name.replace(".json", ".png")).exists()
    (_, liver, tumour) = (out / "scan_labels.csv").read_text().splitlines()
    assert liver.startswith("liver,0,")
    assert tumour.startswith("tumour,1,64.0,")
    labels = SimpleITK.ReadImage(out / "scan_labels.nii.gz")
    seen = SimpleITK.GetArrayViewFromImage(SimpleITK.Flip(labels, [True, True, False]))
    assert (seen[:, 20:30, 20:30] == 2).all()
    assert (seen == 2).sum() == 800


def test_a_nifti_file_that_is_refused_is_an_error(hepar, toy_folder, tmp_path):
    (tmp_path / "scan.nii").write_bytes(b"no image")
    said = segment(hepar, tmp_path / "scan.nii", tmp_path / "out", toy_folder, status=1)
    assert "scan.nii: not segmented: scan.nii is no whole NIfTI image" in said


@pytest.mark.parametrize(
    ("name", "more", "reason"),
    [("a.dcm", (), "name the folder of a DICOM series"), ("a.nii", ("--also", "report"), "--also")],
)
def test_segment_of_a_file_names_what_would_do(hepar, toy_folder, tmp_path, name, more, reason):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(BadConfiguration, match=reason):
        segment(hepar, tmp_path / name, tmp_path / "out", toy_folder, *more)


def test_segment_refuses_a_series_without_a_frame_of_reference_unless_asked(
    hepar, write_liver, toy_folder, tmp_path
):
    folder = write_liver(FrameOfReferenceUID="")
    out = tmp_path / "out"
    assert "FrameOfReferenceUID" in segment(hepar, folder, out, toy_folder)
    assert list(out.iterdir()) == []
    segment(hepar, folder, out, toy_folder, "--derive-frame-of-reference")
    (seg,) = out.iterdir()
    assert "was derived from its series UID" in dcmread(seg).DerivationDescription


def test_segment_leaves_an_empty_patient_id_empty(hepar, write_liver, toy_folder, tmp_path):
    segment(hepar, write_liver(PatientID=""), tmp_path / "out", toy_folder)
    (seg,) = (tmp_path / "out").iterdir()
    assert dcmread(seg).PatientID == ""


def test_segment_of_a_folder_without_dicom_is_an_error(hepar, toy_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadConfiguration, match="no DICOM files in"):
        segment(hepar, tmp_path / "empty", tmp_path / "out", toy_folder)


def test_a_truncated_file_is_named_and_other_series_go_on(hepar, write_liver, toy_folder, tmp_path):
    both = write_liver("both/good").parent
    broken = write_liver("both/broken") / "3.dcm"
    broken.write_bytes(broken.read_bytes()[:-500])
    said = segment(hepar, both, tmp_path / "out", toy_folder)
    assert "not segmented: " in said
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_an_error_that_nobody_foresaw_stops_no_other_series(
    hepar, write_liver, toy_folder, tmp_path, monkeypatch
):
    both = write_liver("both/good").parent
    odd = write_liver("both/odd")

    def verify(file, sources, *_, **__):
        if sources[0].SeriesInstanceUID == dcmread(odd / "0.dcm").SeriesInstanceUID:
            raise KeyError("nobody thought of it")

    monkeypatch.setattr("dicom_node.results.make.verify_seg", verify)
    said = segment(hepar, both, tmp_path / "out", toy_folder, status=1)
    assert re.search(r"failed: unforeseen KeyError at .*test_commands\.py.* is withheld", said)
    assert "nobody thought" not in said
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize("command", ["segment", "demo", "phantom"])
def test_a_folder_that_cannot_be_made_is_named_at_once(
    hepar, write_liver, toy_folder, tmp_path, command
):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "out"
    words = {
        "segment": (write_liver(), "-o", out, "-m", toy_folder),
        "demo": (write_liver("more"), "-o", out, "-m", toy_folder),
        "phantom": (out,),
    }
    with pytest.raises(BadConfiguration, match=r"cannot write into .*out: Not a directory; name"):
        hepar(command, *words[command])


def test_phantom_writes_a_series_and_its_truth(hepar, tmp_path):
    options = ("--slices", 20, "--slice-mm", 10, "--size", 64, "--pixel-mm", 6, "--seed", 4)
    said = hepar("phantom", tmp_path / "p", *options)
    assert "20 slices" in said
    assert len(list((tmp_path / "p" / "ct").iterdir())) == 20
    assert {path.name for path in (tmp_path / "p" / "truth").iterdir()} == {
        "truth.dcm",
        "truth.npz",
    }


def test_demo_leaves_a_seg_and_a_picture_and_says_where(hepar, write_liver, toy_folder, tmp_path):
    said = hepar("demo", write_liver(), "-o", tmp_path / "out", "-m", toy_folder)
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".dcm", ".png"}
    for word in ("liver", "tumour", "receive", "quiet", "compute", "verify", "deliver", "SEG"):
        assert re.search(rf"^ *{word} ", said, re.MULTILINE), word


def test_demo_prints_what_it_found_or_why_not_as_json(
    hepar, write_liver, toy_folder, tmp_path, capfd
):
    words = "-o", tmp_path / "out", "-m", toy_folder, "--json"
    told = json.loads(hepar("demo", write_liver(), *words))
    assert (told["state"], told["slices"]) == ("done", 8)
    assert told["millilitres"]["liver"] > 0
    assert {"receive", "compute", "deliver"} <= told["seconds"].keys()
    for kind in ("seg", "picture"):
        assert Path(told[kind]).exists()


def test_demo_knows_how_many_come_and_does_not_wait_for_quiet(
    hepar, write_liver, toy_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("dicom_node.node.demo.QUIET_S", 60)
    said = hepar("demo", write_liver(), "-o", tmp_path / "out", "-m", toy_folder)
    (quiet_s,) = re.findall(r"^ *quiet +([\d.]+) s", said, re.MULTILINE)
    assert float(quiet_s) < 60


def test_demo_of_a_series_that_is_not_eligible_says_why(hepar, write_liver, toy_folder, tmp_path):
    folder = write_liver(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    said = hepar("demo", folder, "-o", tmp_path / "out", "-m", toy_folder, status=1)
    assert "not selected: ImageType holds LOCALIZER" in said


def test_send_takes_an_address_or_the_name_of_a_peer(hepar, write_liver, tmp_path):
    folder = write_liver()
    config = tmp_path / "hepar.toml"
    config.write_text(f'[peers.shelf]\nkind = "folder"\nfolder = "{tmp_path / "shelf"}"\n')
    assert "8 instances sent to shelf" in hepar("send", folder, "shelf", "-c", config)
    assert len(list((tmp_path / "shelf").iterdir())) == 8
    told = json.loads(hepar("send", folder, "shelf", "--json", "-c", config))
    assert told == {"peer": "shelf", "sent": 8, "refused": {}}
    with pytest.raises(BadConfiguration, match="no peer 'shell', only shelf"):
        hepar("send", folder, "shell", "-c", config)
    with pytest.raises(PeerUnavailable):
        hepar("send", folder, "X@127.0.0.1:1", "-c", config)


def test_jobs_before_any_node_ran_says_so(hepar, tmp_path):
    config = tmp_path / "hepar.toml"
    config.write_text(f'[node]\ndata = "{tmp_path / "data"}"\n')
    with pytest.raises(UnknownJob, match="there are no jobs yet"):
        hepar("jobs", "list", "-c", config)


def test_jobs_tells_of_a_running_and_of_a_stopped_node(hepar, toy_folder, tmp_path):
    config = tmp_path / "hepar.toml"
    config.write_text(
        f'[node]\ndata = "{tmp_path / "data"}"\n[viewer]\nurl = "http://v/{{study}}/{{series}}"\n'
    )
    settings = Settings(
        node={"data": tmp_path / "data", "port": 0},
        receive={"quiet_s": 0.2, "keep_free_mb": 0},
        engine={"model": toy_folder},
    )
    made = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)
    paths = write_series(made, "jobs", tmp_path / "series")
    with (
        running_node(settings, open_device=lambda model, settings: Thresholds()) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        peer = StorePeer("node", node.ae_title, *node.address)
        peer.send_many(paths)
        wait_until(lambda: [job.state for job in ledger.jobs()] == [State.DONE])
        peer.send_many(paths[:3])  # known instances: the same series again, whole
        peer.send_many(write_series(made, "single", tmp_path / "single")[:1])
        wait_until(lambda: [job.state for job in ledger.jobs()] == [State.DONE, State.REFUSED])
        job, failed = ledger.jobs()
        listed, to_review = (hepar("jobs", "list", *more, "-c", config) for more in ((), LOOK))
        assert re.search(rf"{job.id} .*done", listed)
        assert re.search(rf"{failed.id} .*refused .*single slice", listed)
        (told,) = json.loads(hepar("jobs", "list", "--state", "refused", "--json", "-c", config))
        assert (told["job"], told["state"]) == (failed.id, "refused")
        for words in (("--peer", "nobody"), ("--since", "2099-01-01")):
            assert json.loads(hepar("jobs", "list", "--json", *words, "-c", config)) == []
        assert json.loads(hepar("jobs", "show", job.id, "--json", "-c", config))["state"] == "done"
        assert re.search(rf"{job.id} .*liver reaches the first slice", to_review)
        assert failed.id not in to_review
    said = hepar("jobs", "show", job.id[:6], "-c", config)
    link = f"http://v/{job.study_uid}/{job.outcome.seg_series_uid}"
    for word in (job.id, job.series_uid, "to folder", "liver", "compute", "review", link):
        assert word in said
    assert "nothing to do, it is done" in hepar("jobs", "retry", job.id, "-c", config)
    assert "20 instances in" in hepar("jobs", "bundle", job.id, "-o", tmp_path / "b", "-c", config)
    with pytest.raises(BadConfiguration, match="name the jobs to retry, or give --failed"):
        hepar("jobs", "retry", "-c", config)
    assert hepar("jobs", "retry", "--failed", "--peer", "folder", "-c", config) == ""
    assert f"{failed.id}: segment" in hepar("jobs", "retry", "--failed", "-c", config)
    assert "segment again" in hepar("jobs", "redo", job.id, "-c", config)
    assert "nothing to do, it is waiting" in hepar("jobs", "retry", "--again", job.id, "-c", config)
    with pytest.raises(
        BadConfiguration, match="no peer 'pacs' in the configuration; known: folder"
    ):
        hepar("jobs", "send", job.id, "--to", "pacs", "-c", config)
    with pytest.raises(UnknownJob, match="no jobs match 'xyz'"):
        hepar("jobs", "show", "xyz", "-c", config)


def test_results_are_sent_to_a_further_peer_once_it_is_configured(hepar, toy_folder, tmp_path):
    def config(*peers):
        tables = [
            f'[peers.{each}]\nkind = "folder"\nfolder = "{tmp_path / each}"\n' for each in peers
        ]
        path = tmp_path / "hepar.toml"
        path.write_text(
            f'[node]\ndata = "{tmp_path / "data"}"\nport = 0\n[receive]\nquiet_s = 0.2\n'
            f'keep_free_mb = 0\n[engine]\nmodel = "{toy_folder}"\n' + "".join(tables)
        )
        return path

    made = make_phantom(shape=(20, 64, 64), spacing_mm=(10, 6, 6), noise_hu=2, tumours=0)
    paths = write_series(made, "sent", tmp_path / "series")
    settings = load_settings(config("first"))
    opened = {"open_device": lambda model, settings: Thresholds()}
    with (
        running_node(settings, **opened) as node,
        open_ledger(settings.database_url) as ledger,
    ):
        StorePeer("node", node.ae_title, *node.address).send_many(paths)
        wait_until(lambda: [job.state for job in ledger.jobs()] == [State.DONE])
    (job,) = ledger_of(settings)
    path = config("first", "second")
    assert "send to second" in hepar("jobs", "send", job.id, "--to", "second", "-c", path)
    settings = load_settings(path)
    with (
        running_node(settings, **opened),
        open_ledger(settings.database_url) as ledger,
    ):
        wait_until(lambda: [job.state for job in ledger.jobs()] == [State.DONE])
    (first,), (second,) = ((tmp_path / each).iterdir() for each in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def ledger_of(settings):
    with open_ledger(settings.database_url) as ledger:
        return ledger.jobs()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_job_is_one_line_on_a_terminal_of_80_columns(monkeypatch):
    long = "the slices are uneven: " + "7 mm between 3 and 4, " * 9
    job = Job(
        id="0123456789abcdef",
        study_uid="1.2",
        series_uid="1.2.3",
        paths=(Path("a"),) * 300,
        queue="segment on x",
        urgent=False,
        created=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        finished=None,
        state=State.FAILED,
        reason=long,
        outcome=None,
        deliveries=(),
    )
    monkeypatch.setenv("COLUMNS", "80")
    for screen, lines in ((Terminal(), 3), (io.StringIO(), 3)):
        monkeypatch.setattr("sys.stdout", screen)
        print_jobs([job, job])
        assert len(screen.getvalue().splitlines()) == lines
        assert (long.strip() in screen.getvalue()) == (not screen.isatty())
        shown = Text.from_ansi(screen.getvalue()).plain.splitlines()
        assert not screen.isatty() or max(map(len, shown)) <= 80
        for line in shown[1:]:
            assert line.startswith(f"{job.id}  failed  ")
            assert "the slices are uneven" in line
