"""Series in an archive are found and fetched, by every protocol."""

import time
from dataclasses import replace
from datetime import date

import pytest
from pydicom import dcmread

from dicom_node.deliver.folder import FolderPeer
from dicom_node.errors import BadConfiguration, PeerRefused, PeerUnavailable
from dicom_node.receive.header import SeriesKey
from dicom_node.retrieve.query import StudyQuery, to_date
from dicom_node.retrieve.source import count_instances, find, to_source
from tests.conftest import make_ct_series
from tests.dicom_node.retrieve import archives
from tests.dicom_node.retrieve.archives import DicomArchive, WebArchive

TODAY = date(2026, 3, 1)


@pytest.fixture
def old_and_new():
    """Two series of two studies, of January and of February."""
    old, new = make_ct_series(slices=3), make_ct_series(slices=2)
    for instance in new:
        instance.StudyDate = "20260203"
    return old, new


@pytest.fixture(params=[DicomArchive, WebArchive])
def archive(request, old_and_new):
    """An archive that holds both."""
    archive = request.param([*old_and_new[0], *old_and_new[1]])
    yield archive
    archive.stop()


@pytest.fixture
def source(archive):
    return to_source(archive.peer)


def series_in(source, **wanted):
    return [each.series_uid for each in find(source, StudyQuery(**wanted))]


def test_a_study_is_found_by_its_uid(source, old_and_new):
    old, _ = old_and_new
    (found,) = find(source, StudyQuery(study_uid=old[0].StudyInstanceUID))
    assert found.series_uid == old[0].SeriesInstanceUID
    assert (found.instances, found.header.Modality) == (3, "CT")


def test_the_instances_of_one_series_are_counted(source, old_and_new):
    for series in old_and_new:
        key = SeriesKey(series[0].StudyInstanceUID, series[0].SeriesInstanceUID)
        assert count_instances(source, key) == len(series)
    assert count_instances(source, SeriesKey(key.study_uid, "1.2.3")) is None


def test_a_backlog_begins_on_a_day(source, old_and_new):
    _, new = old_and_new
    assert series_in(source, since=date(2026, 2, 3)) == [new[0].SeriesInstanceUID]
    assert len(series_in(source, since=date(2026, 1, 1), modality="CT")) == 2
    assert series_in(source, since=date(2026, 2, 4)) == []


def test_a_series_is_fetched_whole(source, old_and_new, tmp_path):
    old, _ = old_and_new
    counted = []
    (found,) = find(source, StudyQuery(study_uid=old[0].StudyInstanceUID))
    source.fetch(found, tmp_path, counted.append)
    fetched = {path.stem: dcmread(path) for path in tmp_path.rglob("*.dcm")}
    assert counted == [1, 2, 3]
    assert set(fetched) == {instance.SOPInstanceUID for instance in old}
    for instance in old:
        assert fetched[instance.SOPInstanceUID].PixelData == instance.PixelData


def test_a_search_ends_where_the_server_gives_the_same_page_for_ever(old_and_new):
    archive = WebArchive([*old_and_new[0], *old_and_new[1]])
    archive.pages = False
    try:
        assert len(find(to_source(archive.peer), StudyQuery(since=date(2026, 1, 1)))) == 2
    finally:
        archive.stop()


def test_dicomweb_is_asked_for_the_encoding_that_is_there(old_and_new, tmp_path):
    archive = WebArchive(old_and_new[0])
    try:
        source = to_source(archive.peer)
        source.fetch(find(source, StudyQuery(since=date(2026, 1, 1)))[0], tmp_path, print)
    finally:
        archive.stop()
    assert "transfer-syntax=*" in archive.accepted[0]


def test_an_archive_that_sends_less_than_it_announced_is_noticed(source, archive, tmp_path):
    found = find(source, StudyQuery(since=date(2026, 1, 1)))[0]
    if isinstance(archive, DicomArchive):
        del archive.instances[1].StudyInstanceUID  # so that it is refused here
    else:
        del archive.instances[0]
    with pytest.raises(PeerUnavailable, match=r"not send 1 instances|sent 2 of 3 instances"):
        source.fetch(found, tmp_path, print)


