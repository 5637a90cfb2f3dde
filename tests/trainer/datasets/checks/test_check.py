import json

import numpy as np
import pytest
import SimpleITK
from PIL import Image
from typer.testing import CliRunner

from engine.phantom import make_phantom
from tests.trainer.datasets.sample_data import small_phantom, write_ircad, write_lits
from trainer.datasets.cases.case import Case, to_slices
from trainer.datasets.cases.slices import Slices
from trainer.datasets.cases.target import Target
from trainer.datasets.checks.fingerprint import SAME, alike, signature_of
from trainer.datasets.checks.plausibility import doubts_about
from trainer.datasets.commands import app


@pytest.fixture(scope="module")
def slices() -> Slices:
    """A whole trunk, its liver from end to end."""
    return of_phantom(3)


def of_phantom(seed: int) -> Slices:
    phantom = make_phantom(seed, shape=(24, 128, 128), spacing_mm=(14.0, 3.0, 3.0))
    case = Case("anna", "made", "1", phantom.volume, phantom.truth.labels)
    return to_slices([case], 128)


def doubts(slices: Slices, **changed: np.ndarray) -> str:
    arrays = {"hu": slices.hu, "target": slices.target, "pixel_mm": slices.pixel_mm} | changed
    other = Slices(patient=slices.patient, position_mm=slices.position_mm, **arrays)
    millilitres = float(other.liver_pixels.sum() * 14 * other.pixel_mm[0] ** 2 / 1000)
    return "; ".join(doubts_about(other, millilitres, whole=True))


def test_a_usual_series_raises_no_doubt(slices):
    assert doubts(slices) == ""


@pytest.mark.parametrize(
    ("turn", "doubt"),
    [
        ((slice(None), slice(None), slice(None, None, -1)), "mirrored"),
        ((slice(None), slice(None, None, -1)), "upside down"),
        ((slice(None, None, -1),), "head first"),
    ],
)
def test_a_series_that_lies_wrongly_is_doubted(turn, doubt, slices):
    assert doubt in doubts(slices, hu=slices.hu[turn], target=slices.target[turn])


def test_an_empty_label_is_doubted(slices):
    assert "no liver is drawn" in doubts(slices, target=np.zeros_like(slices.target))


def test_a_label_beside_the_body_is_doubted(slices):
    target = np.roll(slices.target, -40, axis=2)
    assert "of the outline is air or fat" in doubts(slices, target=target)


def test_clipped_hu_are_doubted(slices):
    assert "clipped to 0 to 255" in doubts(slices, hu=np.clip(slices.hu, 0, 255))


def test_a_liver_that_is_too_small_is_doubted(slices):
    assert "600 to 4000 ml are usual" in doubts(slices, pixel_mm=slices.pixel_mm / 3)


def test_a_lost_spacing_is_doubted(slices):
    assert "the pixel size is lost" in doubts(slices, pixel_mm=slices.pixel_mm * np.nan)


def test_a_liver_that_goes_on_beyond_the_series_is_doubted(slices):
    inside = np.flatnonzero(slices.liver_pixels)[2:]
    assert "cut off at the foot" in "".join(doubts_about(slices[inside], 1000.0, whole=True))


def test_an_outline_in_stripes_is_doubted(slices):
    target = slices.target.copy()
    target[:, ::2] = Target.BACKGROUND
    assert "ragged outline" in doubts(slices, target=target)


def test_the_same_slices_are_known_again_clipped_noisy_and_fewer(slices):
    noise = np.random.default_rng(0).normal(0, 5, slices.hu.shape)
    hu = np.clip(slices.hu + noise, -40, 160).astype(np.int16)
    again = Slices(hu, slices.target, slices.patient, slices.pixel_mm)[np.arange(1, 24, 3)]
    others = [of_phantom(seed) for seed in (4, 5)]
    found = alike([signature_of(each) for each in (slices, again, *others)])
    assert [pair[:2] for pair in found] == [(0, 1)]
    assert found[0][2] > SAME


def test_what_is_broken_or_double_is_told_and_drawn(tmp_path):
    phantom = small_phantom()
    write_lits(phantom, tmp_path / "a", 60)
    write_lits(phantom, tmp_path / "b", 61)
    write_ircad(phantom, tmp_path, 5)
    (tmp_path / "3Dircadb1.5" / "MASKS_DICOM" / "liver" / "image_0").unlink()
    sheet = tmp_path / "sheet.png"
    result = CliRunner().invoke(app, ["check", str(tmp_path), "--sheet", str(sheet)])
    said = " ".join(result.output.split())
    assert result.exit_code == 1
    assert "2 patients, 2 with drawn tumours; 2 series" in said
    assert "one patient with two names?" in said
    assert "volume 60 and volume 61 are the same in every pixel" in said
    assert "left out: 3D-IRCADb-01 3Dircadb1.5: 1 of 8 masks are missing in liver" in said
    with Image.open(sheet) as drawn:
        assert drawn.width > 500


def test_a_folder_without_data_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert result.exit_code == 1
    assert "no labelled slices or volumes" in " ".join(result.output.split())


def test_a_folder_in_which_every_case_is_broken_names_each(tmp_path):
    write_ircad(small_phantom(), tmp_path, 5)
    (tmp_path / "3Dircadb1.5" / "MASKS_DICOM" / "liver" / "image_0").unlink()
    sheet = tmp_path / "sheet.png"
    result = CliRunner().invoke(app, ["check", str(tmp_path), "--sheet", str(sheet)])
    output = " ".join(result.output.split())
    assert result.exit_code == 1
    assert not isinstance(result.exception, ValueError)
    assert "no case can be used: all 1 are broken" in output
    assert "left out: 3D-IRCADb-01 3Dircadb1.5: 1 of 8 masks are missing in liver" in output
    assert not sheet.exists()


def test_the_sums_come_before_the_table(tmp_path):
    write_lits(small_phantom(), tmp_path, 60)
    result = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert result.output.index("1 patients") < result.output.index("Series")


def test_json_has_the_summary_first_and_what_is_unknown_as_null(tmp_path):
    write_lits(small_phantom(), tmp_path, 60)
    write_ircad(small_phantom(), tmp_path, 5)
    (tmp_path / "3Dircadb1.5" / "MASKS_DICOM" / "liver" / "image_0").unlink()
    for name in ("volume", "segmentation"):  # their headers are lost
        image = SimpleITK.ReadImage(str(tmp_path / f"{name}-60.nii"))
        bare = SimpleITK.GetImageFromArray(SimpleITK.GetArrayFromImage(image))
        SimpleITK.WriteImage(bare, str(tmp_path / f"{name}-60.nii"))
    result = CliRunner().invoke(app, ["check", str(tmp_path), "--json"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert next(iter(found)) == "summary"
    assert (found["summary"]["series"], found["summary"]["broken"]) == (1, 1)
    assert "1 of 8 masks are missing in liver" in found["broken"][0]["why"]
    (series,) = found["series"]
    assert series["pixel_mm"] is None
    assert series["liver_ml"] is None
    assert series["slices"] == 8
