"""One object of every class and form that the node sends, before judges of other hands."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicom_node.results.attributes.number_register import NumbersOfRun
from dicom_node.results.make import SeriesResult, encode_verified, make_others, make_seg
from dicom_node.results.notices.receipt import to_receipt
from dicom_node.results.notices.rejection import to_rejections
from dicom_node.results.objects import (
    FORMED,
    SEG,
    Encoding,
    ObjectKind,
    ResultObject,
    SegForm,
)
from dicom_node.sop_classes import sop_class_name
from engine.findings.contours import draw_contours
from engine.findings.quality import Concern, Quality
from tests.conftest import make_ct_series
from tests.dicom_node.drawing import ALGORITHM, draw_case
from tests.system.judges import dciodvfy, on_grid, read_by_dcmqi, report_by_dcmqi

FORMS = [SegForm(encoding, per_lesion) for encoding in Encoding for per_lesion in (False, True)]
ITEMS = [ResultObject(kind, form) for kind in FORMED for form in FORMS] + [
    ResultObject(kind) for kind in ObjectKind if kind not in FORMED
]
NOTICES = ("receipt", "receipt of a part", "rejection")
STATEMENT = Path(__file__).resolve().parents[3] / "docs" / "conformance.md"


@pytest.fixture(scope="module")
def findings():
    case = draw_case(make_ct_series(slices=9, rows=20, columns=24))
    for source in case.sources:
        source.SeriesNumber = 5
    picture, review = draw_contours(case.volume, case.label_map), Quality((Concern.SMALL,))
    return SeriesResult(
        case.sources, ALGORITHM, case.label_map, case.measured, review, picture, ["Remarked."]
    )


@pytest.fixture(scope="module")
def files(findings, tmp_path_factory):
    """Files by the name of what they hold."""
    seg = make_seg(findings)
    made = {SEG.name: encode_verified(seg, findings)}
    made |= {item.name: file for item, file in make_others(ITEMS, findings, seg)}
    source, numbers = findings.sources[0], NumbersOfRun()
    why = "slices 3 and 4 are 9 mm apart"
    made["receipt"] = to_receipt(source, "refused", why, "ab", numbers)
    made["receipt of a part"] = to_receipt(source, "", why, "ab", numbers)
    (made["rejection"],) = to_rejections([seg], numbers)
    folder = tmp_path_factory.mktemp("objects")
    for name, file in made.items():
        (folder / f"{name}.dcm").write_bytes(file)
    return {name: folder / f"{name}.dcm" for name in made}


@pytest.mark.parametrize("name", [*(item.name for item in ITEMS), *NOTICES])
def test_the_validator_finds_no_error(files, name):
    status, words = dciodvfy(files[name])
    assert status == 0, words


def test_none_is_left_out(files):
    assert set(files) == {item.name for item in ITEMS} | {*NOTICES}
    objects = [dcmread(file, stop_before_pixels=True) for file in files.values()]
    names = {sop_class_name(each.SOPClassUID).removesuffix(" Storage") for each in objects}
    rows = [line for line in STATEMENT.read_text().splitlines() if line.startswith("| Storage of")]
    sent = [row.split("|")[1].strip() for row in rows if row.split("|")[2].strip() == "yes"]
    stated = [name for each in sent for name in each.removeprefix("Storage of ").split(", ")]
    assert sorted(name.removesuffix(" Image") for name in names) == sorted(stated)
    assert len({each.SeriesNumber for each in objects}) == len(objects)
    assert len({each.SOPInstanceUID for each in objects}) == len(objects)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_dcmqi_reads_the_segments_where_they_were_drawn(files, findings, form, tmp_path):
    images = read_by_dcmqi(files[ResultObject(ObjectKind.SEG, form).name], tmp_path)
    grid, labels = findings.label_map.geometry, findings.label_map.labels
    count = 4 if form.per_lesion else 2
    if form.encoding is Encoding.LABELMAP:  # one image, whose values are the segments' numbers
        read = {number: on_grid(images[1] == number, grid) for number in range(1, count + 1)}
        assert len(images) == 1
    else:
        read = {number: on_grid(image, grid) for number, image in images.items()}
    assert sorted(read) == list(range(1, count + 1))
    np.testing.assert_array_equal(read[1], labels == 1)
    np.testing.assert_array_equal(sum(read[number] for number in read if number > 1), labels == 2)
    sizes = [np.count_nonzero(read[number]) for number in range(2, count + 1)]
    assert sizes == sorted(sizes, reverse=True)
    assert all(sizes)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_dcmqi_reads_the_report_beside_each_form(files, findings, form, tmp_path):
    item = ResultObject(ObjectKind.REPORT, form)
    *groups, whole = report_by_dcmqi(files[item.name], tmp_path)
    names = [each["TrackingIdentifier"] for each in groups]
    assert names[::2] == ["Liver"] + [
        f"Cornerstone3DTools@^0.1.0:Bidirectional:Lesion {number}" for number in (1, 2, 3)
    ]
    assert names[1::2] == ["Liver", "Lesion 1", "Lesion 2", "Lesion 3"]
    volumes = [float(each["measurementItems"][0]["value"]) for each in groups[3::2]]
    expected = [lesion.region.volume_ml for lesion in findings.measured.lesions]
    assert volumes == pytest.approx(expected, abs=1e-3)
    assert volumes == sorted(volumes, reverse=True)
    said = [each["conceptValue"]["CodeMeaning"] for each in whole["qualitativeEvaluations"]]
    assert said == ["Review", "Liver smaller than expected"]
