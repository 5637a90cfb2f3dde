"""A bundle shows a maintainer the fault, and nothing of the patient."""

import json
import re
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.datadict import keyword_for_tag

from dicom_node.errors import BadConfiguration, UnsupportedSeries
from dicom_node.job_actions import twin
from dicom_node.job_actions.job_bundle import write_bundle
from dicom_node.jobs.state import Job, State
from dicom_node.series.reading import read_series
from dicom_node.series.volume import to_volume
from engine.phantom import make_phantom

SECRETS = {
    "PatientName": "Musterfrau^Erika",
    "PatientID": "GEHEIM-4711",
    "PatientBirthDate": "19470508",
    "AccessionNumber": "ACC-9981",
    "InstitutionName": "Klinikum Beispiel",
    "SeriesDescription": "Frau Musterfrau Leber",
    "StudyDescription": "Staging Musterfrau",
    "OperatorsName": "Schmidt^Anna",
    "StudyDate": "20250317",
    "PatientComments": "calls herself Erika",
    "ReferringPhysicianName": "Weber^Otto",
    "StationName": "CT-GEHEIM",
    "DeviceSerialNumber": "SN-778899",
    "AcquisitionTime": "134501",
}


@pytest.fixture
def job_on(tmp_path):
    """Write a series and return the failed job on it."""

    def make(instances, reason="", spoil=lambda instances: instances):
        paths = []
        for number, instance in enumerate(instances):
            for keyword, value in SECRETS.items():
                setattr(instance, keyword, value)
            instance.AcquisitionTime = f"1345{number:02d}"
            block = instance.private_block(0x0011, "VENDOR", create=True)
            block.add_new(0x01, "LO", "Musterfrau private")
        for instance in spoil(instances):
            paths.append(tmp_path / f"{instance.SOPInstanceUID}.dcm")
            instance.save_as(paths[-1], enforce_file_format=True)
        first = instances[0]
        return Job(
            id="0123456789abcdef",
            study_uid=first.StudyInstanceUID,
            series_uid=first.SeriesInstanceUID,
            paths=tuple(paths),
            queue="segment on x",
            urgent=False,
            created=datetime(2026, 1, 2, tzinfo=UTC),
            finished=None,
            state=State.FAILED,
            reason=reason,
            outcome=None,
            deliveries=(),
        )

    return make


def unpack(job, folder, **options):
    write_bundle(job, folder / "job.zip", pixels=options.get("pixels", False))
    with zipfile.ZipFile(folder / "job.zip") as bundle:
        bundle.extractall(folder / "out")
    return sorted((folder / "out" / "series").iterdir())


def verdict(paths):
    """How a series is judged, without UIDs, file names, times and stand-ins, in any order."""
    try:
        to_volume(read_series(paths))
    except UnsupportedSeries as error:
        own = r"[0-9.]{20,}|[0-9]{4}\.dcm|#[0-9a-f]{6}|(?<=Time )[0-9]{6}"
        return sorted(re.split(r": (?=\w+ )|; ", re.sub(own, "…", str(error))))
    return ["good"]


def spoil_nothing(instances):
    return instances


def leave_a_gap(instances):
    return instances[:3] + instances[5:]


def turn_one(instances):
    instances[4].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    return instances


def lose_the_slope(instances):
    for instance in instances:
        del instance.RescaleSlope, instance.RescaleIntercept
    return instances


def alternate(keyword, *values):
    def spoil(instances):
        for index, instance in enumerate(instances):
            setattr(instance, keyword, values[index % len(values)])
        return instances

    return pytest.param(spoil, id=f"{keyword}-{len(values)}")


def inject_into_some(instances):
    for index, instance in enumerate(instances):
        if index % 2:
            instance.ContrastBolusAgent = "Ultravist"
        elif "ContrastBolusAgent" in instance:
            del instance.ContrastBolusAgent
    return instances


