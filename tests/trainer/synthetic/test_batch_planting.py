"""Tumours planted into whole batches, as a GPU does it, beside those planted slice by slice.

On a GPU, and without one on the processor; `test_any_device` shows that a batch never waits for
its device.
"""

from dataclasses import dataclass, fields

import numpy as np
import pytest
import torch
from scipy import ndimage

from trainer.datasets.cases.target import Target
from trainer.synthetic import planting
from trainer.synthetic.batch import plant_some
from trainer.synthetic.batch_planting import Plan, draw_plan, plant_planned
from trainer.synthetic.lesion import Lesion
from trainer.synthetic.planting import APART_MM
from trainer.synthetic.slab import Beside, alone

SLICES, SIDE, MM = 64, 96, 2.4
LIVER_HU, NOISE_HU = 100.0, 12.0


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that wait for one another at each small step are slow on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def a_liver(*tumours: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """HU and target of a slice with noise; real tumours, 24 mm wide, lie in it."""
    rows, columns = np.indices((SIDE, SIDE))
    target = np.zeros((SIDE, SIDE), np.uint8)
    target[np.hypot(rows - 48, columns - 42) < 33] = Target.LIVER
    noise = np.random.default_rng(0).normal(0, NOISE_HU, target.shape)
    hu = np.where(target > 0, LIVER_HU, -60.0) + noise
    for row, column in tumours:
        tumour = np.hypot(rows - row, columns - column) < 5
        hu[tumour] -= 50
        target[tumour] = Target.TUMOUR
    return hu.astype(np.float32), target


def copies(slice_: tuple[np.ndarray, np.ndarray], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    hu, target = (torch.from_numpy(np.stack([each] * count)) for each in slice_)
    return hu, target


def in_batches(
    hu: torch.Tensor,
    target: torch.Tensor,
    seed: int = 0,
    beside: Beside | None = None,
    place: str = "cpu",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each slice with tumours, planted as on a GPU."""
    plan = draw_plan(len(hu), 1.0, np.random.default_rng(seed))
    random, known_mm = torch.Generator(place).manual_seed(seed), torch.full((len(hu),), MM)
    there = hu.to(place), target.to(place), known_mm.to(place)
    shown, labels = plant_planned(*there, plan, random, beside)
    return shown.cpu(), labels.cpu()


@dataclass(frozen=True)
class Seen:
    """Measurements of planted tumours, slice by slice."""

    pixels: np.ndarray
    parts: np.ndarray
    contrast_hu: np.ndarray
    deviation_hu: np.ndarray
    edge_hu: np.ndarray
    """By how much the liver just outside is darker than it was."""
    moved_hu: np.ndarray
    """Mean change of the liver beside the tumours."""
    brightest_hu: np.ndarray
    """By how much the brightest tenth of their rims is brighter than it was."""
    spread: np.ndarray
    """Mean square distance from the middle, over that of a disc as large."""

    @staticmethod
    def of(before, after) -> "Seen":
        rows = []
        for old_hu, old, hu, target in zip(*before, *after, strict=True):
            new = ((target == Target.TUMOUR) & (old != Target.TUMOUR)).numpy()
            liver = (target == Target.LIVER).numpy()
            away = ndimage.distance_transform_edt(~new)
            inside, ring = hu.numpy()[new], liver & (away < 1.5)
            beside = liver & (away > 1.5) & (away < 6)
            change = (hu - old_hu).abs().numpy()
            large, parts = new.sum() > 40, ndimage.label(new)[1]
            rim = liver & (away < 2.5)
            core = ndimage.distance_transform_edt(new) > 1.5
            places = np.argwhere(new)
            around = np.square(places - places.mean(axis=0)).sum(axis=1).mean() if large else 0
            rows.append(
                (
                    new.sum(),
                    parts,
                    LIVER_HU - np.median(inside) if large else np.nan,
                    hu.numpy()[core].std() if large else np.nan,
                    -(hu - old_hu).numpy()[ring].mean() if large else np.nan,
                    change[beside].mean() if large else np.nan,
                    np.percentile((hu - old_hu).numpy()[rim], 90) if large else np.nan,
                    around * 2 * np.pi / new.sum() if large and parts == 1 else np.nan,
                )
            )
        return Seen(*np.array(rows, float).T)


@pytest.fixture(scope="module", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def seen(request) -> tuple[Seen, Seen]:
    """The same tumours: planted into whole batches, and slice by slice on the host."""
    before = copies(a_liver((36, 30)), SLICES)
    plan = draw_plan(SLICES, 1.0, np.random.default_rng(0))
    batches = in_batches(*before, place=request.param)
    return Seen.of(before, batches), Seen.of(before, on_host(*before, plan))


def on_host(hu: torch.Tensor, target: torch.Tensor, plan: Plan):
    """Slices with the tumours of a plan, as `planting` draws them."""
    slabs = [alone(*each, MM) for each in zip(hu.numpy(), target.numpy(), strict=True)]
    random = np.random.default_rng(0)
    for rows, shapes in zip(plan.rounds, plan.shapes, strict=True):
        for row, shape in zip(rows, shapes, strict=True):
            lesion = Lesion(*shape[: len(fields(Lesion))].tolist())
            slabs[row] = planting.with_one(slabs[row], lesion, random)
    planted = [(each.hu[0], each.target[0]) for each in slabs]
    return [torch.from_numpy(np.stack(each)) for each in zip(*planted, strict=True)]


def test_as_many_slices_get_tumours_as_are_chosen():
    plan = draw_plan(2000, 0.3, np.random.default_rng(0))
    assert len(plan.rounds[0]) / 2000 == pytest.approx(0.3, abs=0.03)
    # One tumour in 60 % of the slices, two in 24 %.
    numbers = np.bincount(np.concatenate(plan.rounds), minlength=2000)
    shares = np.bincount(numbers)[1:] / len(plan.rounds[0])
    assert shares == pytest.approx([0.6, 0.24, 0.096, 0.064], abs=0.05)


def test_each_chosen_slice_gets_tumours_that_are_as_many(seen):
    batches, host = seen
    assert (batches.pixels > 0).mean() == pytest.approx((host.pixels > 0).mean(), abs=0.04)
    assert batches.parts.mean() == pytest.approx(host.parts.mean(), rel=0.08)


def test_tumours_are_as_large(seen):
    batches, host = (np.percentile(np.sqrt(each.pixels), [25, 50, 75, 90]) for each in seen)
    assert batches == pytest.approx(host, rel=0.12)


@pytest.mark.parametrize(
    ("measured", "bound"),
    [
        ("contrast_hu", 0.15),
        ("deviation_hu", 0.09),
        ("edge_hu", 0.15),
        ("moved_hu", 0.1),
        ("brightest_hu", 0.15),
        ("spread", 0.1),
    ],
)
def test_tumours_look_alike(seen, measured, bound):
    batches, host = (np.nanmean(getattr(each, measured)) for each in seen)
    assert batches == pytest.approx(host, rel=bound)


def test_contrasts_have_the_same_spread(seen):
    quartiles = [np.nanpercentile(each.contrast_hu, [25, 75]) for each in seen]
    assert quartiles[0] == pytest.approx(quartiles[1], rel=0.15)


def test_nothing_changes_outside_of_the_liver_or_near_a_real_tumour():
    before = copies(a_liver((36, 30), (60, 50)), 16)
    hu, target = in_batches(*before, seed=2)
    kept = before[1] != Target.LIVER
    assert torch.equal(hu[kept], before[0][kept])
    assert torch.equal(target[kept], before[1][kept])
    away = ndimage.distance_transform_edt((before[1][0] != Target.TUMOUR).numpy()) * MM
    new = (target == Target.TUMOUR) & ~kept
    assert new.any()
    assert all(away[each.numpy()].min(initial=np.inf) > APART_MM for each in new)
    assert torch.equal(
        before[1], copies(a_liver((36, 30), (60, 50)), 16)[1]
    )  # not changed in place


def test_what_looks_like_a_tumour_that_nobody_has_drawn_is_left_alone():
    hu, drawn = a_liver((36, 30), (60, 50))
    target = np.where(drawn > 0, np.uint8(Target.LIVER_OR_TUMOUR), drawn)
    before = copies((hu, target), 16)
    _, labels = in_batches(*before)
    new = (labels == Target.TUMOUR).numpy()
    assert new.any()
    assert not (new & (drawn == Target.TUMOUR)).any()
    assert set(np.unique(labels.numpy()[~new])) == {Target.BACKGROUND, Target.LIVER_OR_TUMOUR}


def test_a_slice_without_liver_stays_as_it_is():
    hu, target = a_liver()
    before = copies((hu, np.zeros_like(target)), 4)
    shown, labels = in_batches(*before)
    assert torch.equal(shown, before[0])
    assert not labels.any()


def test_no_large_tumour_is_cut_to_a_thin_liver():
    hu, target = a_liver()
    strip = np.zeros_like(target)
    strip[46:50] = Target.LIVER
    _, labels = in_batches(*copies((hu, strip), 40))
    found = [
        ndimage.find_objects(ndimage.label(each == Target.TUMOUR)[0]) for each in labels.numpy()
    ]
    lengths = [part[1].stop - part[1].start for each in found for part in each]
    assert len(lengths) > 5
    assert max(lengths) < 20


def test_the_same_chance_plants_the_same_tumours():
    before = copies(a_liver(), 4)
    one, other = in_batches(*before), in_batches(*before)
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[0], in_batches(*before, seed=1)[0])


def slabs(away_mm: list[float], ill: int | None = None, count: int = 12):
    """Slices with neighbours so far away, a real tumour in one of them."""
    planes = [a_liver((36, 30)) if index == ill else a_liver() for index in range(len(away_mm))]
    hu, target = (
        torch.from_numpy(np.stack([np.stack(each)] * count)) for each in zip(*planes, strict=True)
    )
    beside = Beside(target, torch.tensor([away_mm] * count))
    return hu, target[:, away_mm.index(0)], beside


def test_tumours_reach_near_neighbours_and_no_far_ones():
    hu, target, beside = slabs([0.0, -1.0, 200.0])
    shown, labels = in_batches(hu, target, beside=beside)
    own = labels == Target.TUMOUR
    assert own.any()
    changed = shown != hu
    assert (changed[:, 1] & own).sum() > 0.8 * own.sum()
    assert not changed[:, 2].any()
    # The texture of a neighbour is another one, the further off the more.
    assert not torch.equal(shown[:, 0], shown[:, 1])


def test_sections_have_the_sizes_that_the_host_gives_them():
    hu, target, beside = slabs([0.0, -6.0, 6.0], count=24)
    known_mm = torch.full((24,), MM)
    by_host, _ = plant_some(hu, target, known_mm, 1.0, torch.Generator().manual_seed(0), beside)
    by_batch, _ = in_batches(hu, target, beside=beside)
    reached = [
        float((shown != hu)[:, 1:].sum() / (shown != hu)[:, 0].sum() / 2)
        for shown in (by_batch, by_host)
    ]
    assert 0.3 < reached[1] < 1
    assert reached[0] == pytest.approx(reached[1], rel=0.2)


def test_a_slice_that_stands_in_for_its_neighbours_stays_the_same_in_all_places():
    hu, target, beside = slabs([0.0, 0.0, 0.0])
    shown, labels = in_batches(hu, target, beside=beside)
    assert (labels == Target.TUMOUR).any()
    assert torch.equal(shown[:, 0], shown[:, 1])
    assert torch.equal(shown[:, 0], shown[:, 2])


def test_nothing_is_planted_over_a_neighbours_tumour_or_where_nobody_looked():
    hu, target, beside = slabs([0.0, 2.0], ill=1)
    _, labels = in_batches(hu, target, beside=beside)
    real = beside.target[:, 1] == Target.TUMOUR
    assert (labels == Target.TUMOUR).any()
    assert not ((labels == Target.TUMOUR) & real).any()
    hu, target, beside = slabs([0.0, 0.2])
    beside.target[:, 1] = Target.UNKNOWN
    assert not (in_batches(hu, target, beside=beside)[1] == Target.TUMOUR).any()
