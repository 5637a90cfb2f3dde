"""Labels that outlive the files of a result."""

import numpy as np
import pytest

from dicom_node.corrections.kept_labels import KeptLabels, read_kept_labels, write_kept_labels
from dicom_node.errors import UnreadableDrawing
from engine.volume import Geometry, LabelMap
from tests.dicom_node.corrections.drawn import SCANNER

GRID = Geometry((4, 5, 6), np.diag([2.5, 0.7, 0.7, 1.0]), "1.2.3", (0.0, 1.0, 2.0, 4.0))


@pytest.mark.parametrize(("empty", "learnt"), [(True, False), (False, True)])
def test_what_was_written_is_read(empty, learnt, tmp_path):
    labels = np.zeros(GRID.shape, np.uint8)
    if not empty:
        labels[1:3, 2, 0:5] = 1
        labels[3, 4, 5] = 2
    label_map = LabelMap(labels, GRID)
    write_kept_labels(
        tmp_path / "kept", KeptLabels(label_map, SCANNER, "toy 1", "ab", learnt=learnt)
    )
    kept = read_kept_labels(tmp_path / "kept")
    assert np.array_equal(kept.label_map.labels, labels)
    assert kept.label_map.geometry.matches(GRID)
    assert kept.label_map.geometry.slice_places == GRID.slice_places
    assert (kept.scanner, kept.model, kept.digest) == (SCANNER, "toy 1", "ab")
    assert kept.learnt is learnt


def test_a_file_of_an_older_version_counts_as_a_patient_not_learnt_from(tmp_path):
    label_map = LabelMap(np.ones(GRID.shape, np.uint8), GRID)
    write_kept_labels(tmp_path / "kept", KeptLabels(label_map, SCANNER, "toy 1", "ab", learnt=True))
    with np.load(tmp_path / "kept") as stored:
        older = {name: stored[name] for name in stored if name != "learnt"}
    with (tmp_path / "kept").open("wb") as file:
        np.savez_compressed(file, **older)
    assert not read_kept_labels(tmp_path / "kept").learnt


def test_a_file_that_breaks_off_is_named(tmp_path):
    kept = KeptLabels(LabelMap(np.ones(GRID.shape, np.uint8), GRID), SCANNER, "toy 1", "ab")
    write_kept_labels(tmp_path / "kept", kept)
    whole = (tmp_path / "kept").read_bytes()
    (tmp_path / "kept").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableDrawing, match="kept is damaged"):
        read_kept_labels(tmp_path / "kept")
