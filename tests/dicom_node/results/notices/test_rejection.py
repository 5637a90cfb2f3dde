"""What withdraws older results, and what says that there are none, as another toolkit sees it."""

from io import BytesIO

import pytest
from pydicom import dcmread

from dicom_node.deliver.sop_reference import read_reference, read_selected
from dicom_node.results.attributes.number_register import NumbersOfRun
from dicom_node.results.notices.rejection import to_rejections
from dicom_node.results.seg import encode
from tests.dicom_node.drawing import draw_case
from tests.system.judges import dciodvfy


@pytest.fixture
def results(ct_series, tmp_path):
    """Files of a SEG and a report."""
    case = draw_case(ct_series(slices=9, rows=20, columns=24))
    seg = case.seg()
    for name, made in {"seg": seg, "report": case.report(seg)}.items():
        (tmp_path / f"{name}.dcm").write_bytes(encode(made))
    return [tmp_path / "seg.dcm", tmp_path / "report.dcm"]


def test_a_note_rejects_each_object_in_its_patients_study(results, tmp_path):
    (note,) = to_rejections(
        [dcmread(each, stop_before_pixels=True) for each in results], NumbersOfRun()
    )
    (tmp_path / "note.dcm").write_bytes(note)
    made, seg = dcmread(BytesIO(note)), dcmread(results[0])
    assert (made.Modality, made.ConceptNameCodeSequence[0].CodeValue) == ("KO", "113001")
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID"):
        assert made[keyword].value == seg[keyword].value
    selected = read_selected(tmp_path / "note.dcm")
    assert {*selected} == {read_reference(each) for each in results}
    status, words = dciodvfy(tmp_path / "note.dcm")
    assert status == 0, words


def test_results_of_two_studies_have_a_note_each(results):
    headers = [dcmread(each, stop_before_pixels=True) for each in results]
    headers[1].StudyInstanceUID = "1.2.3"
    notes = [dcmread(BytesIO(note)) for note in to_rejections(headers, NumbersOfRun())]
    assert {each.StudyInstanceUID for each in notes} == {"1.2.3", headers[0].StudyInstanceUID}
    assert len({each.SOPInstanceUID for each in notes}) == 2
