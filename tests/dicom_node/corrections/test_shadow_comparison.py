"""A shadow model's labels and what people drew are compared, and every pair comes to an end."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from dicom_node.corrections import shadow_comparison
from dicom_node.corrections.kept_labels import Drawing, write_drawing, write_kept_labels
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.corrections.shadow_comparison import compare_shadow
from dicom_node.data_folder import DataFolder
from engine.volume import Label
from tests.dicom_node.corrections.drawn import correction, drawn_on

STACK, DIGEST = "job.labels.npz", "cd" * 32


@pytest.fixture
def data(ct_series, tmp_path):
    """Two corrections of one result, and a shadow's labels of it."""
    data = DataFolder(tmp_path)
    data.results.mkdir()
    kept = drawn_on(ct_series(slices=6, rows=16, columns=16)).kept
    write_kept_labels(data.shadow_labels(STACK, DIGEST), replace(kept, model="shadow 2"))
    for uid in ("1.1", "1.2"):
        drawing = Drawing(kept.label_map, frozenset(Label))
        write_drawing(data.drawing(STACK, uid), drawing)
        CorrectionRegister(data.corrections).keep(correction(uid=uid, job="job", stack=STACK))
    return data


def shadows(data):
    return [
        shadow for each in CorrectionRegister(data.corrections).all() for shadow in each.shadows
    ]


def test_each_is_compared_once(data):
    noted = []

    @contextmanager
    def at_work():
        noted.append(len(shadows(data)))
        yield

    assert [compare_shadow(data, DIGEST, at_work=at_work) for _ in range(2)] == [2, 0]
    assert [(each.model, each.reason) for each in shadows(data)] == [("shadow 2", "")] * 2
    assert all(each.dice["liver"] == 1 for each in shadows(data))
    assert noted == [0, 1]


def test_one_that_fails_states_why_without_the_words_and_is_not_tried_again(data, monkeypatch):
    def fail(*_):
        raise KeyError("Doe^Jane")

    monkeypatch.setattr(shadow_comparison, "dice_of", fail)
    assert [compare_shadow(data, DIGEST) for _ in range(2)] == [2, 0]
    for each in shadows(data):
        assert each.dice == {}
        assert each.reason.startswith("unforeseen KeyError at ")
        assert "Doe" not in each.reason


def test_a_full_disk_ends_no_comparison(data, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(shadow_comparison, "dice_of", fail)
        with pytest.raises(OSError, match="No space"):
            compare_shadow(data, DIGEST)
    assert compare_shadow(data, DIGEST) == 2
