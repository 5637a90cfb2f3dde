"""Inputs as they were met in the field: each answers as its EXPECT.txt says (shared/cases/intake).

Those named `wire_*` come by C-STORE and are tested with the receiver.
"""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.errors import UnsupportedSeries
from dicom_node.logs import quieten_libraries
from dicom_node.pipeline.outcome import Verdict
from dicom_node.pipeline.process import process
from dicom_node.pipeline.segmenter import SegmentationSetup
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.retrieve.folder import discover
from dicom_node.selection.rules import Rules
from tests.dicom_node.node_process import Thresholds

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases" / "intake"
SETUP = SegmentationSetup(Thresholds(), Algorithm("toy", "1", "ab" * 32), Rules())

SAME_MASK = (
    *("charset_changes", "charset_unknown", "damaged_neighbours", "dates_of_old"),
    *("dose_report_and_dicomdir", "enhanced_in_two", "enhanced_one", "enhanced_shuffled"),
    *("files_twice", "instance_number_useless", "lossy_ratio_comma", "meta_says_explicit"),
    *("decimals_long", "mirrored_columns", "name_delimiters", "name_gb18030"),
    *("name_gbk_undeclared", "name_korean", "name_latin1_undeclared", "name_utf8_misspelt"),
    *("no_preamble", "overlay_in_high_bits", "padding_vr_signed", "rescale_differs"),
    *("rtstruct_same_series", "shorts_too_long", "spacing_negative", "thickness_comma"),
    *("turned_90", "uids_leading_zeros", "vr_unknown_length_odd"),
)
NEARLY = {
    "matrix_1024": 0.03,
    "orientation_noise_1e-4": 0.01,
    "pixels_not_square": 0.03,
    "slices_10_mm": 0.1,
}
"""Volumes within so much of the base's: the pixels are others."""
REFUSED = {
    "accession_changes": r"different AccessionNumber: one value in 16 slices, another in 8; corr",
    "acquisition_number_text": r"gaps .*slices are missing between",
    "derived_secondary_axial": r"ImageType is DERIVED\\SECONDARY\\AXIAL",
    "high_bit_15_of_12": r"BitsStored is 12 and HighBit 15",
    "meta_says_j2k": r"transfer syntax .* says JPEG 2000 .*not compressed; correct",
    "spacing_comma": r"PixelSpacing .*0,7265625",
}
STACKS = {
    "dual_energy_same_place": (["KVP 80", "KVP 140"], 2),
    "perfusion": ([f"AcquisitionNumber {number}" for number in range(1, 9)], 1),
    "phases_interleaved": (["AcquisitionNumber 1", "AcquisitionNumber 2"], 2),
}
"""Labels of the stacks, and how many of them are segmented."""

NOTES = {
    "files_twice": "9 files hold instances twice",
    "rtstruct_same_series": "1 of 25 instances passed over: not CT: SOPClassUID is RT Structure",
    "rescale_differs": "Rescale slope and intercept differ between slices",
}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder with the slices 30 to 53 from the feet that the cases are made of."""
    folder = CASES.parents[1] / "data" / "ct" / "chaos3" / "dicom"
    if not CASES.is_dir() or not folder.is_dir():
        pytest.skip(f"no cases at {CASES}")
    heights = {
        path: float(dcmread(path, specific_tags=["ImagePositionPatient"]).ImagePositionPatient[2])
        for path in folder.iterdir()
    }
    part = tmp_path_factory.mktemp("source")
    for path in sorted(heights, key=lambda each: heights[each])[29:53]:
        (part / path.name).write_bytes(path.read_bytes())
    return part


@pytest.fixture(scope="module")
def make(source, tmp_path_factory):
    """Make a case, in a process of its own: its script changes pydicom's settings."""

    def made(name):
        folder = tmp_path_factory.mktemp(name)
        script = CASES / name / "make.py"
        subprocess.run([sys.executable, "-W", "ignore", script, source, folder], check=True)
        return folder

    return made


def segment(folder):
    """Segment the largest series in a folder as `hepar segment` does."""
    with warnings.catch_warnings():
        quieten_libraries()
        found = discover(folder)
        uid = max(found.series, key=lambda each: len(found.series[each]))
        paths = found.series[uid]
        return process(paths, folder.with_suffix(".seg.dcm"), SETUP, series=uid), found


@pytest.fixture(scope="module")
def base(make):
    return segment(make("base"))[0]


def marked(seg_file):
    """Where the liver is marked: whole tenths of millimetres, sorted."""
    seg = dcmread(seg_file)
    shared = seg.SharedFunctionalGroupsSequence[0]
    row, column = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3))
    down, across = shared.PixelMeasuresSequence[0].PixelSpacing
    planes = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    points = []
    for groups, mask in zip(seg.PerFrameFunctionalGroupsSequence, planes, strict=True):
        corner = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(mask)
        points.append(corner + np.outer(columns * across, row) + np.outer(rows * down, column))
    tenths = np.rint(np.concatenate(points).astype(float) * 10).astype(np.int64)
    return np.sort(tenths @ [1, 1 << 20, 1 << 40])


@pytest.mark.parametrize("name", SAME_MASK)
def test_the_mask_lies_at_the_same_millimetres(make, base, name):
    folder = make(name)
    made, _ = segment(folder)
    assert made.verdict is Verdict.SEGMENTED
    assert np.array_equal(marked(made.seg), marked(base.seg))
    assert any(NOTES.get(name, "") in note for note in (*made.notes, ""))


@pytest.mark.parametrize("name", NEARLY)
def test_other_pixels_show_nearly_the_same_volume(make, base, name):
    made, _ = segment(make(name))
    assert made.millilitres["liver"] == pytest.approx(base.millilitres["liver"], rel=NEARLY[name])


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_computed_is_refused_with_a_reason_and_a_remedy(make, name):
    with pytest.raises(UnsupportedSeries, match=REFUSED[name]) as caught:
        segment(make(name))
    assert "; " in str(caught.value)
    assert "FIELD" not in str(caught.value)


@pytest.mark.parametrize("name", STACKS)
def test_several_stacks_are_several_named_results(make, name):
    labels, segmented = STACKS[name]
    made, _ = segment(make(name))
    assert [each.label for each in made.each] == labels
    verdicts = [each.verdict for each in made.each]
    assert verdicts.count(Verdict.SEGMENTED) == segmented


@pytest.mark.parametrize("name", [name for name in SAME_MASK if name.startswith("name_")])
def test_the_name_reads_as_in_the_source(make, name):
    folder = make(name)
    made, found = segment(folder)
    (paths,) = found.series.values()
    assert dcmread(made.seg).PatientName == dcmread(paths[0]).PatientName


def test_damaged_files_beside_a_series_are_each_named(make):
    _, found = segment(make("damaged_neighbours"))
    assert len(found.others) == 6
    assert all(found.others.values())


def test_a_disc_is_read_and_its_table_of_contents_named(make):
    _, found = segment(make("dose_report_and_dicomdir"))
    assert {path.name: "DICOMDIR" in why for path, why in found.others.items()} == {
        "dicomdir": True
    }
