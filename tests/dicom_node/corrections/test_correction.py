"""Names of scanners, and what is said of a correction."""

from pydicom import Dataset

from dicom_node.corrections.correction import Scanner, scanner_of
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
