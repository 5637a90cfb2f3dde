import pytest
from pydicom import dcmwrite

from dicom_node.attributes import UNREADABLE
from dicom_node.choice.contrast_phase import Phase
from dicom_node.choice.kernel import Sharpness
from dicom_node.choice.reading import read_candidate
from dicom_node.selection.rules import Rules

DEFAULT = Rules()


@pytest.fixture
def read(tmp_path):
    def read(instances, rules=DEFAULT, **attributes):
        for index, instance in enumerate(instances):
            for keyword, value in attributes.items():
                setattr(instance, keyword, value)
            dcmwrite(tmp_path / f"{index:03d}.dcm", instance, enforce_file_format=True)
        return read_candidate("job", sorted(tmp_path.glob("*.dcm")), rules)

    return read


def test_headers_make_a_candidate(read, ct_series):
    found = read(
        ct_series(slices=5),
        SeriesNumber=7,
        SeriesDescription="Abdomen venous",
        ConvolutionKernel="B30f",
        SliceThickness=1.5,
    )
    assert (found.job, found.number, found.slices) == ("job", "7", 5)
    assert (found.phase.phase, found.phase.by) == (Phase.PORTAL, "by its name")
    assert (found.kernel, found.thickness_mm) == (Sharpness.SOFT, 1.5)


def test_the_protocol_names_the_phase_where_the_description_does_not(read, ct_series):
    found = read(ct_series(), SeriesDescription="Abdomen", ProtocolName="Liver arterial")
    assert found.phase.phase is Phase.ARTERIAL


def test_the_description_outweighs_the_protocol_and_the_time(read, ct_series):
    found = read(
        ct_series(),
        SeriesDescription="venous",
        ProtocolName="Liver arterial",
        ContrastBolusStartTime="101000",
        AcquisitionTime="101030",
    )
    assert found.phase.phase is Phase.PORTAL


def test_the_time_after_the_injection_stands_in_for_a_name(read, ct_series):
    found = read(
        ct_series(),
        SeriesDescription="Abdomen",
        ContrastBolusStartTime="101000.5",
        AcquisitionDate="20260102",
        AcquisitionTime="101112",
    )
    assert (found.phase.phase, found.phase.by) == (Phase.PORTAL, "72 s after the injection")


def test_a_multi_frame_series_counts_its_frames(read, ct_series, enhanced_ct):
    found = read([enhanced_ct(ct_series(slices=6))])
    assert (found.slices, found.thickness_mm) == (6, 2.0)


@pytest.mark.parametrize(
    ("rules", "attributes"),
    [(Rules(min_slices=7), {}), (Rules(), {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})],
)
def test_a_series_that_rules_exclude_is_no_candidate(read, ct_series, rules, attributes):
    assert read(ct_series(slices=6), rules, **attributes) is None


def test_a_damaged_file_is_reported(tmp_path):
    (tmp_path / "000.dcm").write_bytes(b"no DICOM" * 100)
    with pytest.raises((OSError, *UNREADABLE)):
        read_candidate("job", [tmp_path / "000.dcm"], Rules())
