import threading
from dataclasses import dataclass, field
from time import sleep

import numpy as np
import pytest

from engine.device import Answer
from engine.errors import DeviceFailed
from engine.segmentation.cleaning import clean
from engine.segmentation.segment import segment
from engine.segmentation.slice_vote import majority_vote
from engine.volume import Label, LabelMap, Volume
from tests.engine.toy_model import DISPUTED_LIVER_HU, LIVER_HU, TUMOUR_HU, toy_answer


@dataclass
class Witness:
    """Answers as the toy model does and keeps what it was asked."""

    batch: int = 4
    name: str = "witness"
    hu: list = field(default_factory=list)
    spacings: set = field(default_factory=set)

    def run(self, hu, spacing_mm):
        self.hu.extend(hu)
        self.spacings.add(spacing_mm)
        return Answer(*toy_answer(hu, spacing_mm))


@pytest.fixture
def abdomen(make_volume):
    """400 mm with a liver of 150 mm, a tumour in it, and specks below and above."""
    return make_abdomen(make_volume)


def make_abdomen(make_volume, slices=160, spacing_mm=2.5, liver=(60, 120)):
    hu = np.full((slices, 24, 30), -50)
    middle, half = sum(liver) / 2, (liver[1] - liver[0]) / 2
    for index in range(*liver):
        width = int(10 * np.sqrt(1 - ((index + 0.5 - middle) / half) ** 2)) + 1
        hu[index, 12 - width : 12 + width, 14 - width : 14 + width] = LIVER_HU
    hu[80:90, 10:14, 12:16] = TUMOUR_HU
    hu[3:5, 3:6, 3:6] = LIVER_HU
    hu[-9:-6, 3:6, 3:6] = TUMOUR_HU
    return make_volume(hu, (spacing_mm, 0.8, 0.7))


def everything(volume, device):
    """Every slice computed, held against its neighbours, then cleaned."""
    labels = device.run(volume.hu.astype(np.float16), volume.geometry.spacing[1:]).labels
    return clean(majority_vote(LabelMap(labels, volume.geometry))).labels


def test_the_search_changes_nothing_but_the_work(abdomen, toy_device):
    result = segment(abdomen, toy_device)
    np.testing.assert_array_equal(result.label_map.labels, everything(abdomen, toy_device))
    assert result.slices_computed < 100
    assert result.label_map.geometry is abdomen.geometry


def test_what_was_marked_away_from_the_liver_is_counted(make_volume, toy_device):
    hu = np.full((40, 24, 30), -50)
    hu[10:30, 4:20, 4:20] = LIVER_HU
    hu[12:15, 5:8, 25:28] = LIVER_HU
    result = segment(make_volume(hu, (2.5, 0.8, 0.7)), toy_device)
    assert result.dropped_ml == pytest.approx(27 * 2.5 * 0.8 * 0.7 / 1000)


def test_a_speck_of_tumour_that_becomes_liver_is_not_dropped(make_volume, toy_device):
    hu = np.full((40, 24, 30), -50)
    hu[10:30, 4:20, 4:20] = LIVER_HU
    hu[15, 10, 10:12] = TUMOUR_HU
    result = segment(make_volume(hu, (2.5, 0.8, 0.7)), toy_device)
    assert result.label_map.labels[15, 10, 10] == Label.LIVER
    assert result.dropped_ml == 0


@pytest.mark.parametrize("liver", [(0, 50), (110, 160), (0, 160), (70, 78), (1, 2)])
def test_the_liver_may_lie_anywhere(make_volume, toy_device, liver):
    volume = make_abdomen(make_volume, liver=liver)
    volume.hu[80:90][volume.hu[80:90] == TUMOUR_HU] = -50
    result = segment(volume, toy_device)
    np.testing.assert_array_equal(result.label_map.labels, everything(volume, toy_device))


def test_no_slice_is_computed_twice(abdomen):
    witness = Witness()
    assert segment(abdomen, witness).slices_computed == len(witness.hu)


def test_a_liver_that_the_first_look_misses_is_found_by_the_second(make_volume):
    hu = np.full((160, 8, 8), -50)
    hu[63:66, 2:6, 2:6] = LIVER_HU  # 7.5 mm between two slices 15 mm apart
    found = segment(make_volume(hu, (2.5, 1.0, 1.0)), Witness()).label_map
    assert np.flatnonzero(found.labels.any(axis=(1, 2))).tolist() == [63, 64, 65]


def test_a_low_volume_is_computed_whole(make_volume):
    assert (
        segment(make_volume(np.zeros((11, 4, 4)), (5.0, 1.0, 1.0)), Witness()).slices_computed == 11
    )


