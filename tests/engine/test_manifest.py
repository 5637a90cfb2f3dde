"""Names of patients in model folders, and the calibration in their manifests."""

import pytest
from pydantic import ValidationError

from engine.manifest import (
    Calibration,
    LesionCalibration,
    VolumeCalibration,
    conformal_rank,
    hashed_patient,
)


def test_a_patient_of_an_archive_has_one_name_whatever_study_it_is():
    name = hashed_patient("0815", "1.2.3")
    assert name == hashed_patient(" 0815 ", "1.2.4")
    assert name != hashed_patient("0816", "1.2.3")
    assert "0815" not in name


def test_patients_whose_ids_were_removed_are_told_apart_by_their_studies():
    assert hashed_patient("", "1.2.3") != hashed_patient("  ", "1.2.4")
    assert hashed_patient("", "1.2.3") == hashed_patient(" ", "1.2.3")


FIT = {"intercept": -3.0, "coefficients": {"log2_longest_mm": 1.0}}
LESIONS = {
    "fit": FIT,
    "without_one": [FIT, FIT],
    "t_quantile": 2.0,
    "confidence": 0.9,
    "ranges": {"log2_longest_mm": {"low": 2.0, "high": 6.0}},
    "true_marks": 30,
    "false_marks": 10,
}
VOLUME = {"relative_error": 0.08, "coverage": 0.9, "patients": 18}


def test_a_calibration_comes_back_from_the_manifest_as_it_was_written():
    written = Calibration.model_validate({"lesions": LESIONS, "liver_volume": VOLUME})
    assert Calibration.model_validate_json(written.model_dump_json()) == written
    assert written.lesions.patients == 2
    assert written.tumour_volume is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confidence": 1.0}, "less than 1"),
        ({"t_quantile": 0.0}, "greater than 0"),
        ({"without_one": [FIT]}, "at least 2"),
        ({"without_one": [FIT, {"intercept": 0, "coefficients": {"agreement": 1}}]}, "the same"),
        ({"ranges": {}}, "the same"),
        ({"fit": {"intercept": float("nan"), "coefficients": {"agreement": 1}}}, "finite"),
        ({"fit": {"intercept": 0, "coefficients": {"colour": 1}}}, "colour|agreement"),
        ({"true_marks": 0}, "greater than or equal to 1"),
        ({"more": 1}, "Extra inputs"),
    ],
)
def test_a_calibration_of_lesions_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        LesionCalibration.model_validate(LESIONS | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"relative_error": -0.1}, "greater than or equal to 0"),
        ({"relative_error": float("inf")}, "finite"),
        ({"coverage": 0.95}, "coverage 0.95 takes error 19 of 18"),
        ({"patients": 8}, "coverage 0.9 takes error 9 of 8"),
    ],
)
def test_an_interval_that_so_few_patients_cannot_give_is_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        VolumeCalibration.model_validate(VOLUME | changes)


@pytest.mark.parametrize(("patients", "rank"), [(8, 9), (9, 9), (18, 18), (19, 18)])
def test_the_conformal_rank_is_not_moved_by_the_last_bit(patients, rank):
    assert conformal_rank(patients, 0.9) == rank
