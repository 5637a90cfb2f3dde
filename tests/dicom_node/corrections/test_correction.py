"""Names of scanners, and what is said of a correction."""

from pydicom import Dataset

from dicom_node.corrections.correction import Scanner, newest_of_each_result, scanner_of
from tests.dicom_node.corrections.drawn import correction


def test_a_scanner_is_named_as_its_headers_do():
    instance = Dataset()
    instance.Manufacturer, instance.ManufacturerModelName = "Maker", "Model 1"
    assert scanner_of(instance) == Scanner("Maker", "Model 1")
    assert scanner_of(instance).name == "Maker Model 1"
    assert scanner_of(Dataset()).name == "not stated"


def test_a_correction_states_how_far_the_result_agrees_or_why_it_does_not_count():
    assert correction().text == "Dice liver 0.900, tumour 0.500"
    assert correction(reason="another grid").text == "not compared: another grid"


def test_a_scanner_whose_headers_hold_lines_and_people_is_named_in_one_line():
    name = Scanner("Maker\nready: 1", "Doe^Jane", "x" * 1000).name
    assert name.startswith("Maker\\nready: 1 [name] xxx")
    assert len(name) == 200


def test_of_a_series_of_two_stacks_the_newest_correction_of_each_counts():
    arterial = correction(uid="1", job="job", stack="job.a.labels.npz", written="20261101")
    portal = correction(uid="2", job="job", stack="job.b.labels.npz", written="20261102")
    again = correction(uid="3", job="job", stack="job.a.labels.npz", written="20261103")
    counted = newest_of_each_result([arterial, portal, again])
    assert sorted(each.uid for each in counted) == ["2", "3"]
