"""The register of corrections outlives the node."""

from datetime import UTC, datetime

import pytest

from dicom_node.corrections.register import CorrectionRegister
from dicom_node.errors import StoreUnusable
from tests.dicom_node.corrections.drawn import correction


def test_what_was_kept_is_read_the_oldest_first(tmp_path):
    register = CorrectionRegister(tmp_path / "corrections.sqlite")
    assert register.all() == []
    late = correction(arrived=datetime(2026, 12, 1, tzinfo=UTC))
    early = correction(arrived=datetime(2026, 10, 1, tzinfo=UTC), reason="no", dice={})
    for each in (late, early, late):
        register.keep(each)
    again = CorrectionRegister(tmp_path / "corrections.sqlite")
    assert again.all() == [early, late]
    assert again.of(late.job) == [late]
    assert again.of("other") == []


def test_a_file_that_is_no_register_is_named(tmp_path):
    path = tmp_path / "corrections.sqlite"
    path.write_bytes(b"nothing of a database" * 100)
    with pytest.raises(StoreUnusable, match=r"corrections\.sqlite cannot be used"):
        CorrectionRegister(path).all()
