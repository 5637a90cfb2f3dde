from pathlib import Path

import pytest

from dicom_node.annotations import Author, describe_metadata, describe_segmentation
from dicom_node.results.phantom import to_instances
from engine.volume import Label
from tests.trainer.datasets.sample_data import drawn_seg, small_phantom
from trainer.datasets.pull.archive import Archive, Series
from trainer.datasets.pull.pull import Choice, Wanted, pull_one
from trainer.errors import ArchiveFailed


@pytest.fixture(scope="module")
def seg():
    phantom = small_phantom()
    instances = list(to_instances(phantom, "pulled"))
    return lambda author: drawn_seg(phantom, instances, author)


@pytest.mark.parametrize(
    ("author", "expected"),
    [
        ("HEPAR", Author.HEPAR),
        ("AUTOMATIC", Author.MACHINE),
        ("SEMIAUTOMATIC", Author.PERSON),
        ("MANUAL", Author.PERSON),
    ],
)
def test_who_drew_is_seen_from_the_segments(author, expected, seg):
    drawing = describe_segmentation(seg(author))
    assert drawing.author is expected
    assert drawing.marks == {Label.LIVER, Label.TUMOUR}
    assert describe_metadata(seg(author).to_json_dict()) == drawing


def test_one_segment_that_a_person_corrected_is_enough(seg):
    corrected = seg("HEPAR")
    corrected.SegmentSequence[1].SegmentAlgorithmType = "MANUAL"
    drawing = describe_segmentation(corrected)
    assert drawing.author is Author.PERSON
    assert drawing.after_hepar


def test_what_persons_drew_is_wanted(seg):
    person, machine = (describe_segmentation(seg(author)) for author in ("MANUAL", "AUTOMATIC"))
    assert Choice().wants(person, set())
    assert not Choice().wants(machine, set())
    assert Choice(content_label="LIVER").wants(machine, set())


def test_corrections_are_what_persons_drew_where_hepar_had(seg):
    person = describe_segmentation(seg("MANUAL"))
    choice = Choice(corrections_only=True)
    assert not choice.wants(person, set())
    assert choice.wants(person, {person.series_uid})


def test_a_segment_of_something_else_is_not_wanted(seg):
    other = seg("MANUAL")
    for segment in other.SegmentSequence:
        segment.SegmentedPropertyTypeCodeSequence[0].CodeValue = "39607008"  # lung
    assert not Choice().wants(describe_segmentation(other), set())


def test_a_tumour_of_another_organ_is_none_of_the_liver(seg):
    other = seg("MANUAL")
    other.SegmentSequence[1].AnatomicRegionSequence = [
        other.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    ]
    assert Label.TUMOUR in describe_segmentation(other).marks
    other.SegmentSequence[1].AnatomicRegionSequence[0].CodeValue = "39607008"
    assert Label.TUMOUR not in describe_segmentation(other).marks


@pytest.mark.parametrize(
    ("words", "marks"),
    [("Liver", Label.LIVER), ("Tumour", Label.TUMOUR), ("liver lesion 2", Label.TUMOUR)],
)
def test_what_was_edited_in_ohif_is_known_by_its_words(words, marks, seg):
    edited = seg("MANUAL")
    del edited.SegmentSequence[1]
    (segment,) = edited.SegmentSequence
    kind = segment.SegmentedPropertyTypeCodeSequence[0]
    kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning = "T-D0050", "SRT", "Tissue"
    segment.SegmentLabel = words
    assert describe_segmentation(edited).marks == {marks}
    segment.SegmentLabel = "Segment 1"
    assert not describe_segmentation(edited).marks


@pytest.mark.parametrize("name", ["../3", "..", ".", "1..2", "1.2.", "", "1" * 65])
def test_a_name_that_is_no_uid_never_becomes_a_file(tmp_path: Path, name: str):
    with pytest.raises(ArchiveFailed, match="which is no UID"):
        Series("1.2", name).file(tmp_path, "1.4")


def test_an_archive_that_does_not_answer_is_told_of():
    archive = Archive("http://127.0.0.1:9/dicom-web")
    with pytest.raises(ArchiveFailed, match="check the address"):
        archive.segmentations({})


def test_secrets_are_not_shown():
    assert "secret" not in repr(Archive("http://archive.example", "anna", "secret", "secret"))


class _Archive:
    """Holds one series, and counts what is fetched."""

    def __init__(self, modality):
        self.kind, self.fetched = modality, []

    def modality(self, series):
        return self.kind

    def instances(self, series):
        return ["1.2.3.4"]

    def fetch(self, series, uid, path):
        self.fetched.append(uid)


@pytest.mark.parametrize(
    ("modality", "why"), [("MR", "a series of MR"), (None, "not in the archive")]
)
def test_drawings_on_anything_but_ct_are_not_pulled(modality, why, tmp_path):
    archive = _Archive(modality)
    wanted = Wanted(Series("1.2.3", "1.2.3.5"), [(Series("1.2.3", "1.2.3.6"), "1.2.3.7")], False)
    pulled = pull_one(archive, wanted, tmp_path, lambda done, count: None)
    assert why in pulled.problem
    assert archive.fetched == []
