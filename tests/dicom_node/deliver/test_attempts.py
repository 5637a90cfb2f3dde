"""Repeats of sending and confirming, and giving up, on a fake clock."""

from itertools import repeat

import pytest

from dicom_node.deliver.attempts import (
    CREDENTIAL_TRIES,
    LONGEST_WAIT_S,
    MAX_COPIES,
    SEARCH_S,
    ConfirmAnswer,
    Missing,
    SendAnswer,
    Steps,
    deliver,
)
from dicom_node.errors import CredentialsRefused, NotFindable, PeerUnavailable
from dicom_node.jobs.backoff import Backoff

SENT = SendAnswer(seconds=0.1)
AWAY = SendAnswer(refused="away")
BUSY = SendAnswer(refused="503", wait_s=60)
CHANGED = SendAnswer(changed="0xB000")
UNAUTHORISED = SendAnswer(refused="401", credentials=True)
KEPT = ConfirmAnswer(by="C-FIND")
SILENT = ConfirmAnswer(refused="no report")
ABSENT = ConfirmAnswer(refused="a search does not show it", missing=Missing.NOT_FOUND)
DENIED = ConfirmAnswer(refused="no such object", missing=Missing.DENIED)


class Scripted:
    """A peer that answers as scripted, and the clock: each call is noted with its time."""

    def __init__(self, sends, confirms, backoff=Backoff()):  # noqa: B008
        self.now, self.calls = 0.0, []
        self.answers = {"send": iter(sends), "confirm": iter(confirms)}
        self.steps = Steps(
            send=lambda: self.answer("send"),
            confirm=lambda: self.answer("confirm"),
            pauses=backoff.pauses,
            sleep=self.sleep,
        )

    def answer(self, step):
        self.calls.append((step, self.now))
        return next(self.answers[step])

    def sleep(self, seconds):
        self.now += seconds

    def times(self, step):
        return [at for name, at in self.calls if name == step]


def test_what_is_sent_and_confirmed_is_delivered_at_once():
    peer = Scripted([SENT], [KEPT])
    done = deliver("archive", peer.steps)
    assert (done.attempts, done.seconds, done.confirmed) == (1, 0.1, "C-FIND")
    assert peer.now == 0


def test_a_peer_that_is_away_is_tried_again_after_each_pause():
    peer = Scripted([AWAY, AWAY, AWAY, SENT], [KEPT])
    assert deliver("archive", peer.steps).attempts == 4
    assert peer.times("send") == [0, 5, 15, 35]


def test_retry_after_is_waited_for_where_it_is_longer_than_the_pause():
    peer = Scripted([BUSY, BUSY, SENT], [KEPT])
    deliver("archive", peer.steps)
    assert peer.times("send") == [0, 60, 120]


def test_no_retry_after_holds_a_result_back_for_years():
    peer = Scripted([SendAnswer(refused="503", wait_s=1e9), SENT], [KEPT])
    deliver("archive", peer.steps)
    assert peer.now == LONGEST_WAIT_S


def test_a_lost_confirmation_is_asked_for_again_and_nothing_is_sent_again():
    peer = Scripted([SENT], [SILENT, SILENT, KEPT])
    assert deliver("archive", peer.steps).attempts == 3
    assert peer.times("send") == [0]
    assert peer.times("confirm") == [0, 5, 15]


def test_an_archive_that_indexes_late_gets_one_copy():
    peer = Scripted([SENT], [ABSENT] * 5 + [KEPT])
    deliver("archive", peer.steps)
    assert peer.times("send") == [0]
    assert peer.now == 155


def test_a_second_copy_is_sent_once_a_search_failed_for_the_stated_time():
    peer = Scripted([SENT, SENT], [ABSENT] * 8 + [KEPT])
    deliver("archive", peer.steps)
    first, second = peer.times("send")
    assert second - first >= SEARCH_S
    assert len(peer.times("confirm")) == 9


