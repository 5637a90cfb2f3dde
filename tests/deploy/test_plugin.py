"""The plugin of Orthanc, with an Orthanc of dictionaries in place of the real one."""

import ast
import importlib
import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from dicom_node.jobs.submit.asked_for import ASKED
from hepar_plugin.archive import NOTE, Archive, ArchiveError
from hepar_plugin.handover import Handover
from hepar_plugin.routes import register
from hepar_plugin.rules import Rules
from hepar_plugin.settings import BadConfiguration, Settings, read_settings
from hepar_plugin.study import GONE
from tests.deploy.fake_orthanc import FakeOrthanc, Output

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "orthanc"

STUDY, SERIES = ("-".join([c * 8] * 5) for c in "ab")


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def orthanc():
    orthanc = FakeOrthanc()
    orthanc.add("ct", 40)
    return orthanc


@pytest.fixture
def clock():
    return Clock()


def handover_of(orthanc, clock=None):
    settings = read_settings(orthanc.configuration)
    return Handover(Archive(orthanc), settings, clock or Clock())


@pytest.fixture
def handover(orthanc, clock):
    return handover_of(orthanc, clock)


def test_a_stable_ct_series_goes_to_the_node(orthanc, handover):
    handover.offer("ct")
    assert handover.step() is None
    assert orthanc.sent == [("/modalities/hepar/store", "ct")]


def test_a_series_that_is_stable_again_is_not_sent_again(orthanc, handover):
    for _ in range(3):
        handover.offer("ct")
        handover.step()
    assert len(orthanc.sent) == 1


def test_late_instances_send_the_series_again(orthanc, handover):
    handover.offer("ct")
    handover.step()
    orthanc.series["ct"]["Instances"].append("ct-late")
    handover.offer("ct")
    handover.step()
    assert len(orthanc.sent) == 2


@pytest.mark.parametrize("modality", ["SEG", "SR", "OT", "MR"])
def test_neither_the_button_nor_stability_sends_results_or_other_modalities(
    orthanc, handover, modality
):
    orthanc.add("other", 40, modality=modality)
    handover.offer("other")
    handover.ask("other")
    handover.step()
    assert orthanc.sent == []
    assert handover.waiting() == {}


def test_what_a_person_saved_is_handed_over_where_the_rules_name_it(orthanc):
    orthanc.configuration["Hepar"] = {"Rules": {"Modalities": ["CT", "SEG"], "MinInstances": 5}}
    orthanc.add("saved", 1, modality="SEG")
    handover = handover_of(orthanc)
    handover.offer("saved")
    handover.step()
    assert [series for _, series in orthanc.sent] == ["saved"]


def test_the_button_sends_what_was_sent_and_what_the_rules_leave_out(orthanc, handover):
    orthanc.add("short", 2)
    for series in ("ct", "short"):
        handover.offer(series)
        handover.step()
        handover.ask(series)
        handover.step()
    assert [series for _, series in orthanc.sent] == ["ct", "ct", "short"]


def test_only_the_button_tells_the_node_that_a_person_asks(orthanc, handover):
    for offer in (handover.offer, handover.ask):
        offer("ct")
        handover.step()
    assert [order.get("LocalAet") for order in orthanc.orders] == [None, ASKED]


@pytest.mark.parametrize("key", ["AnonymizedFrom", "ModifiedFrom"])
@pytest.mark.parametrize("level", ["ct", "study"])
def test_a_copy_is_left_to_the_button(orthanc, handover, level, key):
    orthanc.copies.add((level, key))
    handover.offer("ct")
    handover.step()
    assert orthanc.sent == []
    assert handover.waiting() == {}
    handover.ask("ct")
    handover.step()
    assert [series for _, series in orthanc.sent] == ["ct"]


