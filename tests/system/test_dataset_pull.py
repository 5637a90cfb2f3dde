"""Corrections by people are pulled from a real archive, and nothing else is."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dicom_node.results.phantom import to_instances
from engine.phantom import Phantom
from tests.system.servers import Orthanc, run_hepar, storescu
from tests.trainer.datasets.sample_data import drawn_seg, small_phantom
from trainer.datasets.layouts.read_all import read_cases

AUTHORS = {"corrected": ("HEPAR", "MANUAL"), "by hepar": ("HEPAR",), "by another": ("AUTOMATIC",)}
"""Series to the SEGs that lie in the archive beside it."""


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return small_phantom()


@pytest.fixture(scope="module")
def archive(phantom: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An archive with three series, on one of which a person corrected what Hepar had drawn."""
    folder = tmp_path_factory.mktemp("archive")
    files = []
    for name, authors in AUTHORS.items():
        instances = list(to_instances(phantom, name))
        for each in [*instances, *(drawn_seg(phantom, instances, author) for author in authors)]:
            files.append(folder / f"{each.SOPInstanceUID}.dcm")
            each.save_as(files[-1], enforce_file_format=True)
    with Orthanc(folder / "orthanc") as orthanc:
        storescu(orthanc.dicom_port, files, "-R", called="ORTHANC")
        yield orthanc


def pull(archive: Orthanc, folder: Path, *options: str) -> str:
    return run_hepar("dataset", "pull", archive.dicomweb, "--output", folder, *options)


def test_what_a_person_corrected_comes_and_is_learnt_from(archive, phantom, tmp_path):
    said = pull(archive, tmp_path, "--corrections", "--since", "2000-01-01")
    assert "1 series with what persons drew" in said
    (case,) = read_cases(tmp_path)
    assert np.array_equal(case.volume.hu, phantom.volume.hu)
    assert np.array_equal(case.target, phantom.truth.labels)


def test_a_pull_goes_on_where_it_was(archive, tmp_path):
    pull(archive, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.dcm")}
    assert len(before) == 9  # 8 slices, 1 SEG
    lost = next(iter(before))
    lost.unlink()
    pull(archive, tmp_path)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.dcm")}
    assert set(after) == set(before)
    assert [path for path in after if after[path] != before[path]] == [lost]


def test_a_study_that_is_not_there_gives_nothing(archive, tmp_path):
    assert "0 series" in pull(archive, tmp_path, "--study", "1.2.3")
    assert list(tmp_path.iterdir()) == []