@pytest.mark.parametrize(
    ("pause", "confirms", "copy_at"),
    [
        (SEARCH_S, [ABSENT, ABSENT], SEARCH_S),
        (SEARCH_S - 0.5, [ABSENT] * 3, 2 * (SEARCH_S - 0.5)),
        (SEARCH_S, [SILENT, ABSENT, ABSENT], 2 * SEARCH_S),
        (SEARCH_S - 0.5, [SILENT, ABSENT, ABSENT, ABSENT], 3 * (SEARCH_S - 0.5)),
    ],
)
def test_only_the_time_in_which_searches_failed_counts_and_counts_exactly(pause, confirms, copy_at):
    peer = Scripted([SENT, SENT], [*confirms, KEPT], Backoff(pause, pause))
    deliver("archive", peer.steps)
    assert peer.times("send") == [0, copy_at]


def test_the_last_copy_that_is_denied_ends_the_delivery_without_a_pause():
    peer = Scripted(repeat(SENT), repeat(DENIED))
    with pytest.raises(NotFindable, match=r"no such object; see the peer's log$"):
        deliver("archive", peer.steps)
    assert peer.now == (MAX_COPIES - 1) * 5


def test_silence_is_not_taken_for_a_search_that_shows_nothing():
    peer = Scripted([SENT], [SILENT] * 50 + [KEPT])
    deliver("archive", peer.steps)
    assert len(peer.times("send")) == 1


def test_an_object_that_the_peer_denies_is_sent_again_after_a_pause():
    peer = Scripted([SENT, SENT], [DENIED, KEPT])
    deliver("archive", peer.steps)
    assert peer.times("send") == [0, 5]


@pytest.mark.parametrize("answer", [ABSENT, DENIED])
def test_copies_are_bounded_and_the_end_is_named(answer):
    peer = Scripted(repeat(SENT), repeat(answer))
    with pytest.raises(NotFindable, match=rf"accepted {MAX_COPIES} copies, and none can be found"):
        deliver("archive", peer.steps)
    assert len(peer.times("send")) == MAX_COPIES


@pytest.mark.parametrize("answer", [ABSENT, DENIED])
def test_a_peer_that_changes_what_it_stores_gets_one_copy(answer):
    peer = Scripted([CHANGED], repeat(answer))
    named = r"changed the object when it accepted it \(0xB000\), and .*; .* confirm to \"none\"$"
    with pytest.raises(NotFindable, match=named):
        deliver("archive", peer.steps)
    assert peer.now >= SEARCH_S


def test_a_changed_object_that_is_found_is_delivered():
    assert deliver("archive", Scripted([CHANGED], [ABSENT, KEPT]).steps).confirmed == "C-FIND"


def test_credentials_are_tried_a_few_times_and_the_end_names_them():
    peer = Scripted(repeat(UNAUTHORISED), [])
    with pytest.raises(CredentialsRefused, match=r"^credentials: 401; .*--failed --peer pacs"):
        deliver("pacs", peer.steps)
    assert len(peer.times("send")) == CREDENTIAL_TRIES


def test_a_token_that_expired_once_costs_one_pause():
    peer = Scripted([UNAUTHORISED, SENT], [KEPT])
    deliver("archive", peer.steps)
    assert peer.now == 5


def test_a_search_that_refuses_the_credentials_ends_too():
    refused = ConfirmAnswer(refused="403", credentials=True)
    peer = Scripted([SENT], repeat(refused))
    with pytest.raises(CredentialsRefused, match="credentials: 403"):
        deliver("archive", peer.steps)


@pytest.mark.parametrize(("sends", "confirms"), [([AWAY] * 99, []), ([SENT], [SILENT] * 99)])
def test_patience_ends_with_the_last_reason(sends, confirms):
    peer = Scripted(sends, confirms, Backoff(1, 10, 100))
    with pytest.raises(PeerUnavailable, match=r"gave up on archive: (away|no report)"):
        deliver("archive", peer.steps)
    assert 100 <= peer.now < 111


def test_answers_survive_the_store_and_keys_of_other_versions_are_ignored():
    for answer in (BUSY, CHANGED, DENIED, KEPT):
        stored = {**answer.to_json(), "lost": True}
        assert type(answer).from_json(stored) == answer


def test_an_answer_of_hepar_0_1_that_the_object_is_lost_is_a_denial():
    old = {"refused": "no such object", "wait_s": 0.0, "credentials": False}
    assert ConfirmAnswer.from_json({**old, "lost": True}) == DENIED
    assert ConfirmAnswer.from_json({**old, "lost": False}).missing == Missing.NO