def test_a_result_of_the_node_never_comes_back(orthanc):
    orthanc.configuration["Hepar"] = {"Rules": {"Modalities": ["CT", "SEG"], "MinInstances": 1}}
    orthanc.add("result", 1, modality="SEG")
    orthanc.series["result"]["tags"]["Manufacturer"] = "Hepar"
    handover = handover_of(orthanc)
    handover.offer("result")
    handover.ask("result")
    handover.step()
    assert orthanc.sent == []
    orthanc.series["result"]["tags"]["ManufacturerModelName"] = "Phantom"
    handover.offer("result")
    handover.step()
    assert len(orthanc.sent) == 1


def test_a_node_that_is_away_is_tried_again_with_growing_pauses(orthanc, handover, clock):
    orthanc.away = True
    handover.offer("ct")
    pauses = []
    for _ in range(9):
        pauses.append(handover.step())
        clock.now += pauses[-1]
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert "Network protocol error" in handover.waiting()["ct"].reason
    orthanc.away = False
    assert handover.step() is None
    assert len(orthanc.sent) == 1


def test_a_series_that_orthanc_describes_oddly_does_not_hold_up_the_others(
    orthanc, handover, clock, monkeypatch
):
    said = orthanc.RestApiGet
    odd = {"/series/ct": b'{"Instances": ["ct-0"]}', "/instances/ct-0/simplified-tags": b"\xe9"}
    monkeypatch.setattr(orthanc, "RestApiGet", lambda path: odd.get(path) or said(path))
    orthanc.add("other", 40)
    handover.offer("ct")
    handover.offer("other")
    assert handover.step() == pytest.approx(5)
    assert [series for _, series in orthanc.sent] == ["other"]
    assert handover.waiting()["ct"].reason == "unforeseen UnicodeDecodeError"
    monkeypatch.undo()
    clock.now += 5
    assert handover.step() is None
    assert [series for _, series in orthanc.sent] == ["other", "ct"]


def test_nothing_is_tried_before_it_is_due(orthanc, handover, clock):
    orthanc.away = True
    handover.offer("ct")
    handover.step()
    clock.now += 4
    orthanc.away = False
    assert handover.step() == pytest.approx(1)
    assert orthanc.sent == []


def test_what_waits_outlives_orthanc(orthanc, handover):
    orthanc.away = True
    handover.offer("ct")
    handover.step()
    orthanc.away = False
    assert json.loads(orthanc.properties[NOTE]) == {"ct": False}
    another = handover_of(orthanc)
    another.start()
    for _ in range(500):
        if not another.waiting():
            break
        time.sleep(0.01)
    another.stop()
    assert len(orthanc.sent) == 1
    assert json.loads(orthanc.properties[NOTE]) == {}


def test_an_orthanc_that_cannot_note_what_waits_still_hands_over(orthanc, handover, monkeypatch):
    def full(number, value):
        raise orthanc.OrthancException("Database is full")

    monkeypatch.setattr(orthanc, "SetGlobalProperty", full)
    handover.offer("ct")
    assert handover.step() is None
    assert len(orthanc.sent) == 1
    assert "cannot note what waits: Database is full" in orthanc.log[0]


def test_a_series_deleted_meanwhile_is_forgotten(orthanc, handover, clock):
    orthanc.away = True
    handover.offer("ct")
    clock.now += handover.step()
    del orthanc.series["ct"]
    assert handover.step() is None
    assert handover.waiting() == {}


def test_a_series_offered_while_it_is_sent_is_looked_at_again(orthanc, handover):
    plain = orthanc.RestApiPost

    def post(path, body):
        plain(path, body)
        if len(orthanc.sent) == 1:
            orthanc.series["ct"]["Instances"].append("ct-late")
            handover.offer("ct")

    orthanc.RestApiPost = post
    handover.offer("ct")
    assert handover.step() == 0
    assert handover.step() is None
    assert len(orthanc.sent) == 2


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"min_instances": 41}, "40 instances are fewer than 41"),
        ({"max_instances": 39}, "40 instances are more than 39"),
        ({"include": {"SeriesDescription": "liver"}}, "SeriesDescription 'abdomen' has no 'liver'"),
        ({"exclude": {"SeriesDescription": "abd"}}, "SeriesDescription 'abdomen' has 'abd'"),
        ({"modalities": ("MR",)}, "Modality 'CT' is not MR"),
        ({}, None),
    ],
)
def test_rules_say_why_a_series_stays(orthanc, rules, reason):
    assert Rules(**rules).why_not(Archive(orthanc).tags("ct"), 40) == reason


