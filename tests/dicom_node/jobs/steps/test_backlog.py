"""When the faster model segments, and what becomes of a job that it cannot."""

from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from dicom_node.jobs.steps.backlog import Backlog, BacklogRule
from dicom_node.pipeline.segmenter import Segmenter
from dicom_node.selection.rules import Rules
from engine.errors import DeviceFailed
from engine.serving.fleet import Fleet, Opener


def model(name):
    manifest = SimpleNamespace(domain=None, calibration=None, learnt_patients=frozenset())
    return SimpleNamespace(name=name, version="1", digest=name, members=("a",), manifest=manifest)


class Node:
    """A node with a usual and a faster model, where so many series wait."""

    def __init__(self, series=4):
        self.waiting, self.opened = 0, []
        self.usual = Segmenter(model("usual"), Rules(), self.fleet("usual"))
        rule = BacklogRule(series)
        self.backlog = Backlog(rule, model("fast"), self.fleet("fast"), self.count)

    def fleet(self, name):
        def opened():
            self.opened.append(name)
            return SimpleNamespace(name=name)

        return Fleet([Opener("device", opened)])

    def count(self, most):
        return min(self.waiting, most)

    def segmented(self, waiting, *, by_usual=False):
        """Return the algorithm that segments a series while so many others wait."""
        self.waiting = waiting
        return self.backlog.run(self.usual, lambda setup: setup.algorithm, by_usual=by_usual)

    def models(self, *waiting):
        return [self.segmented(each).name for each in waiting]


@pytest.fixture
def node():
    return Node()


@pytest.mark.parametrize(
    ("series", "waiting", "lasts"),
    [
        (4, [4, 5, 4, 3, 2, 3, 4, 5], [False, True, True, True, False, False, False, True]),
        (1, [1, 2, 1, 0, 1], [False, True, True, False, False]),
    ],
)
def test_a_backlog_ends_at_half_of_what_begins_it(series, waiting, lasts):
    rule, before, found = BacklogRule(series), False, []
    for each in waiting:
        before = rule.lasts(each, before)
        found.append(before)
    assert found == lasts


def test_the_faster_model_segments_until_the_backlog_is_gone(node):
    assert node.models(4, 9, 3, 2, 3) == ["usual", "fast", "fast", "usual", "usual"]


def test_a_result_of_the_faster_model_says_why(node):
    node.segmented(5)
    assert node.segmented(3).remark == (
        "Segmented by the faster model fast 1 because 3 series waited."
    )
    assert "because more than 4 series waited" in node.segmented(300).remark
    assert node.segmented(0).remark == ""


def test_the_faster_model_is_open_during_a_backlog_only(node):
    node.models(0, 0)
    assert node.opened == ["usual"]
    node.models(5, 5, 0, 5)
    assert node.opened == ["usual", "fast", "fast"]


def test_urgent_series_have_the_usual_model_and_end_no_backlog(node):
    assert node.segmented(9, by_usual=True).name == "usual"
    assert node.segmented(3).name == "fast"
    assert node.segmented(0, by_usual=True).name == "usual"
    assert node.segmented(3).name == "usual"


def test_a_faster_model_that_fails_leaves_the_series_to_the_usual_one(node, caplog):
    def work(setup):
        if setup.algorithm.name == "fast":
            raise DeviceFailed("out of order")
        return setup.algorithm

    node.waiting = 9
    found = node.backlog.run(node.usual, work, by_usual=False)
    assert (found.name, found.remark) == ("usual", "")
    assert "fast 1 cannot run, so the usual model segments: out of order" in caplog.text


def test_a_store_that_cannot_be_asked_fails_no_job(node, monkeypatch):
    def fails(most):
        raise OperationalError("select", {}, Exception())

    monkeypatch.setattr(node.backlog, "_waiting", fails)
    assert node.segmented(9).name == "usual"


def test_begin_and_end_of_a_backlog_are_logged_once(node, caplog):
    caplog.set_level("INFO")
    node.models(9, 9, 9, 1, 1)
    assert [each.message for each in caplog.records if each.name.endswith("backlog")] == [
        "more than 4 series wait: the backlog begins, model fast 1",
        "1 series wait: the backlog is over, model as usual",
    ]
