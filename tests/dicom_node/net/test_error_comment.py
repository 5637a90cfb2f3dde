"""A peer's comment is repeated without the words that could name a patient."""

import pytest

from dicom_node.net.error_comment import LONGEST, safe_comment


@pytest.mark.parametrize(
    ("comment", "shown"),
    [
        (
            "Patient[id=1] differs from previous received object in (0010,0010)",
            "Patient[id=…] differs from previous received object in (0010,0010)",
        ),
        ("Subsequent occurrence of rejected object", "Subsequent occurrence of rejected object"),
        ("Musterfrau^Erika has another ID", "… has another ID"),
        ("no match for DOE^JANE, 1950-01-01", "no match for …"),
        ("doe jane is unknown", "… is unknown"),
        ("StudyInstanceUID 1.2.840.113619.2.55.3 expected", None),
        ("Müller", ""),
        ("", ""),
        ("4711", ""),
    ],
)
def test_only_technical_words_are_repeated(comment, shown):
    assert safe_comment(comment) == (comment if shown is None else shown)


def test_a_comment_without_end_is_cut():
    assert len(safe_comment("object " * 1000)) <= LONGEST