def test_a_volume_without_liver_gives_no_labels(make_volume, toy_device):
    result = segment(make_volume(np.full((90, 6, 7), 40), (2.0, 0.8, 0.7)), toy_device)
    assert not result.label_map.labels.any()
    assert result.agreement == {Label.LIVER: 1.0, Label.TUMOUR: 1.0}
    assert result.slices_computed < 90


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_the_batch_size_changes_nothing(abdomen, toy_device, batch):
    few = Witness(batch=batch)
    result, usual = segment(abdomen, few), segment(abdomen, toy_device)
    np.testing.assert_array_equal(result.label_map.labels, usual.label_map.labels)
    assert result.agreement == pytest.approx(usual.agreement)


def test_the_device_is_told_the_spacing_of_rows_then_of_columns(abdomen):
    witness = Witness()
    segment(abdomen, witness)
    (spacing,) = witness.spacings
    assert spacing == pytest.approx((0.8, 0.7))


def test_slices_reach_the_device_as_the_volume_has_them(make_volume):
    hu = np.array([[[-3024, -1024, 0, 2047, 2048, 32767]]])
    witness = Witness()
    segment(make_volume(hu), witness)
    assert witness.hu[0].tolist() == hu[0].tolist()
    assert witness.hu[0].dtype == np.int16


@pytest.mark.parametrize("neighbours", [0, 1])
def test_a_device_that_fails_in_the_middle_fails_the_segmentation(abdomen, neighbours):
    @dataclass
    class Failing(Witness):
        neighbours: int = 0

        def run(self, hu, spacing_mm):
            if len(self.hu) > 20:
                raise DeviceFailed("out of order")
            return super().run(hu, spacing_mm)

    with pytest.raises(DeviceFailed, match="out of order"):
        segment(abdomen, Failing(neighbours=neighbours))


def test_the_next_call_is_prepared_while_one_is_computed(abdomen):
    """At most one call waits, however slow the device is."""
    ended, asked, prepared = [], [], threading.Event()

    class Slow(Witness):
        def run(self, hu, spacing_mm):
            prepared.clear()
            if len(asked) == len(ended) + 1:
                prepared.wait(0.2)  # the last call of a search has none after it
            ended.append(len(asked))
            return super().run(hu, spacing_mm)

    class Noted(np.ndarray):
        def __getitem__(self, key):
            asked.append(key)
            prepared.set()
            return np.asarray(self)[key]

    volume = Volume(abdomen.hu.view(Noted), abdomen.geometry)
    segment(volume, Slow())
    ahead = [count - turn for turn, count in enumerate(ended, start=1)]
    assert set(ahead) == {0, 1}


def test_the_agreement_is_that_of_all_slices_together(make_volume):
    hu = np.zeros((4, 4, 4))
    hu[0, :2] = LIVER_HU  # 8 pixels, agreed
    hu[1, :1] = DISPUTED_LIVER_HU  # 4 pixels that one member does not mark
    hu[2, 0] = TUMOUR_HU  # 4 pixels, agreed, liver too
    agreement = segment(make_volume(hu), Witness()).agreement
    assert agreement == pytest.approx({Label.LIVER: 12 / 16, Label.TUMOUR: 1.0})


def test_progress_ends_where_the_work_ends(abdomen):
    told = []
    result = segment(abdomen, Witness(), lambda done, needed: told.append((done, needed)))
    assert told == sorted(told)
    assert told[-1] == (result.slices_computed, result.slices_computed)


def test_every_stage_is_timed(abdomen):
    assert list(segment(abdomen, Witness()).seconds) == ["search", "compute", "clean"]


def test_the_volume_is_not_changed(abdomen):
    before = abdomen.hu.copy()
    segment(abdomen, Witness())
    np.testing.assert_array_equal(abdomen.hu, before)


class Slow(Witness):
    """Its second call ends only some time after the job has failed."""

    def __init__(self):
        super().__init__(batch=1)
        self.begun, self.failing, self.ended = (threading.Event() for _ in range(3))

    def run(self, hu, spacing_mm):
        if self.hu:
            self.begun.set()
            assert self.failing.wait(60)
            sleep(0.3)  # the job would be over by now if it did not wait
            self.ended.set()
        return super().run(hu, spacing_mm)


def test_a_job_that_fails_ends_only_once_the_device_is_idle(abdomen):
    """Whoever handles the error may close the device, or open another one in its memory."""
    device = Slow()

    def fail(done, of):
        assert device.begun.wait(60)
        device.failing.set()
        raise RuntimeError("abandoned")

    with pytest.raises(RuntimeError, match="abandoned"):
        segment(abdomen, device, fail)
    assert device.ended.is_set()
