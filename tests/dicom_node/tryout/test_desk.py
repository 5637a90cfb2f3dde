"""Uploads from their files to results, without a web server."""

import shutil
import zipfile
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.errors import NoRoomForUpload, UnknownTryout
from dicom_node.pipeline.outcome import Verdict
from dicom_node.pipeline.scan_file import read_slice
from dicom_node.pipeline.segmenter import Segmenter
from dicom_node.results.phantom import write_series
from dicom_node.selection.rules import Rules
from dicom_node.tryout.bounds import MB, Bounds
from dicom_node.tryout.compute import Means
from dicom_node.tryout.desk import MOST_WAITING, Desk
from dicom_node.tryout.shelf import Shelf
from dicom_node.tryout.tryout import Stage
from engine.model import default_model_folder, load_model
from engine.phantom import make_phantom
from engine.serving.fleet import Fleet, Opener
from engine.serving.turns import DeviceQueue
from tests.dicom_node.node_process import Thresholds
from tests.waiting import wait_until

THRESHOLDS = Thresholds()


@cache
def model():
    """The model that ships, without its comparison of scans: the phantoms are unlike any scan."""
    base = load_model(default_model_folder())
    return replace(base, manifest=base.manifest.model_copy(update={"domain": None}))


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(shape=(16, 48, 48), spacing_mm=(12, 8, 8), noise_hu=2)


def to_desk(folder, device=THRESHOLDS, at_work=lambda job: nullcontext()):
    """Return a desk whose uploads `device` computes."""
    folder.mkdir(exist_ok=True)
    fleet = Fleet([Opener("device", lambda: device)])
    means = Means(Segmenter(model(), Rules(), fleet), DeviceQueue(), at_work)
    return Desk(Shelf(folder, timedelta(hours=1)), Bounds(64 * MB, 0), means)


@pytest.fixture
def make_desk(tmp_path):
    """Make a desk on a folder of this test."""
    return partial(to_desk, tmp_path / "tries")


@pytest.fixture(scope="module")
def series(phantom, tmp_path_factory):
    return write_series(phantom, "tried", tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="module")
def tried_series(series, tmp_path_factory):
    """A desk, a series that it computed, and what the device and the crash record saw of it."""
    noted, turns = [], []

    @contextmanager
    def at_work(job):
        noted.append(job)
        yield

    desk = to_desk(tmp_path_factory.mktemp("tries"), at_work=at_work)
    taken = desk._means.device_queue.turn

    @contextmanager
    def turn(*, urgent):
        with taken(urgent=urgent):
            turns.append(urgent)
            yield

    desk._means.device_queue.turn = turn
    return SimpleNamespace(desk=desk, done=tried(desk, *series), noted=noted, turns=turns)


def drop(desk, *files, user="anna"):
    """Upload files."""
    tryout, upload = desk.open_upload(user)
    for file in files:
        part = upload.begin({"content-disposition": f'form-data; filename="Doe^Jane/{file.name}"'})
        part.write(file.read_bytes())
        part.end()
    desk.submit(tryout)
    return tryout.id


def ended(desk, name):
    wait_until(lambda: not desk.find(name).stage.active)
    return desk.find(name)


def tried(desk, *files):
    """Upload files and return what came of them."""
    with desk.working():
        return ended(desk, drop(desk, *files))


