"""Names of patients in model folders."""

from engine.manifest import hashed_patient


def test_a_patient_of_an_archive_has_one_name_whatever_study_it_is():
    name = hashed_patient("0815", "1.2.3")
    assert name == hashed_patient(" 0815 ", "1.2.4")
    assert name != hashed_patient("0816", "1.2.3")
    assert "0815" not in name


def test_patients_whose_ids_were_removed_are_told_apart_by_their_studies():
    assert hashed_patient("", "1.2.3") != hashed_patient("  ", "1.2.4")
    assert hashed_patient("", "1.2.3") == hashed_patient(" ", "1.2.3")
