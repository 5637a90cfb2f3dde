"""Headers of the field, as a script beside the project makes them; skipped where that is absent."""

import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from dicom_node.results.phantom import write_series
from dicom_node.results.seg import encode
from dicom_node.series.reading import read_series
from dicom_node.verify.report import verify_report
from dicom_node.verify.seg import verify_seg
from engine.findings.quality import Quality
from engine.phantom import make_phantom
from tests.dicom_node.drawing import draw_case
from tests.system.judges import dciodvfy

SCRIPT = Path(__file__).resolve().parents[4] / "shared/cases/results/headers/make.py"
NAMES = re.findall(r"@case\ndef (\w+)", SCRIPT.read_text()) if SCRIPT.exists() else []

COPIED = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID"),
    *("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
    *("StudyDescription", "ReferringPhysicianName", "TimezoneOffsetFromUTC"),
)
"""Attributes whose bytes are those of the source, whatever these are worth."""

INVALID_AT_THE_SOURCE = {
    "age_sex": "Sex",
    "backslashes": "PatientID|StudyID|AccessionNumber|StudyDescription",
    "bad_dates": "Study Date|Study Time|Birth Date",
    "birthdate_bad": "Birth Date",
    "charset_gbk": "Name|Series Description",  # the validator does not know GBK
    "charset_unknown": "Specific Character Set|Name",
    "deid_long": "De-identification Method",
    "latin1_undeclared": "Study Description|Name",
    "long_values": "Accession Number|Referring Physician|Study ID|Study Description|Patient ID|"
    "Institution Name|Station Name",
    "pid_backslash_only": "PatientID",
    "pn_components6": "Name",
    "pn_multi": "PatientName",
    "utf8_declared_latin1_bytes": "Name",
}
"""Attributes of patient, study and scanner that the validator may find fault with."""


@pytest.fixture(scope="module")
def variants(tmp_path_factory):
    """A folder of small series, one for each variant."""
    folder = tmp_path_factory.mktemp("headers")
    phantom = make_phantom(3, shape=(9, 24, 28), spacing_mm=(26, 15, 14), tumours=0)
    write_series(phantom, "headers", folder / "base")
    command = [sys.executable, SCRIPT, folder / "base", folder / "out"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "out"


@pytest.mark.skipif(not SCRIPT.exists(), reason="needs ../shared/cases")
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_series_with_such_headers_has_a_valid_seg_and_report(name, variants, tmp_path):
    case = draw_case(read_series(sorted((variants / name).glob("*.dcm"))))
    seg = case.seg()
    files = encode(seg), encode(case.report(seg))
    verify_seg(files[0], case.sources, case.label_map)
    verify_report(files[1], seg, case.label_map, case.measured, Quality(), case.sources)
    paths = (variants / name).glob("*.dcm")
    source = min(map(dcmread, paths), key=lambda each: str(each.SOPInstanceUID))
    for file in files:
        made = dcmread(BytesIO(file), stop_before_pixels=True)
        for keyword in COPIED:
            assert raw(made, keyword) == raw(source, keyword), keyword
        assert not any(tag.is_private for tag in made)
        (tmp_path / "object.dcm").write_bytes(file)
        assert faults(tmp_path / "object.dcm", INVALID_AT_THE_SOURCE.get(name)) == []


def raw(dataset: Dataset, keyword: str) -> str:
    """Return the bytes of a value without padding as text; empty where it is absent."""
    value = dataset.get_item(keyword).value if keyword in dataset else b""
    if not isinstance(value, bytes):  # pydicom converts the character set at once
        return str(value or "")
    return value.rstrip(b" \0").decode("latin-1")


def faults(file: Path, allowed: str | None) -> list[str]:
    """Return the validator's errors, but for those about values that the source has as they are."""
    _, words = dciodvfy(file)
    errors = [line for line in words.splitlines() if line.startswith("Error")]
    if allowed is None:
        return errors
    summary = "Dicom dataset contains invalid data values for Value Representations"
    return [each for each in errors if summary not in each and not re.search(allowed, each)]