@pytest.mark.parametrize(
    ("hepar", "complaint"),
    [
        ({"Automtic": True}, "unknown key Hepar.Automtic; known: Modality, Automatic"),
        ({"Rules": {"Modality": "CT"}}, "unknown key Hepar.Rules.Modality; known: Modalities"),
        ({"Rules": {"Include": {"X": "("}}}, "'(' for X is no regular expression"),
        ({"Automatic": "no"}, "Hepar.Automatic is 'no'; true or false would do"),
        ({"FirstPause": "5"}, "Hepar.FirstPause is '5'; a number would do"),
        ({"Rules": []}, "Hepar.Rules is []; a table would do"),
        ({"Rules": {"Modalities": "CT"}}, """Modalities is 'CT'; a list, such as ["CT"], would"""),
        ({"Modality": "heper"}, "'heper' is not in DicomModalities, which has ['hepar']"),
    ],
)
def test_a_wrong_configuration_is_refused_by_name(hepar, complaint):
    with pytest.raises(BadConfiguration, match=re.escape(complaint)):
        read_settings(FakeOrthanc(**hepar).configuration)


def test_every_key_of_the_configuration_is_read():
    orthanc = FakeOrthanc(
        Modality="hepar",
        Automatic=False,
        StateUrl="http://node",
        FirstPause=1,
        LongestPause=2,
        Rules={"Modalities": ["CT"], "MinInstances": 1, "MaxInstances": 2},
    )
    rules = Rules(["CT"], 1, 2)
    assert read_settings(orthanc.configuration) == Settings(
        "hepar", False, "http://node", 1, 2, rules
    )


def call(orthanc, method, path):
    """Call a route as Orthanc does."""
    for pattern, callback in orthanc.routes.items():
        if found := re.fullmatch(pattern, path):
            output = Output()
            callback(output, path, method=method, groups=found.groups())
            return output
    raise LookupError(path)


@pytest.fixture
def routed(orthanc):
    del orthanc.series["ct"]
    orthanc.add(SERIES, 40, study=STUDY)
    handover = handover_of(orthanc)
    register(orthanc, Archive(orthanc), handover, read_settings(orthanc.configuration))
    return orthanc, handover


def test_the_study_s_button_sends_what_the_rules_allow_and_says_the_rest(routed):
    orthanc, handover = routed
    orthanc.add("localizer", 2, study=STUDY)
    orthanc.add("result", 1, modality="SEG", study=STUDY)
    said = call(orthanc, "POST", f"/hepar/studies/{STUDY}/segment").said
    assert said == {SERIES: "sent to the node", "localizer": "2 instances are fewer than 5"}
    assert set(handover.waiting()) == {SERIES}


def test_the_series_button_sends_any_ct(routed):
    orthanc, handover = routed
    assert call(orthanc, "POST", f"/hepar/series/{SERIES}/segment").status == 200
    assert set(handover.waiting()) == {SERIES}


def test_a_series_is_told_from_unsent_to_sent(routed):
    orthanc, handover = routed

    def state():
        said = call(orthanc, "GET", f"/hepar/studies/{STUDY}").said
        return [each["state"] for each in said["series"]]

    assert state() == ["not sent"]
    orthanc.away = True
    handover.offer(SERIES)
    handover.step()
    assert state() == ["waiting for the node"]
    assert list(call(orthanc, "GET", "/hepar").said["waiting"]) == [SERIES]
    orthanc.away = False
    handover.ask(SERIES)
    handover.step()
    assert state() == ["sent"]