def test_a_series_gets_a_seg_and_a_nifti_with_the_same_voxels(tried_series):
    desk, done = tried_series.desk, tried_series.done
    assert (done.stage, done.error, done.passed_over) == (Stage.DONE, "", 0)
    (scan,) = done.scans
    seg = dcmread(desk.shelf.result(done.id, f"{scan.stem}.dcm"))
    image = nibabel.load(desk.shelf.result(done.id, f"{scan.stem}.nii.gz"))
    labels = np.asarray(image.dataobj)
    heights = {}
    for frame, pixels in zip(
        seg.PerFrameFunctionalGroupsSequence, seg.pixel_array.reshape(-1, 48, 48), strict=True
    ):
        at = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        at = np.linalg.solve(image.affine, [-at[0], -at[1], at[2], 1])  # DICOM's x and y turn back
        column, row, slice_ = np.rint(at[:3]).astype(int)
        assert (column, row) == (0, 0)
        assert np.array_equal(labels[:, :, slice_].T == 1, pixels)  # liver is the only segment
        heights[slice_] = heights.get(slice_, 0) + pixels.sum()
    assert sum(heights.values()) == np.count_nonzero(labels) > 0
    assert scan.view.marked == tuple(sorted(int(each) + 1 for each in heights))


def test_the_slices_to_scroll_through_are_those_of_the_series(tried_series, series):
    desk, done = tried_series.desk, tried_series.done
    (scan,) = done.scans
    assert scan.view.slices == 16
    file, start = desk.shelf.result(done.id, f"{scan.stem}.scan.npy"), scan.view.start - 1
    for index in (0, start, 15):
        shown = read_slice(file, index)
        hu = dcmread(series[index]).pixel_array + float(dcmread(series[index]).RescaleIntercept)
        grey = np.clip((hu + 160) * 255 / 400, 0, 255)
        assert np.abs(shown.grey - grey).max() <= 1
    assert read_slice(
        desk.shelf.result(done.id, f"{scan.stem}.scan.npy"), scan.view.start - 1
    ).labels.any()


def test_a_zip_and_a_nifti_in_one_upload_are_two_scans(make_desk, tried_series, series, tmp_path):
    packed = tmp_path / "study.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in series:
            archive.write(path, f"Doe/{path.name}")
        archive.writestr("__MACOSX/._1.dcm", b"\x00\x05\x16\x07" + bytes(40))
    (first,) = tried_series.done.scans
    kept = tried_series.desk.shelf.result(tried_series.done.id, f"{first.stem}.nii.gz")
    image = nibabel.load(kept)
    hu = np.where(np.asarray(image.dataobj) > 0, 100, 40).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(hu, image.affine), tmp_path / "scan.nii.gz")
    both = tried(make_desk(), packed, tmp_path / "scan.nii.gz")
    assert [each.outcome.verdict for each in both.scans] == [Verdict.SEGMENTED] * 2
    assert both.passed_over == 1
    liver = [each.outcome.millilitres["liver"] for each in both.scans]
    assert liver == pytest.approx([first.outcome.millilitres["liver"]] * 2)
    assert both.scans[1].view == first.view


def test_the_upload_is_gone_once_the_results_exist(tried_series):
    desk, done = tried_series.desk, tried_series.done
    assert not desk.shelf.uploaded(done.id).exists()
    names = {each.name for each in desk.shelf.folder.rglob("*") if each.is_file()}
    assert names == {
        "tryout.json",
        *(f"series-1{each}" for each in (".dcm", ".pdf.dcm", ".pdf.html", ".json", ".csv")),
        *(f"series-1{each}" for each in (".nii.gz", ".scan.npy")),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xd8\xff\xe0 a photograph", "holds no scan; the first of 1: not a DICOM file"),
        (b"PK\x03\x04 no more of it", "the zip breaks off; pack it again"),
        (b"\x1f\x8b no NIfTI", "no whole NIfTI image"),
    ],
)
def test_what_is_no_scan_is_named_once(make_desk, tmp_path, content, message):
    file = tmp_path / "file"
    file.write_bytes(content)
    done = tried(make_desk(), file)
    errors = [done.error, *(each.outcome.reason for each in done.scans)]
    assert len(list(filter(None, errors))) == 1
    assert message in "".join(errors)
    assert str(tmp_path) not in "".join(errors)


