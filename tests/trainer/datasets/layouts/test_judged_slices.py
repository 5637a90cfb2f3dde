"""Slices of other sources: judged on, never learnt from."""

import json

import numpy as np
import pytest

from engine.phantom import make_phantom
from tests.trainer.recipe.test_recipe import hepar
from trainer.datasets.cases.target import Target
from trainer.datasets.layouts.judged_slices import read_judged
from trainer.datasets.layouts.read_all import read_slices
from trainer.errors import BadData


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(2, shape=(6, 128, 128), spacing_mm=(30.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def folder(phantom, tmp_path_factory):
    """Both files, of one phantom whose patients are two."""
    folder = tmp_path_factory.mktemp("external")
    image = np.clip(phantom.volume.hu, 0, 255).astype(np.uint8)
    common = {
        "image": image,
        "patient": np.repeat([10001, 10002], 3),
        "window": np.tile(np.float32([0, 255]), (6, 1)),
    }
    drawn = phantom.truth.labels
    kidneys = np.where(drawn > 0, 1, 2).astype(np.uint8)
    np.savez(folder / "curvas_slices_512.npz", label=kidneys, **common)
    tumours = np.where(drawn == 2, 2, drawn == 0).astype(np.uint8)
    np.savez(folder / "msd08_hepaticvessel_slices_512.npz", label=tumours, **common)
    return folder


def test_livers_of_one_source_and_tumours_of_the_other_are_drawn(folder, phantom):
    curvas, msd = read_judged(folder)
    drawn = phantom.truth.labels
    assert np.array_equal(curvas.target == Target.LIVER_OR_TUMOUR, drawn > 0)
    assert np.array_equal(curvas.target == Target.BACKGROUND, drawn == 0)
    assert np.array_equal(msd.target == Target.TUMOUR, drawn == 2)
    assert np.array_equal(msd.target == Target.NO_TUMOUR, drawn != 2)
    assert set(curvas.patient) == {"curvas-10001", "curvas-10002"}


def test_what_was_clipped_is_air_or_bone_again(folder, phantom):
    curvas, _ = read_judged(folder)
    hu = phantom.volume.hu
    assert np.array_equal(curvas.hu[hu <= 0], np.full((hu <= 0).sum(), -1000))
    inside = (hu > 0) & (hu < 255)
    assert np.array_equal(curvas.hu[inside], hu[inside])


def test_nobody_learns_from_them(folder):
    with pytest.raises(BadData, match="nothing to learn from"):
        read_slices(folder)


def test_a_model_is_judged_by_what_was_drawn_alone(folder, toy, tmp_path):
    figures = tmp_path / "figures.json"
    where = ("--data", str(folder), "--all", "--model", str(toy), "--json", str(figures))
    result = hepar("evaluate", *where, "--report", str(tmp_path / "page.html"))
    assert result.exit_code == 0, result.output
    (judged,) = json.loads(figures.read_text())["methods"].values()
    assert judged["patients"] == 4
    assert judged["pooled_dice"]["liver"]["patients"] == 2
    assert judged["pooled_dice"]["tumour"]["patients"] == 2
    assert "liver" not in judged["per_patient"]["msd08-10001"]
    assert "tumour" not in judged["per_patient"]["curvas-10001"]


def test_one_file_alone_may_be_named(folder, toy, tmp_path):
    figures = tmp_path / "figures.json"
    where = ("--data", str(folder / "curvas_slices_512.npz"), "--all", "--model", str(toy))
    assert hepar("evaluate", *where, "--json", str(figures)).exit_code == 0
    (judged,) = json.loads(figures.read_text())["methods"].values()
    assert set(judged["per_patient"]) == {"curvas-10001", "curvas-10002"}
