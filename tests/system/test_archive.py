"""DCMTK sends real series to the running node; their SEGs are looked up in a real Orthanc."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import SimpleITK
from pydicom import dcmread

from dicom_node.series.reading import read_series
from dicom_node.series.volume import to_volume
from engine.model import Model, default_model_folder
from engine.segmentation.segment import segment
from engine.serving.cpu import open_device
from engine.volume import Label, LabelMap
from tests.system.conftest import Series
from tests.system.judges import dciodvfy, dice, on_grid, read_by_dcmqi
from tests.system.servers import HeparNode, Orthanc, storescu
from tests.waiting import wait_until

SENT = {"chaos3": (), "lits0": (), "totalseg20": ("--propose-j2k-lossless",)}
"""Series and what DCMTK's storescu needs to send them as they are."""

SLICES = {"lits0": slice(24, 50)}
"""Those that are sent of a long series: with liver and tumour."""

Segs = dict[str, Path]
Expected = Callable[[str], LabelMap]


@pytest.fixture(scope="module")
def sent(real_series: Series) -> Series:
    """Files of a series by its name, as many as are sent."""
    return lambda name: real_series(name)[SLICES.get(name, slice(None))]


@pytest.fixture(scope="module")
def expected_labels(sent: Series, model: Model) -> Expected:
    """The label map of what is sent by name, computed here, without the node."""
    device = open_device(model)
    return cache(lambda name: segment(to_volume(read_series(sent(name))), device).label_map)


@pytest.fixture(scope="module")
def delivered(
    sent: Series, model: Model, tmp_path_factory: pytest.TempPathFactory
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
            storescu(node.port, sent(name), *options, called="HEPAR")
        for each in archives.values():
            wait_until(lambda archive=each: len(archive.segmentations()) == 3, 480)
        firsts = {name: sent(name)[0] for name in SENT}
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
    segs: Segs, name: str, sent: Series
):
    seg, source = dcmread(segs[name]), dcmread(sent(name)[0])
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