def test_a_series_with_a_gap_is_refused_with_its_reason(make_desk, series):
    done = tried(make_desk(), *series[:6], *series[7:])
    (scan,) = done.scans
    assert scan.outcome.verdict is Verdict.REFUSED
    assert "gaps" in scan.outcome.reason
    assert scan.view is None


class Breaking(Thresholds):
    def run(self, hu, spacing_mm):
        raise KeyError("Doe^Jane")


def test_whatever_breaks_ends_one_upload_and_names_no_patient(make_desk, series, caplog):
    desk = make_desk(Breaking())
    with desk.working():
        first, second = drop(desk, *series), drop(desk, *series)
        errors = [ended(desk, each).error for each in (first, second)]
    assert all("KeyError" in each for each in errors)
    assert "Doe" not in "".join(errors) + caplog.text


class Stepwise(Thresholds):
    """A device that waits for the test before each batch."""

    def __init__(self):
        self.entered, self.open = False, False

    def run(self, hu, spacing_mm):
        self.entered = True
        wait_until(lambda: self.open)
        return super().run(hu, spacing_mm)


def test_an_upload_that_is_removed_while_it_is_computed_leaves_nothing(make_desk, series):
    device = Stepwise()
    desk = make_desk(device)
    with desk.working():
        name = drop(desk, *series)
        wait_until(lambda: device.entered)
        assert desk.find(name).stage is Stage.COMPUTING
        assert desk.find(name).at_work == "series 1 of 1"
        desk.remove(name)
        device.open = True
        done = ended(desk, drop(desk, series[0]))  # the next has its turn
        with pytest.raises(UnknownTryout, match="removed after 1 hours"):
            desk.find(name)
        wait_until(lambda: [each.name for each in desk.shelf.folder.iterdir()] == [done.id])


def test_what_a_restart_cut_off_is_named(make_desk, series):
    desk = make_desk()
    name = drop(desk, *series)  # and the node dies
    again = make_desk()
    with again.working():
        found = ended(again, name)
    assert found.stage is Stage.FAILED
    assert "restarted" in found.error
    assert not again.shelf.uploaded(name).exists()


def test_results_outlive_a_restart_and_are_removed_after_their_time(make_desk, tried_series):
    done, shelf = tried_series.done, make_desk().shelf
    shutil.copytree(tried_series.desk.shelf.folder, shelf.folder, dirs_exist_ok=True)
    assert shelf.find(done.id) == done
    assert shelf.sweep(done.created + timedelta(minutes=59)) == []
    assert shelf.sweep(done.created + timedelta(minutes=61)) == [done.id]
    assert list(shelf.folder.iterdir()) == []


def test_what_an_intake_left_is_removed_after_the_same_time(make_desk):
    desk = make_desk()
    tryout, _ = desk.open_upload("anna")
    assert desk.shelf.sweep(datetime.now(UTC)) == []
    assert desk.shelf.sweep(datetime.now(UTC) + timedelta(hours=2)) == [tryout.id]


def test_no_more_uploads_wait_than_are_allowed(make_desk, series):
    desk = make_desk()
    for _ in range(MOST_WAITING):
        drop(desk, series[0])
    with pytest.raises(NoRoomForUpload, match="wait already"):
        desk.open_upload("anna")


@pytest.mark.parametrize("name", ["", "..", "x", "a/b", "x" * 22])
def test_a_name_that_was_never_given_is_unknown(make_desk, name):
    with pytest.raises(UnknownTryout):
        make_desk().find(name)


def test_uploads_are_listed_for_their_user(make_desk, series):
    desk = make_desk()
    mine, _ = (drop(desk, series[0], user=user) for user in ("anna", "ben"))
    assert [each.id for each in desk.of("anna")] == [mine]


def test_the_device_is_shared_in_turns_with_the_jobs_and_work_is_noted(tried_series):
    assert tried_series.noted == [f"try-{tried_series.done.id}"]
    assert tried_series.turns == [False, False]  # 16 slices, 8 at a time
