from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_node.results.seg import encode
from tests.dicom_node.results.test_seg import draw, write


@pytest.fixture
def sources(ct_series) -> list[Dataset]:
    return ct_series(slices=9)


@pytest.fixture
def seg_file(sources, tmp_path) -> Path:
    """A SEG on disk, as a job delivers it."""
    path = tmp_path / "result.dcm"
    path.write_bytes(encode(write(draw(sources), sources)))
    return path