@pytest.mark.parametrize(
    "spoil",
    [
        *(spoil_nothing, leave_a_gap, turn_one, lose_the_slope, inject_into_some),
        alternate("SeriesDescription", "Doe arterial", "Doe venous"),
        alternate("SeriesDescription", "c", "a", "b"),
        alternate("AccessionNumber", "4711", "4711", "4712"),
        alternate("PatientName", "Doe^Jane", "Doe^Jane^^^"),
        alternate("PatientName", "Doe^Jane", "Roe^Jane"),
        alternate("PatientID", "1", "2"),
        alternate("PatientBirthDate", "19500101", "19500102"),
        alternate("AcquisitionDate", "20260101", "20260102"),
    ],
)
def test_the_twin_gets_the_same_verdict(job_on, ct_series, tmp_path, spoil):
    job = job_on(ct_series(slices=9, rows=32, columns=40), spoil=spoil)
    assert verdict(unpack(job, tmp_path)) == verdict(job.paths)


def test_no_value_of_the_patient_is_left(job_on, ct_series, tmp_path):
    instances = ct_series(slices=4, rows=32, columns=40)
    reason = f"slice {instances[1].SOPInstanceUID} is odd; SeriesDescription #12ab34: refused"
    job = job_on(instances, reason=reason)
    paths = unpack(job, tmp_path)
    everything = b"".join(path.read_bytes() for path in [*paths, tmp_path / "out" / "job.json"])
    words = {word for value in SECRETS.values() for word in re.split(r"[\\^ ]", value)}
    for word in words - {"calls", "herself", "Staging", "Leber", "Frau"}:
        assert word.encode() not in everything, word
    for instance in instances:
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            assert str(instance[keyword].value).encode() not in everything
        assert instance.PixelData not in everything
    twins = [dcmread(path) for path in paths]
    assert len({each.SOPInstanceUID for each in twins}) == 4
    assert len({each.SeriesInstanceUID for each in twins}) == 1
    assert not any(element.tag.is_private for each in twins for element in each)
    assert [each.AcquisitionTime[:6] for each in twins] == [f"0000{i:02d}" for i in range(4)]
    told = json.loads((tmp_path / "out" / "job.json").read_text())
    assert told["series"] == twins[0].SeriesInstanceUID
    assert twins[1].SOPInstanceUID in told["reason"]
    assert told["reason"].endswith("SeriesDescription #1: refused")
    assert keyword_for_tag(twins[0]["Rows"].tag) == "Rows"


def test_pixels_stay_where_that_is_asked_for(job_on, ct_series, tmp_path):
    instances = ct_series(slices=4, rows=32, columns=40)
    paths = unpack(job_on(instances), tmp_path, pixels=True)
    assert [dcmread(path).PixelData for path in paths] == [each.PixelData for each in instances]


def test_a_file_that_cannot_be_read_is_counted(job_on, ct_series, tmp_path):
    job = job_on(ct_series(slices=4, rows=32, columns=40))
    job.paths[2].write_bytes(b"no DICOM")
    assert len(unpack(job, tmp_path)) == 3
    told = json.loads((tmp_path / "out" / "job.json").read_text())
    assert told["unreadable"] == ["3: 8 bytes, InvalidDicomError"]


def test_a_job_without_files_says_what_to_do(job_on, ct_series, tmp_path):
    job = job_on(ct_series(slices=4))
    for path in job.paths:
        Path(path).unlink()
    with pytest.raises(BadConfiguration, match="were removed; send the series again"):
        write_bundle(job, tmp_path / "job.zip", pixels=False)


def test_a_job_whose_files_lie_at_a_gateway_says_where(job_on, ct_series, tmp_path):
    job = replace(job_on(ct_series(slices=4)), holder="receive-1")
    with pytest.raises(BadConfiguration, match="lie at gateway receive-1"):
        write_bundle(job, tmp_path / "job.zip", pixels=False)


def test_one_phantom_is_drawn_for_all_slices(job_on, ct_series, tmp_path, monkeypatch):
    shapes = []

    def counted(**options):
        shapes.append(options["shape"])
        return make_phantom(**options)

    monkeypatch.setattr(twin, "make_phantom", counted)
    paths = unpack(job_on(ct_series(slices=9, rows=32, columns=40)), tmp_path)
    assert shapes == [(9, 32, 40)]
    assert len({dcmread(path).PixelData for path in paths}) == 9
