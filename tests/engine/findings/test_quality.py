import numpy as np
import pytest

from engine.findings import quality as quality_module
from engine.findings.measure import measure
from engine.findings.quality import (
    AGREEMENT,
    DROPPED_PART,
    Concern,
    Statement,
    check_quality,
)
from engine.manifest import Calibration
from engine.segmentation.segment import Segmentation
from engine.volume import Geometry, Label, LabelMap, Volume


def made(
    side_mm=10.0, agreement=(0.9, 0.5), dropped_ml=0.0, slices=slice(2, 8), tumour=True, **rest
):
    """A liver of 216 voxels, each `side_mm` wide, in the chosen slices of ten."""
    labels = np.zeros((10, 12, 12), np.uint8)
    labels[slices, 3:9, 3:9] = Label.LIVER
    if tumour:
        labels[4, 4, 4] = Label.TUMOUR
    label_map = LabelMap(labels, Geometry(labels.shape, np.diag([side_mm] * 3 + [1.0]), "1.2"))
    shared = dict(zip((Label.LIVER, Label.TUMOUR), agreement, strict=True))
    return Segmentation(label_map, shared, {}, 10, dropped_ml, **rest)


def measured(result):
    volume = Volume(np.zeros(result.label_map.labels.shape, np.int16), result.label_map.geometry)
    return measure(volume, result.label_map)


def concerns(result, calibration=None):
    return check_quality(result, measured(result), calibration=calibration)


def test_an_ordinary_liver_is_plausible():
    quality = concerns(made(side_mm=19))  # 1.5 l
    assert quality.concerns == ()
    assert quality.statement is Statement.PLAUSIBLE


@pytest.mark.parametrize(
    ("changes", "concern"),
    [
        ({"side_mm": 13}, Concern.SMALL),  # 0.47 l
        ({"side_mm": 27}, Concern.LARGE),  # 4.3 l
        ({"slices": slice(0, 6)}, Concern.FIRST_SLICE),
        ({"slices": slice(4, 10)}, Concern.LAST_SLICE),
        ({"dropped_ml": 200}, Concern.PIECES),
        ({"agreement": (0.7, 0.5)}, Concern.LIVER_DISPUTED),
        ({"agreement": (0.9, 0.1)}, Concern.TUMOUR_DISPUTED),
        ({"shift_hu": 71}, Concern.LEVEL),
    ],
)
def test_each_concern_asks_for_a_review(changes, concern):
    quality = concerns(made(**{"side_mm": 19, **changes}))
    assert quality.concerns == (concern,)
    assert quality.statement is Statement.REVIEW


@pytest.mark.parametrize("slices", [slice(1, 7), slice(3, 9)])
def test_a_liver_that_ends_one_slice_before_the_end_is_whole(slices):
    assert concerns(made(side_mm=19, slices=slices)).concerns == ()


def test_members_need_not_agree_on_tumours_where_none_is_left():
    assert concerns(made(side_mm=19, agreement=(0.9, 0.0), tumour=False)).concerns == ()


@pytest.mark.parametrize(
    ("agreement", "found"),
    [
        ((0.9, 0.9), {Concern.LIVER_DISPUTED}),
        ((0.93, 0.39), {Concern.TUMOUR_DISPUTED}),
        ((0.93, 0.41), set()),
    ],
)
def test_a_model_states_how_much_its_members_agree_on_sound_results(agreement, found):
    bounds = Calibration.model_validate(
        {
            "liver_agreement": {"least": 0.92, "part": 0.25, "patients": 18},
            "tumour_agreement": {"least": 0.4, "part": 0.25, "patients": 18},
        }
    )
    assert set(concerns(made(side_mm=19, agreement=agreement), bounds).concerns) == found


def test_no_model_allows_less_agreement_than_any_may_have():
    low = Calibration.model_validate(
        {"liver_agreement": {"least": 0.1, "part": 0.25, "patients": 18}}
    )
    assert concerns(made(side_mm=19, agreement=(0.7, 0.5)), low).concerns == (
        Concern.LIVER_DISPUTED,
    )


def test_concerns_come_in_one_order():
    quality = concerns(made(side_mm=13, agreement=(0.1, 0.1), slices=slice(4, 10)))
    assert quality.concerns == (
        Concern.SMALL,
        Concern.LAST_SLICE,
        Concern.LIVER_DISPUTED,
        Concern.TUMOUR_DISPUTED,
    )


def test_what_is_just_at_a_bound_is_plausible(monkeypatch):
    liver_ml = measured(made(side_mm=19)).liver_ml
    monkeypatch.setattr(quality_module, "LIVER_ML", (liver_ml, liver_ml))
    at_bounds = {"agreement": AGREEMENT.values(), "dropped_ml": DROPPED_PART * liver_ml}
    assert concerns(made(side_mm=19, **at_bounds)).concerns == ()
