import json

import numpy as np
import pytest

from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.npz import VOLUMES, read_packed
from trainer.datasets.layouts.patient_names import LITS_VOLUMES, todays_name
from trainer.datasets.layouts.read_all import read_slices

SIDE = 256


def grey(count: int) -> np.ndarray:
    return np.zeros((count, SIDE, SIDE), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Slices of three volumes of LiTS, one of them without its pixel size, and of the Decathlon."""
    np.savez(
        tmp_path / "lits_tumour_slices.npz",
        image=grey(3),
        label=grey(3),
        volume=np.array([4, 30, 9]),
        slice=np.arange(3),
        pixel_mm=np.array([1.8, np.nan, 1.6], np.float32),
        window=np.tile(np.float32([-40, 160]), (3, 1)),
    )
    np.savez(
        tmp_path / "msd_liver_slices.npz",
        image=grey(3),
        mask=grey(3),
        patient=np.array([10004, 71, 72]),
        slice=np.arange(3),
        lits_volume=np.array([-1, 8, -1]),
    )
    return tmp_path


def write_spacings(folder):
    spacing = {"30": [0.7, 0.7, 2.0], "101": [0.75, 0.75, 0.7], "8": [0.8, 0.8, 1.0]}
    facts = {number: {"slices": 9, "spacing_mm": mm} for number, mm in spacing.items()}
    (folder / "lits_spacing.json").write_text(json.dumps(facts))


def write_volumes(folder):
    image = grey(2)
    image[:, :128] = 255
    np.savez(
        folder / VOLUMES,
        image=image,
        label=grey(2) + np.uint8(1),
        volume=np.array([4, 4]),
        slice=np.array([10, 11]),
        pixel_mm=np.array([1.8, 1.8], np.float32),
        z_mm=np.array([0.8, 0.8], np.float32),
        window=np.tile(np.float32([-160, 240]), (2, 1)),
    )


def read(folder):
    return dict(read_packed(folder))


def test_patients_have_one_name_and_slices_keep_what_scale_they_have(folder):
    parts = read(folder)
    assert parts["msd_liver_slices.npz"].patient.tolist() == ["lits101", "lits6", "msd72"]
    assert np.isnan(parts["msd_liver_slices.npz"].pixel_mm).all()
    lits = parts["lits_tumour_slices.npz"]
    assert lits.pixel_mm.tolist() == pytest.approx([1.8, np.nan, 1.6], nan_ok=True)


def test_spacings_beside_them_give_slices_of_lits_their_scale(folder):
    write_spacings(folder)
    parts = read(folder)
    msd, lits = parts["msd_liver_slices.npz"], parts["lits_tumour_slices.npz"]
    assert msd.patient.tolist() == ["lits101", "lits6", "msd72"]
    assert msd.pixel_mm == pytest.approx([1.5, 1.6, np.nan], nan_ok=True)
    assert lits.patient.tolist() == ["lits4", "lits30", "lits6"]
    assert lits.pixel_mm == pytest.approx([1.8, 1.4, 1.6])


def test_decathlon_patients_are_the_volumes_of_lits_that_the_data_state(shared_data):
    joins = json.loads((shared_data / "train" / "msd_to_lits.json").read_text())
    stated = {int(patient): each["lits"] for patient, each in joins.items()}
    assert stated == {patient: LITS_VOLUMES[patient] for patient in stated}
    with np.load(shared_data / "train" / "msd_liver_slices.npz") as file:
        assert set(file["patient"].tolist()) == set(LITS_VOLUMES)


@pytest.mark.parametrize(
    ("before", "now"),
    [("msd10016", "lits113"), ("msd72", "msd72"), ("lits12", "lits12"), ("ours", "ours")],
)
def test_a_name_from_before_patients_were_joined_is_todays(before, now):
    assert todays_name(before) == now


def test_volumes_are_read_in_place_and_take_the_place_of_their_copies(folder):
    write_volumes(folder)
    parts = read(folder)
    volume = parts[VOLUMES]
    assert volume.position_mm == pytest.approx([8.0, 8.8])
    assert set(volume.series) == {"LiTS volume 4"}
    assert (volume.hu.min(), volume.hu.max()) == (-160, 240)
    assert parts["lits_tumour_slices.npz"].patient.tolist() == ["lits30", "lits6"]


def test_slices_without_liver_are_background_everywhere(tmp_path):
    np.savez(
        tmp_path / "negatives_chest_head.npz",
        image=np.full((2, SIDE, SIDE), -700, np.int16),
        patient=np.array(["chest", "head"]),
        slice=np.arange(2),
        pixel_mm=np.array([1.4, 1.0], np.float32),
    )
    slices = read_slices(tmp_path)
    assert slices.patient.tolist() == ["chest", "head"]
    assert (slices.target == Target.BACKGROUND).all()
    assert (slices.hu == -700).all()


def test_the_crop_has_its_rows_to_the_back_and_its_columns_to_the_left(tmp_path):
    ct = np.zeros((128, 128, 128), np.int16)  # x to the left, y to the back
    ct[10, 100, :] = 500
    np.savez(tmp_path / "lits117_crop.npz", ct=ct, label=np.zeros_like(ct, np.uint8))
    slices = read_slices(tmp_path)
    margin = (SIDE - 128) // 2
    rows, columns = np.nonzero(slices.hu[0])
    assert (rows.tolist(), columns.tolist()) == ([margin + 100], [margin + 10])


def test_the_spine_of_the_real_crop_lies_at_the_back(shared_data):
    crop = read(shared_data / "train")["lits117_crop.npz"]
    bone = np.argwhere((crop.hu > 250) & (crop.target != Target.UNKNOWN))
    assert bone[:, 1].mean() > SIDE / 2
