"""Volumes and labels of one's own, as `dataset.toml` describes them."""

import gzip

import numpy as np
import pytest
import SimpleITK
from typer.testing import CliRunner

from dicom_node.results.phantom import to_instances
from engine.volume import Label
from tests.trainer.datasets.sample_data import image_of, small_phantom, write_lits
from trainer.batches.sampling import Sampler
from trainer.datasets.cases.patient_split import split_patients
from trainer.datasets.cases.target import Target
from trainer.datasets.commands import app
from trainer.datasets.layouts.read_all import find_cases, read_cases, read_slices
from trainer.errors import BadCase, BadData, BadRecipe
from trainer.recipe.recipe import Batch, load_recipe

LABELS = "[labels]\nliver = 6\ntumour = [1, 13]\n"


@pytest.fixture(scope="module")
def phantom():
    return small_phantom()


def write_pair(phantom, image, mask, values=(0, 6, 13)):
    """A volume and its labels, whose liver and tumours have other values than Hepar's."""
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(image_of(phantom, phantom.volume.hu), str(image))
    other = np.array(values, np.uint8)[phantom.truth.labels]
    other[0, 0, 0] = 9  # another organ
    SimpleITK.WriteImage(image_of(phantom, other), str(mask))


PLACES = {
    "two folders": ("images/anna.nii.gz", "labels/anna.nii.gz"),
    "two folders, named otherwise": ("CT/anna.nii", "Masks/anna.nii.gz"),
    "as nnU-Net has it": ("imagesTr/anna_0000.nii.gz", "labelsTr/anna.nii.gz"),
    "one folder": ("anna.nii.gz", "anna_seg.nii.gz"),
    "a word in the labels' folder too": ("images/anna.nii.gz", "masks/anna-label.nii.gz"),
}


@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
def test_pairs_of_any_names_and_values_are_read(places, phantom, tmp_path):
    (tmp_path / "dataset.toml").write_text(f'name = "Ward 7"\n{LABELS}')
    write_pair(phantom, *(tmp_path / place for place in places))
    (found,) = find_cases(tmp_path)
    case = found.read()
    assert (found.source, case.patient) == ("Ward 7", "anna")
    assert np.array_equal(case.volume.hu, phantom.volume.hu)
    assert np.array_equal(case.target, phantom.truth.labels)


def test_folders_and_patients_may_be_named(phantom, tmp_path):
    stated = 'images = "scans/all"\nmasks = "drawn"\npatient = "^(p[0-9]+)"\n'
    (tmp_path / "dataset.toml").write_text(stated + LABELS)
    for phase in ("venous", "late"):
        pair = (f"scans/all/p12-{phase}.nii.gz", f"drawn/p12-{phase}.nii.gz")
        write_pair(phantom, *(tmp_path / place for place in pair))
    cases = list(read_cases(tmp_path))
    assert [case.patient for case in cases] == ["p12", "p12"]
    assert {case.series for case in cases} == {"p12-late", "p12-venous"}


@pytest.mark.parametrize(
    ("labels", "inside", "outside"),
    [
        ("liver = [6, 13]", Target.LIVER_OR_TUMOUR, Target.BACKGROUND),
        ("tumour = 13", Target.NO_TUMOUR, Target.NO_TUMOUR),
    ],
)
def test_what_was_not_drawn_stays_unknown(labels, inside, outside, phantom, tmp_path):
    (tmp_path / "dataset.toml").write_text(f"[labels]\n{labels}\n")
    write_pair(phantom, tmp_path / "images/a.nii.gz", tmp_path / "labels/a.nii.gz")
    ((target),) = (case.target for case in read_cases(tmp_path))
    truth = phantom.truth.labels
    assert set(np.unique(target[truth == Label.LIVER])) == {inside}
    assert set(np.unique(target[truth == Label.BACKGROUND])) == {outside}


def test_files_that_are_described_are_no_layout_of_others(phantom, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "dataset.toml").write_text(LABELS)
    pair = ("imagesTr/liver_15.nii.gz", "labelsTr/liver_15.nii.gz")
    write_pair(phantom, *(tmp_path / "mine" / place for place in pair))
    write_lits(phantom, tmp_path / "lits")
    assert [found.source for found in find_cases(tmp_path)] == ["mine", "LiTS"]


@pytest.mark.parametrize(
    ("places", "reason"),
    [
        (("labels/b.nii.gz", "other/b.nii.gz"), "b: labels without a volume"),
        (("images/b.nii.gz", "other/b.nii.gz"), "b: a volume without labels"),
    ],
)
def test_what_is_alone_is_broken(places, reason, phantom, tmp_path):
    (tmp_path / "dataset.toml").write_text(LABELS)
    write_pair(phantom, tmp_path / "images/a.nii.gz", tmp_path / "labels/a.nii.gz")
    write_pair(phantom, *(tmp_path / place for place in places))
    result = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert result.exit_code == 1
    assert reason in " ".join(result.output.split())
    assert "1 patients, 1 with drawn tumours; 1 series" in " ".join(result.output.split())