def test_the_node_s_own_word_counts_once_the_series_is_there(routed):
    orthanc, handover = routed
    job = {
        "series": orthanc.series[SERIES]["tags"]["SeriesInstanceUID"],
        "state": "failed",
        "reason": "gaps",
        "viewer": None,
        "millilitres": {},
        "review": ["liver smaller than expected"],
    }
    with node_telling([job]) as url:
        orthanc.configuration["Hepar"] = {"StateUrl": url}
        register(orthanc, Archive(orthanc), handover, read_settings(orthanc.configuration))
        said = call(orthanc, "GET", f"/hepar/studies/{STUDY}").said
    assert said["trouble"] == ""
    (series,) = said["series"]
    assert (series["state"], series["reason"]) == ("failed", "gaps")
    assert series["review"] == ["liver smaller than expected"]


def test_a_result_that_was_deleted_is_not_called_done(routed):
    orthanc, handover = routed
    job = {
        "series": orthanc.series[SERIES]["tags"]["SeriesInstanceUID"],
        "state": "done",
        "viewer": "http://viewer",
        "seg": {"series": "1.2.3", "instance": "1.2.3.4"},
    }
    with node_telling([job]) as url:
        orthanc.configuration["Hepar"] = {"StateUrl": url}
        register(orthanc, Archive(orthanc), handover, read_settings(orthanc.configuration))
        (gone,) = call(orthanc, "GET", f"/hepar/studies/{STUDY}").said["series"]
        orthanc.instances.add("1.2.3.4")
        (there,) = call(orthanc, "GET", f"/hepar/studies/{STUDY}").said["series"]
    assert (gone["state"], gone["viewer"]) == (GONE, None)
    assert (there["state"], there["viewer"]) == ("done", "http://viewer")


def test_a_node_that_does_not_answer_is_said_so(routed):
    orthanc, handover = routed
    orthanc.configuration["Hepar"] = {"StateUrl": "http://127.0.0.1:9"}
    register(orthanc, Archive(orthanc), handover, read_settings(orthanc.configuration))
    said = call(orthanc, "GET", f"/hepar/studies/{STUDY}").said
    assert "does not report its state" in said["trouble"]
    assert said["series"][0]["state"] == "not sent"


def test_an_unknown_study_and_a_wrong_method_are_refused(routed):
    orthanc, _ = routed
    assert call(orthanc, "GET", f"/hepar/studies/{SERIES}").status == 404
    refused = call(orthanc, "GET", f"/hepar/studies/{STUDY}/segment")
    assert (refused.status, refused.said) == (405, "POST")


def test_orthanc_loads_the_plugin_and_tells_it_what_happens(orthanc, monkeypatch):
    monkeypatch.setitem(sys.modules, "orthanc", orthanc)
    monkeypatch.delitem(sys.modules, "plugin", raising=False)
    plugin = importlib.import_module("plugin")
    kinds = orthanc.ChangeType
    orthanc.on_change(kinds.STABLE_SERIES, 0, "ct")
    assert set(plugin.handover.waiting()) == {"ct"}
    orthanc.on_change(kinds.ORTHANC_STARTED, 0, "")
    orthanc.on_change(kinds.ORTHANC_STOPPED, 0, "")
    assert "Segment liver" in orthanc.script
    monkeypatch.delitem(sys.modules, "plugin")


def test_the_plugin_needs_nothing_but_the_standard_library():
    paths = list(FOLDER.rglob("*.py"))
    assert paths
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.split(".")[0] for name in names}
            assert roots <= {*sys.stdlib_module_names, "hepar_plugin", "orthanc"}, path


def test_what_orthanc_does_not_have_is_an_error_of_ours(orthanc):
    with pytest.raises(ArchiveError, match="/series/none"):
        Archive(orthanc).instances("none")


class node_telling:  # noqa: N801
    """A node that tells these jobs, while the block lasts; gives its address."""

    def __init__(self, jobs):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(jobs).encode())

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever)

    def __enter__(self):
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
