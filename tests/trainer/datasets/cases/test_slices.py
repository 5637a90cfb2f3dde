import numpy as np
import pytest

from engine.model import default_model_folder, load_model
from trainer.datasets.cases.patient_split import hold_out, split_patients, take_share
from trainer.datasets.cases.slices import SIDE, Slices
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.npz import read_lits, read_msd
from trainer.datasets.layouts.patient_names import ircad_patient, lits_patient
from trainer.datasets.layouts.read_all import read_slices
from trainer.errors import BadData, BadRecipe
from trainer.recipe.recipe import load_recipe, load_split
from trainer.training.ensemble import split_cases


def test_a_patient_of_two_sources_is_one_patient(data_folder):
    slices = read_slices(data_folder)
    from_msd = slices.patient[np.any(slices.target == Target.LIVER_OR_TUMOUR, axis=(1, 2))]
    assert {"lits3", "msd71"} == set(from_msd)
    assert "msd70" not in slices.patient


def test_grey_values_come_back_as_hounsfield_units(data_folder):
    lits = read_lits(data_folder / "lits_tumour_slices.npz")
    liver = lits.hu[lits.target == Target.LIVER]
    assert liver.mean() == pytest.approx(105, abs=20)
    assert lits.hu.min() == -40
    assert lits.hu.max() == 160


def test_the_decathlons_masks_never_say_liver(data_folder):
    msd = read_msd(data_folder / "msd_liver_slices.npz")
    assert set(np.unique(msd.target)) == {Target.BACKGROUND, Target.LIVER_OR_TUMOUR}
    assert np.isnan(msd.pixel_mm).all()


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(BadData, match="msd_liver_slices"):
        read_slices(tmp_path)


def test_no_patient_is_learnt_from_and_held_out(data_folder):
    slices = read_slices(data_folder)
    split = split_patients(slices, 3, seed=0)
    assert set(split.train) & set(split.held_out) == set()
    assert set(split.train) | set(split.held_out) == set(slices.patient)
    assert len(split.held_out) == 2


def test_the_same_seed_holds_out_the_same_patients(data_folder):
    slices = read_slices(data_folder)
    assert split_patients(slices, 3, seed=4) == split_patients(slices, 3, seed=4)


def test_a_patient_seen_in_part_is_never_held_out(data_folder):
    slices = read_slices(data_folder)
    target = slices.target.copy()
    target[slices.patient == "lits0", :10] = Target.UNKNOWN
    partly = type(slices)(slices.hu, target, slices.patient, slices.pixel_mm)
    held_out = {p for seed in range(20) for p in split_patients(partly, 2, seed).held_out}
    assert "lits0" not in held_out
    assert len(held_out) > 3


def ward(tumours: list[int]) -> Slices:
    """Two slices of each patient, so many pixels of tumour on both."""
    target = np.full((len(tumours), 2, 40 * 40), Target.LIVER, np.uint8)
    for patient, pixels in zip(target, tumours, strict=True):
        patient[:, :pixels] = Target.TUMOUR
    names = np.repeat([f"p{number}" for number in range(len(tumours))], 2)
    target = target.reshape(-1, 40, 40)
    hu = np.zeros(target.shape, np.int16)
    return Slices(hu, target, names, np.ones(len(names), np.float32))


@pytest.mark.parametrize("seed", range(5))
def test_whom_is_held_out_has_a_share_of_the_tumour(seed):
    slices = ward([1600 // 2**halvings for halvings in range(10)])
    held_out = slices.of(split_patients(slices, 5, seed).held_out)
    assert 0.1 < held_out.tumour_pixels.sum() / slices.tumour_pixels.sum() < 0.3


@pytest.mark.parametrize(("share", "ill", "healthy"), [(0.25, 1, 3), (0.5, 2, 6), (1.0, 4, 12)])
def test_a_share_is_of_the_ill_and_of_the_healthy_with_all_their_slices(share, ill, healthy):
    part = take_share(ward([50] * 4 + [0] * 12), share, seed=3)
    names, slices = np.unique(part.patient, return_counts=True)
    assert set(slices) == {2}
    assert len(set(part.patient[part.tumour_pixels > 0])) == ill
    assert len(names) == ill + healthy


@pytest.mark.parametrize("seed", range(5))
def test_a_smaller_share_adds_nobody(seed):
    slices = ward([50] * 4 + [0] * 12)
    few, more = (set(take_share(slices, share, seed).patient) for share in (0.25, 0.5))
    assert few < more


def test_the_real_sources_are_read(shared_data):
    slices = read_slices(shared_data / "train")
    assert slices.hu.shape == (2324, SIDE, SIDE)
    assert len(set(slices.patient)) == 100
    second_names = {"lits1", "lits7", "lits8", "lits9", "lits10", "lits15"}
    assert not second_names & set(slices.patient)
    assert not any(name.startswith("msd") for name in slices.patient)
    assert not np.isnan(slices.pixel_mm).any()


def test_the_committed_split_holds_out_whom_the_default_model_has_not_seen(shared_data):
    slices = read_slices(shared_data / "train")
    cases = split_cases(load_recipe("base").model_copy(update={"phantoms": 0}), slices)
    stated = load_model(default_model_folder()).manifest.evaluation
    assert list(cases.split.held_out) == stated["held_out_patients"] == sorted(load_split("lits"))
    assert not set(cases.train.patient) & set(cases.held_out.patient)


def test_an_unknown_split_names_those_that_there_are():
    with pytest.raises(BadRecipe, match="no split 'none'; known: lits"):
        load_split("none")


def test_whom_a_model_has_not_seen_stays_held_out(data_folder):
    slices = read_slices(data_folder)
    split = hold_out(slices, ["lits3", "lits999"])
    assert split.held_out == ("lits3",)
    assert set(split.train) == set(slices.patient) - {"lits3"}


def test_a_patient_of_3d_ircadb_goes_by_the_number_in_lits():
    assert ircad_patient(1) == lits_patient(28)
    assert ircad_patient(20) == lits_patient(47)
