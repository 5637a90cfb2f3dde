"""A result of another patient or study never passes, whichever source says so."""

import pytest
from pydicom import Dataset

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
