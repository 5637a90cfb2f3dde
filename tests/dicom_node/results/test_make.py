"""Every object that a profile may ask for."""

from io import BytesIO

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from dicom_node.errors import ResultMismatch, SegMismatch
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.attributes.tracking import track
from dicom_node.results.make import SeriesResult, encode_verified, make_others, make_seg
from dicom_node.results.montage import verify_montage
from dicom_node.results.objects import (
    FORMED,
    SEG,
    Encoding,
    ObjectKind,
    Profile,
    ResultObject,
    SegForm,
    item_name,
)
from dicom_node.verify.report_groups import read_groups
from engine.findings.contours import draw_contours
from engine.findings.quality import Quality
from tests.dicom_node.drawing import ALGORITHM, draw_case

FORMS = [SegForm(encoding, per_lesion) for encoding in Encoding for per_lesion in (False, True)]
ITEMS = [ResultObject(kind, form) for kind in FORMED for form in FORMS] + [
    ResultObject(kind) for kind in ObjectKind if kind not in FORMED
]


@pytest.fixture
def findings(ct_series):
    case = draw_case(ct_series(slices=9, rows=20, columns=24))
    picture = draw_contours(case.volume, case.label_map)
    return SeriesResult(
        case.sources, ALGORITHM, case.label_map, case.measured, Quality(), picture, ["Remarked."]
    )


@pytest.fixture
def make(findings):
    """Make an object, and with it the SEG that it may refer to."""

    def make(item):
        seg = make_seg(findings)
        wanted = {item, ResultObject(ObjectKind.SEG, item.form)}
        files = {SEG: encode_verified(seg, findings), **dict(make_others(wanted, findings, seg))}
        return files[item]

    return make


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_the_same_work_twice_is_the_same_object(make, item):
    assert make(item) == make(item)


def test_no_two_objects_have_one_uid_or_one_file(make, tmp_path):
    objects = [dcmread(BytesIO(make(item))) for item in ITEMS]
    assert len({each.SOPInstanceUID for each in objects}) == len(ITEMS)
    assert len({each.SeriesInstanceUID for each in objects}) == len(ITEMS)
    files = {item.file_beside(tmp_path / "a.dcm") for item in ITEMS}
    assert len(files) == len(ITEMS)
    assert {item_name(file) for file in files} == {item.name for item in ITEMS}


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_an_object_says_whose_it_is_and_which_machines_were_at_work(make, findings, item):
    made, source = dcmread(BytesIO(make(item))), findings.sources[0]
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "AccessionNumber"):
        assert made[keyword].value == source[keyword].value
    machines = [each.get("ManufacturerModelName") for each in made.ContributingEquipmentSequence]
    assert ALGORITHM.name in machines


def test_a_labelmap_has_no_background_segment(make):
    """It would shift the colours in OHIF by one."""
    seg = dcmread(BytesIO(make(ResultObject(ObjectKind.SEG, SegForm(Encoding.LABELMAP)))))
    assert [item.SegmentNumber for item in seg.SegmentSequence] == [1, 2]
    assert set(np.unique(seg.pixel_array)) == {0, 1, 2}


@pytest.mark.parametrize("sides", [(40, 48), (41, 48), (41, 49)])
def test_a_labelmap_has_any_number_of_rows_and_columns(ct_series, sides):
    """gdcm, where pydicom finds it, takes the process down over odd numbers of both."""
    case = draw_case(ct_series(slices=9, rows=sides[0], columns=sides[1]))
    findings = SeriesResult(case.sources, ALGORITHM, case.label_map, case.measured, Quality())
    form = SegForm(Encoding.LABELMAP)
    assert encode_verified(make_seg(findings, form), findings, form)


@pytest.mark.parametrize("encoding", Encoding)
def test_report_and_seg_know_a_lesion_by_the_same_name(make, findings, encoding):
    form = SegForm(encoding, per_lesion=True)
    seg = dcmread(BytesIO(make(ResultObject(ObjectKind.SEG, form))))
    report = dcmread(BytesIO(make(ResultObject(ObjectKind.REPORT, form))))
    named = track(findings.measured.lesions, findings.sources[0].SeriesInstanceUID)
    _, *segments = seg.SegmentSequence
    assert [each.TrackingUID for each in segments] == [each.uid for each in named]
    _, *groups, _ = read_groups(report)
    for group, segment in zip(groups, segments, strict=True):
        assert group.tracking_uid == segment.TrackingUID
        if encoding is Encoding.BINARY:  # a report cannot name a segment of a label map
            assert group.segment == (seg.SOPInstanceUID, segment.SegmentNumber)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_seg_of_other_labels_does_not_pass(findings, form):
    seg = make_seg(findings, form)
    findings.label_map.labels[4, 12, 12] ^= 3
    with pytest.raises(SegMismatch, match=r"differs from slice \d of its label map in"):
        encode_verified(seg, findings, form)


@pytest.mark.parametrize("kind", ObjectKind)
def test_every_object_is_read_back_before_it_leaves(make, monkeypatch, kind):
    def refuse(*_, **__):
        raise ResultMismatch("read back")

    monkeypatch.setattr(f"dicom_node.results.make.verify_{kind}", refuse)
    with pytest.raises(ResultMismatch, match="read back"):
        make(ResultObject(kind))


def test_another_toolkit_reads_the_same_montage(make, findings, tmp_path):
    path = tmp_path / "montage.dcm"
    path.write_bytes(make(ResultObject(ObjectKind.MONTAGE)))
    (read,) = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
    drawn = np.asarray(findings.picture)
    np.testing.assert_array_equal(read[: len(drawn)], drawn)


def test_a_montage_shows_the_picture_with_the_note(make, findings):
    montage = dcmread(BytesIO(make(ResultObject(ObjectKind.MONTAGE))))
    drawn = np.asarray(findings.picture)
    np.testing.assert_array_equal(montage.pixel_array[: len(drawn)], drawn)
    assert montage.pixel_array[len(drawn) :].any()
    assert montage.DerivationDescription == (
        "Generated by Hepar (base 1.0); not reviewed. For research only, not for diagnosis."
    )


def test_another_picture_or_note_does_not_pass(make, findings):
    montage = make(ResultObject(ObjectKind.MONTAGE))
    with pytest.raises(ResultMismatch, match="not the picture"):
        verify_montage(montage, findings.picture, Algorithm("other", "1.0", ""))
    with pytest.raises(ResultMismatch, match="not the picture"):
        verify_montage(montage, findings.picture.rotate(180), ALGORITHM)


def test_a_profile_names_each_object_once():
    form = SegForm(Encoding.LABELMAP, per_lesion=True)
    profile = Profile((ObjectKind.SEG, ObjectKind.SEG, ObjectKind.MONTAGE), form)
    assert [item.name for item in profile.items] == ["seg-labelmap-lesions", "montage"]
