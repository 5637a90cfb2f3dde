"""DCMTK sends real series to the running node; their SEGs are looked up in a real Orthanc."""

from pathlib import Path

import pytest
import SimpleITK
from pydicom import dcmread

from engine.model import Model, default_model_folder
from engine.volume import Label
from tests.system.conftest import Expected, Series
from tests.system.judges import dciodvfy, dice, on_grid, read_by_dcmqi
from tests.system.servers import HeparNode, Orthanc, storescu
from tests.waiting import wait_until

SENT = {"chaos3": (), "lits0": (), "totalseg20": ("--propose-j2k-lossless",)}
"""Series and what DCMTK's storescu needs to send them as they are."""

Segs = dict[str, Path]


@pytest.fixture(scope="module")
def delivered(
    real_series: Series, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Segs]:
    """SEGs of each series in two archives, to which one node delivered by C-STORE and STOW-RS."""
    folder = tmp_path_factory.mktemp("archives")
    archives = {kind: Orthanc(folder / kind) for kind in ("store", "stow")}
    peers = "".join(each.peer(kind, name=kind) for kind, each in archives.items())
    with (
        archives["store"],
        archives["stow"],
        HeparNode(folder / "node", peers, model=model.folder) as node,
    ):
        for name, options in SENT.items():
            storescu(node.port, real_series(name), *options, called="HEPAR")
        for each in archives.values():
            wait_until(lambda archive=each: len(archive.segmentations()) == 3, 480)
        firsts = {name: real_series(name)[0] for name in SENT}
        return {
            kind: by_series(
                [each.download(seg, each.folder) for seg in each.segmentations()], firsts
            )
            for kind, each in archives.items()
        }


@pytest.fixture(params=["store", "stow"])
def segs(request: pytest.FixtureRequest, delivered: dict[str, Segs]) -> Segs:
    """SEGs of each series in the archive that got them in this way."""
    return delivered[request.param]


def by_series(segs: list[Path], firsts: dict[str, Path]) -> Segs:
    """Return the SEG of each series, by the series that it refers to."""
    referred = {dcmread(seg).ReferencedSeriesSequence[0].SeriesInstanceUID: seg for seg in segs}
    return {name: referred[dcmread(first).SeriesInstanceUID] for name, first in firsts.items()}


@pytest.mark.parametrize("name", SENT)
def test_dciodvfy_accepts_the_seg_in_the_archive(segs: Segs, name: str):
    status, words = dciodvfy(segs[name])
    assert status == 0, words


@pytest.mark.parametrize("name", SENT)
def test_dcmqi_reads_the_same_mask_in_the_same_place(
    segs: Segs, name: str, expected_labels: Expected, tmp_path: Path
):
    expected = expected_labels(name)
    read = read_by_dcmqi(segs[name], tmp_path)
    assert set(read) == {
        int(label) for label in Label if label and (expected.labels == label).any()
    }
    for label, image in read.items():
        assert (on_grid(image, expected.geometry) == (expected.labels == label)).all()


@pytest.mark.parametrize("name", SENT)
def test_the_seg_belongs_to_the_patient_study_and_frame_of_its_source(
    segs: Segs, name: str, real_series: Series
):
    seg, source = dcmread(segs[name]), dcmread(real_series(name)[0])
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg.get(keyword) == source.get(keyword), keyword


def test_the_liver_of_chaos3_is_where_experts_drew_it(
    segs: Segs, model: Model, shared_data: Path, expected_labels: Expected, tmp_path: Path
):
    if model.folder != default_model_folder():
        pytest.skip(f"no default model in {default_model_folder()}")
    grid = expected_labels("chaos3").geometry
    drawn = on_grid(SimpleITK.ReadImage(str(shared_data / "ct/chaos3/liver.nii.gz")), grid)
    found = sum(on_grid(image, grid) for image in read_by_dcmqi(segs["chaos3"], tmp_path).values())
    assert dice(found > 0, drawn) >= 0.96
