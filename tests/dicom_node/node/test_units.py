"""Each setting reaches the part that it configures in that part's own unit, in a running node."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from dicom_node.config.settings import Settings
from dicom_node.jobs.upkeep.retention import Retention
from dicom_node.node import node as node_module
from dicom_node.node import receiving as receiving_module
from dicom_node.node.node import running_node
from tests.dicom_node.node_process import Thresholds
from tests.engine.toy_model import write_toy_model


@dataclass
class Parts:
    """Arguments with which a node made its parts."""

    spool: tuple
    assembler: dict
    limits: dict
    clean_up: tuple
    jobs: dict
    deliverer: object


def recorded(monkeypatch, module, name, seen):
    made = getattr(module, name)

    def make(*arguments, **named):
        seen[name] = (arguments, named)
        return made(*arguments, **named)

    monkeypatch.setattr(module, name, make)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder, seen = tmp_path_factory.mktemp("units"), {}
    settings = Settings(
        node={"data": folder / "data", "port": 0},
        receive={"quiet_s": 7, "resend_s": 40, "keep_free_mb": 3, "max_associations": 5},
        engine={"model": write_toy_model(folder / "model")},
        jobs={
            "first_pause_s": 11,
            "longest_pause_s": 13,
            "give_up_days": 2,
            "keep_hours": 9,
            "keep_failed_days": 21,
            "keep_jobs_days": 33,
            "keep_delivered_days": 44,
            "at_once": 4,
        },
    )
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("Spool", "cleaning_up", "run_jobs"):
            recorded(monkeypatch, node_module, name, seen)
        for name in ("SeriesAssembler", "Limits"):
            recorded(monkeypatch, receiving_module, name, seen)
        with running_node(settings, open_device=lambda model, settings: Thresholds()):
            pass
    return Parts(
        spool=seen["Spool"][0],
        assembler=seen["SeriesAssembler"][1],
        limits=seen["Limits"][1],
        clean_up=seen["cleaning_up"][0],
        jobs=seen["run_jobs"][1],
        deliverer=seen["run_jobs"][0][1],
    )


def test_megabytes_that_stay_free_are_bytes_to_the_spool(parts):
    assert parts.spool[1] == 3 * 1024 * 1024


def test_quiet_and_resend_times_are_seconds_to_the_assembler(parts):
    assert (parts.assembler["quiet_s"], parts.assembler["resend_s"]) == (7, 40)


def test_associations_are_a_count(parts):
    assert parts.limits["associations"] == 5


def test_files_are_kept_for_hours_and_what_failed_for_days(parts):
    days = [timedelta(days=number) for number in (21, 33, 44)]
    assert Retention(timedelta(hours=9), *days) in parts.clean_up


def test_series_at_once_are_a_count(parts):
    assert parts.jobs["at_once"] == 4


def test_pauses_are_seconds_from_the_first_to_the_longest_and_end_after_days(parts):
    pauses = list(parts.deliverer.pauses())
    assert pauses[:3] == [11, 13, 13]
    assert 2 * 86400 <= sum(pauses) < 2 * 86400 + 13