def test_labels_without_any_of_the_values_are_broken(phantom, tmp_path):
    (tmp_path / "dataset.toml").write_text("[labels]\nliver = 77\n")
    write_pair(phantom, tmp_path / "images/a.nii.gz", tmp_path / "labels/a.nii.gz")
    (found,) = find_cases(tmp_path)
    with pytest.raises(BadCase, match=r"labels are \[0, 6, 9, 13\], none of which"):
        found.read()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[labels", "is no TOML"),
        ("colour = 1", "colour: Extra inputs are not permitted"),
        ("[labels]\n", "state liver, tumour or both"),
        ("weight = 0", "weight: Input should be greater than 0"),
        ('images = "gone"\n[labels]\nliver = 1', "names the folder 'gone', which is not there"),
        ("[labels]\nliver = 1", "has \\[labels\\], and .* no labels"),
    ],
)
def test_a_description_that_means_nothing_is_refused(text, reason, tmp_path):
    (tmp_path / "dataset.toml").write_text(text)
    with pytest.raises(BadData, match=reason):
        list(find_cases(tmp_path))


def test_patients_of_a_source_are_drawn_by_its_weight(phantom, tmp_path):
    for name, number in (("much", 60), ("little", 61)):
        write_lits(phantom, tmp_path / name, number)
    (tmp_path / "much" / "dataset.toml").write_text("weight = 4.0\n")
    slices = read_slices(tmp_path, 64)
    assert set(slices.weight[slices.patient == "lits60"]) == {4.0}
    assert set(slices.weight[slices.patient == "lits61"]) == {1.0}
    sampler = Sampler(slices, Batch(tumour=500, other=0))
    drawn = slices.patient[sampler.draw(np.random.default_rng(0))]
    assert np.mean(drawn == "lits60") == pytest.approx(0.8, abs=0.05)


def test_without_weights_the_same_slices_are_drawn_as_ever(phantom, tmp_path):
    for number in (60, 61, 62):
        write_lits(phantom, tmp_path, number)
    slices = read_slices(tmp_path, 64)
    sampler = Sampler(slices, Batch(tumour=20, other=0))
    random = np.random.default_rng(5)
    groups = [
        np.flatnonzero((slices.tumour_pixels > 0) & (slices.patient == name))
        for name in np.unique(slices.patient)
    ]
    expected = [random.choice(groups[random.integers(3)]) for _ in range(20)]
    assert sampler.draw(np.random.default_rng(5)).tolist() == expected


def test_a_file_that_breaks_off_is_named(phantom, tmp_path):
    (tmp_path / "dataset.toml").write_text(LABELS)
    mask = tmp_path / "labels/a.nii.gz"
    write_pair(phantom, tmp_path / "images/a.nii.gz", mask)
    mask.write_bytes(gzip.compress(b"")[:10])
    (found,) = find_cases(tmp_path)
    with pytest.raises(BadCase, match="cannot be read"):
        found.read()


def test_what_nothing_was_drawn_on_is_read_for_a_teacher_and_never_judged(phantom, tmp_path):
    (tmp_path / "dataset.toml").write_text('unlabelled = "later"\n' + LABELS)
    write_pair(phantom, tmp_path / "images/a.nii.gz", tmp_path / "labels/a.nii.gz")
    write_pair(phantom, tmp_path / "images/b.nii.gz", tmp_path / "labels/b.nii.gz")
    (tmp_path / "later" / "series").mkdir(parents=True)
    for index, instance in enumerate(to_instances(phantom, "later")):
        instance.save_as(tmp_path / "later" / "series" / str(index), enforce_file_format=True)
    image = image_of(phantom, phantom.volume.hu)
    SimpleITK.WriteImage(image, str(tmp_path / "later" / "c.nii.gz"))
    assert [found.name for found in find_cases(tmp_path)] == ["a", "b"]
    slices = read_slices(tmp_path, 64, unlabelled=True)
    new = slices.of(["c", "series"])
    assert len(new) == 16
    assert np.all(new.target == Target.UNKNOWN)
    assert np.array_equal(new.hu[:8], new.hu[8:])
    assert not set(split_patients(slices, 2, 0).held_out) & {"c", "series"}
    kinds = Batch(tumour=0, other=0, nothing=30)
    assert not {"c", "series"} & set(slices.patient[Sampler(slices, kinds).draw(RANDOM)])
    kinds = Batch(tumour=0, other=0, unlabelled=30)
    assert {"c", "series"} == set(slices.patient[Sampler(slices, kinds).draw(RANDOM)])


RANDOM = np.random.default_rng(0)


def test_without_a_teacher_unlabelled_slices_are_refused():
    assert load_recipe("fast", ["batch.unlabelled=3"]).batch.size == 13
    with pytest.raises(BadRecipe, match="that a teacher alone can teach by"):
        load_recipe("base", ["batch.unlabelled=3"])
