"""Values never exceed what their value representation can hold."""

import pytest
from pydicom.valuerep import DSfloat

from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.attributes.values import fitting, is_valid, plain, writable
from tests.dicom_node.drawing import RUN, draw_case


@pytest.mark.parametrize("length", [63, 64, 65, 200])
def test_text_is_cut_at_its_limit(length):
    assert plain("x" * length, 64) == "x" * min(length, 64)
    assert plain("é·…", 2) == "??"


def test_long_names_of_a_model_make_no_attribute_too_long(ct_series):
    case = draw_case(ct_series(slices=9, rows=20, columns=24))
    long = Algorithm("m" * 60, "v" * 60, "ab" * 32, "d" * 60)
    seg = case.seg(run=RUN.__class__(long, RUN.at), remarks=["r" * 2000])
    limits = {"LO": 64, "SH": 16, "CS": 16, "ST": 1024}
    for element in seg.iterall():
        if element.VR in limits and element.VM == 1:
            assert len(str(element.value)) <= limits[element.VR], element.name


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("1.0000000", "1.0000000"),
        ("-12.00000000000000001", "-12.0"),
        ("1234567890.1234567890", "1234567890.12346"),
        ("1e400", None),
        ("nan", None),
        ("1,5", None),
        ("", None),
        (None, None),
    ],
)
def test_a_decimal_fits_or_is_none(number, expected):
    found = fitting(number)
    assert (str(found) if found is not None else None) == expected
    assert found is None or len(str(found)) <= 16


def test_a_valid_decimal_is_the_same_object():
    number = DSfloat("1.500")
    assert fitting(number) is number


@pytest.mark.parametrize(
    ("vr", "value", "valid"),
    [
        ("DA", "20260228", True),
        ("DA", "20261332", False),
        ("DA", "00000000", False),
        ("TM", "235960", True),
        ("TM", "2360", False),
        ("AS", "061Y", True),
        ("AS", "45", False),
        ("IS", "12", True),
        ("IS", "1.5", False),
        ("DS", ["1", "2.5e-3"], True),
        ("DS", ["1", "70 kg"], False),
        ("LO", "anything", True),
    ],
)
def test_values_are_judged_by_their_representation(vr, value, valid):
    assert is_valid(vr, value) is valid


def test_text_is_written_as_far_as_the_character_set_goes():
    assert writable("a · b…", "ISO_IR 192") == "a · b…"
    assert writable("a · b…", None) == "a - b..."
    assert writable("Łódź · 王", "ISO_IR 101") == "??d? - ?"