def test_studies_that_nobody_asked_for_are_left_out(source, archive, old_and_new, monkeypatch):
    """Some archives ignore a matching key, and return everything."""
    old, new = old_and_new
    matches = archives.matches

    def ignore(instance, keyword, value):
        return keyword in ("StudyInstanceUID", "StudyDate") or matches(instance, keyword, value)

    monkeypatch.setattr(archives, "matches", ignore)
    for wanted in ({"study_uid": new[0].StudyInstanceUID}, {"since": date(2026, 2, 3)}):
        assert series_in(source, **wanted) == [new[0].SeriesInstanceUID]
    assert old[0].StudyInstanceUID != new[0].StudyInstanceUID


def test_instances_of_another_series_are_refused(source, archive, old_and_new, tmp_path):
    (found,) = find(source, StudyQuery(study_uid=old_and_new[0][0].StudyInstanceUID))
    archive.mixes_up = True
    with pytest.raises(PeerRefused, match=f"another series than {found.series_uid}"):
        source.fetch(found, tmp_path, print)


def test_matches_without_uids_are_left_out(source, archive, old_and_new):
    odd = make_ct_series(slices=1)
    del odd[0].StudyInstanceUID
    archive.instances.extend(odd)
    assert len(series_in(source, since=date(2026, 1, 1))) == 2


@pytest.mark.parametrize("body", [b"null", b"[7]", b'[{"0020000D": 1}]', b"<html/>"])
def test_a_search_that_is_answered_with_no_dicom_json_is_unavailable(
    old_and_new, monkeypatch, body
):
    archive = WebArchive(old_and_new[0])
    try:
        monkeypatch.setattr(archive, "garbage", body)
        with pytest.raises(PeerUnavailable, match="gave no answer that can be read"):
            find(to_source(archive.peer), StudyQuery(since=date(2026, 1, 1)))
    finally:
        archive.stop()


def test_an_archive_without_c_get_is_told_apart(old_and_new, tmp_path):
    archive = DicomArchive(old_and_new[0], models=("find",))
    try:
        source = to_source(archive.peer)
        (found,) = find(source, StudyQuery(since=date(2026, 1, 1)))
        with pytest.raises(PeerRefused, match="does not offer C-GET; `hepar pull` works without"):
            source.fetch(found, tmp_path, print)
    finally:
        archive.stop()


@pytest.mark.timeout(300)
def test_an_archive_may_take_its_time_to_bring_a_series(old_and_new, tmp_path, monkeypatch):
    archive, told = DicomArchive(old_and_new[0]), []
    send = archive.send

    def send_late(event):
        time.sleep(2)
        yield from send(event)

    monkeypatch.setattr(archive, "send", send_late)
    try:
        source = to_source(replace(archive.peer, answer_s=1))
        (found,) = find(source, StudyQuery(since=date(2026, 1, 1)))
        source.fetch(found, tmp_path, told.append)
    finally:
        archive.stop()
    assert told[-1] == found.instances


def test_a_destination_that_the_archive_does_not_know_is_named(old_and_new):
    archive = DicomArchive(old_and_new[0])
    try:
        source = to_source(archive.peer)
        (found,) = find(source, StudyQuery(since=date(2026, 1, 1)))
        with pytest.raises(PeerRefused, match="does not know NOBODY as a destination; register"):
            source.move(found, "NOBODY", print)
    finally:
        archive.stop()


def test_a_folder_is_no_archive(tmp_path):
    with pytest.raises(BadConfiguration, match="shelf is a folder; name an archive"):
        to_source(FolderPeer("shelf", tmp_path))


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("today", date(2026, 3, 1)),
        ("yesterday", date(2026, 2, 28)),
        ("7d", date(2026, 2, 22)),
        ("2025-12-31", date(2025, 12, 31)),
    ],
)
def test_a_day_is_named_in_a_few_ways(text, day):
    assert to_date(text, TODAY) == day


@pytest.mark.parametrize("text", ["tomorrow", "7 days", "31.12.2025", ""])
def test_no_other_day_is_guessed(text):
    with pytest.raises(BadConfiguration, match="is not a day; allowed: today, yesterday, 7d"):
        to_date(text, TODAY)
