import random
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import JPEGBaseline8Bit

from dicom_node.errors import NothingFound
from dicom_node.results.attributes.model_run import ModelRun
from dicom_node.results.seg import Algorithm, encode, to_seg
from dicom_node.series.volume import to_volume
from dicom_node.verify.seg import verify_seg
from engine.volume import Label, LabelMap
from tests.system.judges import dciodvfy, on_grid, read_by_dcmqi

ALGORITHM = Algorithm("base", "1.0", "ab" * 32)
MADE_AT = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
RUN = ModelRun(ALGORITHM, MADE_AT)


def draw(sources: list[Dataset], tumour: bool = True) -> LabelMap:
    """Label a lopsided liver, and a tumour in it, that no flip or turn maps onto itself."""
    grid = to_volume(sources).geometry
    slices, rows, columns = grid.shape
    labels = np.zeros(grid.shape, np.uint8)
    labels[slices // 3 : -1, rows // 4 : rows // 2, columns // 5 : columns // 2] = Label.LIVER
    labels[slices // 3, rows // 4, columns // 5 :] = Label.LIVER
    if tumour:
        labels[slices // 2, rows // 4 + 1 : rows // 4 + 3, columns // 4] = Label.TUMOUR
    return LabelMap(labels, grid)


def write(label_map: LabelMap, sources: list[Dataset], **extra) -> hd.seg.Segmentation:
    return to_seg(label_map, sources, run=RUN, **extra)


def turned(instance: Dataset, orientation: list[float]) -> Dataset:
    """Give an instance other directions; its labels are drawn where those put it."""
    instance.ImageOrientationPatient = orientation
    return instance


@pytest.mark.parametrize(
    "orientation",
    [
        [1, 0, 0, 0, 1, 0],
        [1, 0, 0, 0, -1, 0],  # rows run upward
        [-1, 0, 0, 0, 1, 0],
        [-1, 0, 0, 0, -1, 0],  # prone
        [0, 1, 0, 1, 0, 0],  # rows and columns exchanged
        [0.98, 0.199, 0, -0.199, 0.98, 0],  # oblique
    ],
)
def test_labels_come_back_on_the_slices_they_were_drawn_on(ct_series, orientation):
    sources = [turned(instance, orientation) for instance in ct_series(slices=9)]
    drawn = draw(sources)
    random.Random(1).shuffle(sources)

    seg = write(drawn, sources)

    grid = drawn.geometry
    whole = hd.VolumeGeometry(grid.affine, grid.shape, "PATIENT", grid.frame_of_reference)
    read = seg.get_volume(combine_segments=True, dtype=np.uint8).match_geometry(whole)
    np.testing.assert_array_equal(read.array, drawn.labels)
    verify_seg(encode(seg), sources, drawn)


def test_the_same_work_twice_is_the_same_object_whatever_the_order(ct_series):
    sources = ct_series(slices=9)
    drawn = draw(sources)
    assert encode(write(drawn, sources)) == encode(write(drawn, sources[::-1]))


def test_the_pixels_of_the_sources_are_not_needed(ct_series):
    sources = ct_series(slices=9)
    drawn = draw(sources)
    with_pixels = encode(write(drawn, sources))
    for source in sources:
        del source.PixelData
    assert encode(write(drawn, sources)) == with_pixels


def test_sources_are_left_as_they_were(ct_series):
    sources = ct_series(slices=9)
    before = [source.to_json() for source in sources]
    encode(write(draw(sources), sources))
    assert [source.to_json() for source in sources] == before


def test_without_a_tumour_there_is_no_tumour_segment(ct_series):
    sources = ct_series(slices=9)
    drawn = draw(sources, tumour=False)
    seg = write(drawn, sources)
    assert [item.SegmentLabel for item in seg.SegmentSequence] == ["Liver"]
    verify_seg(encode(seg), sources, drawn)


def test_without_a_liver_there_is_no_object(ct_series):
    sources = ct_series(slices=9)
    empty = draw(sources)
    empty.labels[...] = Label.BACKGROUND
    with pytest.raises(NothingFound, match="no voxel was marked as liver"):
        write(empty, sources)


def test_segments_carry_codes_colours_and_the_model(ct_series):
    sources = ct_series(slices=9)
    liver, tumour = write(draw(sources), sources).SegmentSequence
    assert (liver.SegmentNumber, tumour.SegmentNumber) == (1, 2)
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Liver"
    assert tumour.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
    assert tumour.AnatomicRegionSequence[0].CodeMeaning == "Liver"
    assert liver.RecommendedDisplayCIELabValue != tumour.RecommendedDisplayCIELabValue
    (algorithm,) = tumour.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("base", "1.0")
    assert ALGORITHM.digest in algorithm.AlgorithmParameters


def test_every_source_is_referred_to_also_where_it_shows_no_liver(ct_series):
    sources = ct_series(slices=9)
    seg = write(draw(sources), sources)
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == sources[0].SeriesInstanceUID
    referred = [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence]
    assert referred == [source.SOPInstanceUID for source in sources]


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", ""),
        ("PatientID", None),
        ("PatientSex", "unknown"),
        ("PatientBirthDate", "1950"),
        ("StudyID", None),
        ("StudyDate", ""),
        ("StudyTime", None),
        ("ReferringPhysicianName", None),
        ("Manufacturer", None),
        ("SliceThickness", None),
        ("SeriesNumber", ""),
        ("PositionReferenceIndicator", None),
        ("SpecificCharacterSet", ""),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")
def test_what_the_source_lacks_or_garbles_is_neither_invented_nor_fatal(ct_series, keyword, value):
    sources = ct_series(slices=9)
    for source in sources:
        if value is None:
            delattr(source, keyword) if keyword in source else None
        else:
            setattr(source, keyword, value)
    drawn = draw(sources)
    file = encode(write(drawn, sources))
    verify_seg(file, sources, drawn)
    read = dcmread(BytesIO(file))
    if keyword.startswith(("Patient", "Study", "Referring")):
        assert (read.get(keyword) or "") == (value or "")


def test_names_in_any_character_set_stay(ct_series):
    sources = ct_series(slices=9)
    for source in sources:
        source.SpecificCharacterSet = "ISO_IR 192"
        source.PatientName = "Müller^Łucja"
    remark = "Größe"  # what we say ourselves is plain everywhere
    read = dcmread(BytesIO(encode(write(draw(sources), sources, remarks=[remark]))))
    assert str(read.PatientName) == "Müller^Łucja"
    assert read.DerivationDescription.endswith("Gr??e")


def test_remarks_stand_in_the_derivation_description(ct_series):
    sources = ct_series(slices=9)
    seg = write(draw(sources), sources, remarks=["The frame of reference was derived."])
    assert seg.DerivationDescription == (
        "Marked automatically by base 1.0. The frame of reference was derived."
    )


@pytest.mark.parametrize("told_by", ["attribute", "transfer syntax"])
def test_lossy_sources_make_a_lossy_object(ct_series, told_by):
    sources = ct_series(slices=9)
    drawn = draw(sources)
    if told_by == "attribute":
        sources[4].LossyImageCompression = "01"
        sources[4].LossyImageCompressionMethod = "ISO_15444_1"
        sources[4].LossyImageCompressionRatio = 12.5
    else:
        sources[4].file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    seg = write(drawn, sources)
    assert seg.LossyImageCompression == "01"
    assert seg.LossyImageCompressionMethod == (
        "ISO_15444_1" if told_by == "attribute" else "ISO_10918_1"
    )
    assert "lossy" in seg.DerivationDescription


def test_dates_are_those_of_the_making_in_the_time_zone_of_the_sources(ct_series):
    sources = ct_series(slices=9)
    drawn = draw(sources)
    seg = write(drawn, sources)
    for kind in ("Series", "Content", "InstanceCreation"):
        assert (seg[f"{kind}Date"].value, seg[f"{kind}Time"].value) == ("20260506", "070809")
    for source in sources:
        source.TimezoneOffsetFromUTC = "+0530"
    seg = write(drawn, sources)
    assert (seg.TimezoneOffsetFromUTC, seg.ContentTime) == ("+0530", "123809")


def test_positions_a_little_off_the_grid_are_kept_as_the_source_has_them(ct_series):
    sources = ct_series(slices=9, spacing_mm=(0.625, 0.5, 0.7))
    for source in sources:  # as a scanner that rounds to a tenth
        source.ImagePositionPatient[2] = round(float(source.ImagePositionPatient[2]), 1)
    drawn = draw(sources)
    seg = write(drawn, sources)
    verify_seg(encode(seg), sources, drawn)
    places = {float(source.ImagePositionPatient[2]) for source in sources}
    written = {
        float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        for frame in seg.PerFrameFunctionalGroupsSequence
    }
    assert written
    assert written <= places


def test_the_orientation_is_that_of_the_sources_digit_by_digit(ct_series):
    sources, turned = ct_series(slices=9), ["1", "0", "0", "0", "0.9999995", "0.001"]
    for source in sources:
        source.ImageOrientationPatient = turned
    seg = write(draw(sources), sources)
    (orientation,) = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    assert [str(each) for each in orientation.ImageOrientationPatient] == turned


def test_one_enhanced_instance_is_as_good_as_its_slices(ct_series, enhanced_ct, tmp_path):
    sources = [enhanced_ct(ct_series(slices=9))]
    drawn = draw(sources)
    seg = write(drawn, sources)
    verify_seg(encode(seg), sources, drawn)
    assert_judges_agree(seg, drawn, tmp_path)


def test_independent_judges_accept_a_made_series(ct_series, tmp_path):
    sources = ct_series(slices=9)
    drawn = draw(sources)
    assert_judges_agree(write(drawn, sources), drawn, tmp_path)


@pytest.mark.parametrize("folder", ["ct/chaos3/dicom", "ct/lits0", "ct/totalseg20/dicom"])
@pytest.mark.filterwarnings("ignore:Value exceeds:UserWarning")
def test_independent_judges_accept_real_series(real_series, folder, tmp_path):
    sources = real_series(folder)
    for index, source in enumerate(sources):
        if not source.StudyInstanceUID:  # totalseg20
            source.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
            source.StudyInstanceUID, source.SeriesInstanceUID = "2.25.1", "2.25.2"
            source.SOPInstanceUID = f"2.25.3{index}"
    drawn = draw(sources)
    for source in sources:
        del source.PixelData
    seg = write(drawn, sources)
    verify_seg(encode(seg), sources, drawn)
    assert_judges_agree(seg, drawn, tmp_path)


def assert_judges_agree(seg: Dataset, drawn: LabelMap, folder: Path) -> None:
    path = folder / "seg.dcm"
    path.write_bytes(encode(seg))
    try:
        status, words = dciodvfy(path)
        images = read_by_dcmqi(path, folder)
    except FileNotFoundError as error:
        pytest.skip(f"needs dicom3tools and dcmqi: {error}")
    assert status == 0, words
    assert "Error" not in words
    for label in (Label.LIVER, Label.TUMOUR):
        read = on_grid(images[label], drawn.geometry)
        np.testing.assert_array_equal(read, drawn.labels == label)
