"""The register of corrections outlives the node."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

import dicom_node.corrections.register
from dicom_node.corrections.correction import WAITS
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


def test_a_note_of_one_that_waits_replaces_nothing_and_is_replaced(tmp_path):
    register = CorrectionRegister(tmp_path / "corrections.sqlite")
    known = correction(uid="1.1")
    waiting = replace(known, uid="1.2", reason=WAITS, dice={})
    register.keep(known)
    register.note([replace(known, reason=WAITS, dice={}), waiting])
    assert register.all() == [known, waiting]
    for uid in ("1.1", "1.2", "1.3"):
        register.end_wait(uid, "its file is gone")
    assert register.all() == [known, replace(waiting, reason="its file is gone")]
    register.keep(replace(waiting, reason=""))
    assert [each.reason for each in register.all()] == ["", ""]


def test_those_that_do_not_count_leave_in_time_and_by_number(tmp_path, monkeypatch):
    monkeypatch.setattr(dicom_node.corrections.register, "MOST_UNCOUNTED", 3)
    register = CorrectionRegister(tmp_path / "corrections.sqlite")
    register.trim(datetime(2026, 11, 1, tzinfo=UTC))
    assert not (tmp_path / "corrections.sqlite").exists()

    def keep(uid, month, **changes):
        at = datetime(2026, month, 1, tzinfo=UTC)
        register.keep(correction(uid=uid, arrived=at, written=f"2026{month:02}01", **changes))

    keep("counts, though old", 1, job="a")
    keep("replaced long ago", 2, job="b")
    keep("replaced it", 3, job="b")
    for month in range(4, 13):
        keep(f"unknown {month}", month, job="", reason="no job", dice={})
    register.trim(datetime(2026, 11, 1, tzinfo=UTC))
    left = [each.uid for each in register.all()]
    assert left == ["counts, though old", "replaced it", "unknown 11", "unknown 12"]
    register.trim(datetime(2026, 1, 1, tzinfo=UTC))
    for month in range(4, 13):
        keep(f"unknown {month}", month, job="", reason="no job", dice={})
    register.trim(datetime(2026, 1, 1, tzinfo=UTC))
    assert [each.uid for each in register.all()][2:] == ["unknown 10", "unknown 11", "unknown 12"]


def test_processes_of_an_older_version_can_read_what_was_not_given_up(tmp_path):
    register = CorrectionRegister(tmp_path / "corrections.sqlite")
    register.keep(correction(uid="1.1"))
    register.keep(correction(uid="1.2"))
    register.give_up("1.2", "stamp", "it failed")
    with register._file.transaction() as store:
        rows = dict(store.execute("SELECT uid, content FROM corrections").fetchall())
    assert "given_up" not in rows["1.1"]
    assert "given_up" in rows["1.2"]
    assert [each.given_up for each in register.all()] == ["", "stamp"]
