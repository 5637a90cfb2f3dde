"""Livers with hundreds of lesions, in one slice, or of nothing but tumour."""

from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.errors import ResultMismatch, SegMismatch
from dicom_node.results.attributes.tracking import track
from dicom_node.results.make import SeriesResult, encode_verified, make_others, make_seg
from dicom_node.results.objects import SEG, Encoding, ObjectKind, ResultObject, SegForm
from dicom_node.results.preview import read_labels
from dicom_node.results.seg import encode
from dicom_node.verify.report_groups import read_groups
from dicom_node.verify.rtstruct import verify_rtstruct
from dicom_node.verify.seg import verify_seg
from engine.findings.contours import draw_contours
from engine.findings.measure import measure
from engine.findings.quality import Quality
from engine.volume import Label, LabelMap
from tests.dicom_node.drawing import ALGORITHM, MADE_AT, draw_case
from tests.system.judges import dciodvfy

FORMS = [SegForm(encoding, True) for encoding in Encoding]


def found(case) -> SeriesResult:
    measured = measure(case.volume, case.label_map)
    picture = draw_contours(case.volume, case.label_map)
    return SeriesResult(
        case.sources, ALGORITHM, case.label_map, measured, Quality(), picture, made_at=MADE_AT
    )


@pytest.fixture
def many(ct_series):
    """300 lesions of one pixel, but for the largest, which has two."""
    case = draw_case(ct_series(slices=6, rows=40, columns=44), lesions=0)
    labels = case.label_map.labels
    labels[...] = Label.LIVER
    places = [(z, row, 1 + 2 * n) for z in (1, 3) for row in range(1, 39, 2) for n in range(19)]
    for z, row, column in places[:299]:
        labels[z, row, column] = Label.TUMOUR
    labels[1, 39, 1] = labels[1, 39, 2] = Label.TUMOUR
    return found(case)


def made(findings, *items):
    return {
        item: dcmread(BytesIO(file))
        for item, file in make_others({*items}, findings, make_seg(findings))
    }


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_each_of_300_lesions_is_a_segment_with_its_voxels(many, form):
    seg = dcmread(BytesIO(encode_verified(make_seg(many, form), many, form)))
    assert [item.SegmentNumber for item in seg.SegmentSequence] == list(range(1, 302))
    assert seg.SegmentSequence[-1].SegmentLabel == "Lesion 300"
    colours = {tuple(each.RecommendedDisplayCIELabValue) for each in seg.SegmentSequence}
    assert len(colours) == 301
    if form.encoding is Encoding.LABELMAP:
        numbers, counts = np.unique(seg.pixel_array, return_counts=True)
        assert numbers.tolist() == list(range(1, 302))
        assert counts[1:].tolist() == [2, *[1] * 299]


def test_reports_and_outlines_have_300_lesions(many):
    form = SegForm(Encoding.BINARY, True)
    report, outlines = ResultObject(ObjectKind.REPORT, form), ResultObject(ObjectKind.RTSTRUCT)
    objects = made(many, ResultObject(ObjectKind.SEG, form), report, outlines)
    _, *lesions, _ = read_groups(objects[report])
    assert [group.segment[1] for group in lesions] == list(range(2, 302))
    assert len(objects[outlines].StructureSetROISequence) == 301
    colours = [tuple(each.ROIDisplayColor) for each in objects[outlines].ROIContourSequence]
    assert len(set(colours)) == 301


def test_a_proof_does_not_share_the_limit_of_the_writer(many, monkeypatch):
    """With the 254 values that lesions once had, the smallest shared one segment."""

    def clipped(label_map):
        return LabelMap(np.minimum(separate(label_map).labels, 255), label_map.geometry)

    form = SegForm(Encoding.BINARY, True)
    from engine.findings.measure import separate_lesions as separate

    monkeypatch.setattr("dicom_node.results.seg.separate_lesions", clipped)
    monkeypatch.setattr("dicom_node.results.rtstruct.separate_lesions", clipped)
    with pytest.raises(SegMismatch):
        encode_verified(make_seg(many, form), many, form)
    with pytest.raises(ResultMismatch, match="are outlined"):
        made(many, ResultObject(ObjectKind.RTSTRUCT))


def test_a_segment_without_a_voxel_does_not_pass(ct_series):
    case = draw_case(ct_series(slices=9, rows=20, columns=24))
    seg = case.seg()
    extra = dcmread(BytesIO(encode(seg))).SegmentSequence[1]
    extra.SegmentNumber = 3
    seg.SegmentSequence.append(extra)
    with pytest.raises(SegMismatch, match="3 segments show 2 findings"):
        verify_seg(encode(seg), case.sources, case.label_map)
    lesions = track(case.measured.lesions, case.sources[0].SeriesInstanceUID)
    seg = case.seg(lesions=lesions)
    extra.SegmentNumber = 5
    seg.SegmentSequence.append(extra)
    with pytest.raises(SegMismatch, match="segment 5 is described and has no voxel"):
        verify_seg(encode(seg), case.sources, case.label_map, per_lesion=True)


@pytest.fixture(params=[1, 3])
def whole(request, ct_series):
    """The tumour is all of the liver, in one piece or in several."""
    case = draw_case(ct_series(slices=9, rows=20, columns=24), lesions=0)
    labels = case.label_map.labels
    labels[labels == Label.LIVER] = Label.TUMOUR
    if request.param > 1:
        labels[4], labels[6] = 0, 0
    return found(case)


@pytest.mark.parametrize("form", [SEG.form, *FORMS, SegForm(Encoding.LABELMAP)], ids=str)
def test_a_liver_that_is_all_tumour_is_a_result(whole, form, tmp_path):
    items = [ResultObject(ObjectKind.SEG, form), ResultObject(ObjectKind.REPORT, form)]
    items += [ResultObject(kind) for kind in ("rtstruct", "pdf", "montage")]
    objects = made(whole, *items)
    first = make_seg(whole, form).SegmentSequence[0]
    assert first.SegmentNumber == 1
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
    for each in objects.values():
        each.save_as(tmp_path / "object.dcm")
        status, words = dciodvfy(tmp_path / "object.dcm")
        assert status == 0, words
    (tmp_path / "seg.dcm").write_bytes(encode(make_seg(whole, form)))
    if not form.per_lesion:
        read = read_labels(tmp_path / "seg.dcm", whole.label_map.geometry)
        np.testing.assert_array_equal(read.labels, whole.label_map.labels)


def test_a_lesion_in_one_slice_only(ct_series):
    case = draw_case(ct_series(slices=9, rows=20, columns=24))
    labels = case.label_map.labels
    labels[:4], labels[5:] = 0, 0
    assert made(found(case), *[ResultObject(kind) for kind in ObjectKind if kind != "seg"])


def test_outlines_of_another_patient_do_not_pass(ct_series):
    case = draw_case(ct_series(slices=9, rows=20, columns=24))
    objects = made(found(case), ResultObject(ObjectKind.RTSTRUCT))
    (read,) = objects.values()
    read.PatientID = "OTHER"
    with pytest.raises(ResultMismatch, match="PatientID of the outlines is not the source's"):
        verify_rtstruct(encode(read), case.sources, case.label_map)
