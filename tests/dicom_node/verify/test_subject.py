"""A result of another patient or study never passes, whichever source says so."""

from io import BytesIO

import pytest
from pydicom import Dataset, dcmread

from dicom_node.verify.subject import differing

JANE = {
    "StudyInstanceUID": "1.2.3",
    "PatientID": "P1",
    "PatientName": "Doe^Jane",
    "PatientBirthDate": "19500102",
    "PatientSex": "F",
    "AccessionNumber": "A1",
}
OTHER = {"StudyInstanceUID": "1.2.9", "PatientBirthDate": "19510101", "PatientSex": "M"}


def patient(**attributes) -> Dataset:
    dataset = Dataset()
    for keyword in JANE:
        setattr(dataset, keyword, attributes.get(keyword, ""))
    return dataset


@pytest.fixture
def jane():
    return dict(JANE)


def test_the_same_is_the_same(jane):
    assert differing(patient(**jane), [patient(**jane)] * 3) is None
    assert differing(patient(), [patient()]) is None


@pytest.mark.parametrize("keyword", JANE)  # not `SAME`, which would shrink with what it tests
@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_attribute_of_each_source_is_compared(jane, keyword, place):
    sources = [patient(**jane) for _ in range(3)]
    setattr(sources[place], keyword, OTHER.get(keyword, "OTHER"))
    assert differing(patient(**jane), sources) == keyword
    setattr(sources[place], keyword, "")
    assert differing(patient(**jane), sources) == keyword


@pytest.mark.parametrize("name", ["Doe^Jane^^^", "Doe^Jane ", "Doe^Jane^^=", "Doe^Jane=^^=^"])
def test_what_carries_no_meaning_is_not_compared(jane, name):
    assert differing(patient(**jane), [patient(**{**jane, "PatientName": name})]) is None


@pytest.mark.parametrize("name", ["Doe^^Jane", "Doe Jane", "Doe^Jane=X", "doe^jane", "Doe^Jan"])
def test_what_carries_meaning_is_compared(jane, name):
    other = patient(**{**jane, "PatientName": name})
    assert differing(patient(**jane), [other]) == "PatientName"


def as_read(dataset) -> Dataset:
    """Return a data set as it is read from a file, whose values nothing has converted."""
    file = BytesIO()
    dataset.save_as(file, implicit_vr=False, little_endian=True)
    return dcmread(BytesIO(file.getvalue()), force=True)


@pytest.mark.parametrize("keyword", JANE)
def test_each_attribute_of_each_source_is_compared_as_it_is_read(jane, keyword):
    sources = [as_read(patient(**jane)) for _ in range(3)]
    assert differing(patient(**jane), sources) is None
    other = as_read(patient(**{**jane, keyword: OTHER.get(keyword, "OTHER")}))
    assert differing(patient(**jane), [*sources, other]) == keyword


def test_the_same_bytes_in_another_character_set_are_another_name(jane):
    def named(name, character_set):
        made = patient(**{**jane, "PatientName": name})
        made.SpecificCharacterSet = character_set
        return as_read(made)

    pound, stroke = named("A\u00a3", "ISO_IR 100"), named("A\u0141", "ISO_IR 101")
    assert pound.get_item("PatientName").value == stroke.get_item("PatientName").value
    result = named("A\u00a3", "ISO_IR 100")
    assert differing(result, [pound, named("A\u00a3", "ISO_IR 100")]) is None
    assert differing(result, [pound, stroke]) == "PatientName"
