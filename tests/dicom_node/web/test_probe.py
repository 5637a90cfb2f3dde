"""A health check that hangs is named, and keeps nobody waiting."""

from threading import Event

from dicom_node.web.probe import Finding, Probe, findings

GOOD = Finding("disk", True, "enough")
PATIENCE_S = 60.0


def test_a_check_that_hangs_is_named_and_the_others_answer(monkeypatch):
    monkeypatch.setattr("dicom_node.web.probe.FRESH_S", PATIENCE_S)
    released, begun = Event(), []

    def hangs():
        begun.append(1)
        released.wait(PATIENCE_S)
        return Finding("store", True, "can be written")

    probes = [Probe("store", hangs), Probe("disk", lambda: GOOD)]
    for _ in range(3):
        stuck = findings(probes[:1], 0.01)
        assert [each.ok for each in stuck] == [False]
        assert "no result within 0.01 s" in stuck[0].detail
    assert findings(probes[1:], PATIENCE_S) == [GOOD]
    released.set()
    assert [each.ok for each in findings(probes, PATIENCE_S)] == [True, True]
    assert len(begun) == 1  # none was started beside the one that hung


def test_a_fresh_finding_is_used_again_and_an_old_one_is_not(monkeypatch):
    begun = []
    probe = Probe("disk", lambda: begun.append(1) or GOOD)
    monkeypatch.setattr("dicom_node.web.probe.FRESH_S", PATIENCE_S)
    findings([probe], PATIENCE_S)
    findings([probe], PATIENCE_S)
    assert len(begun) == 1
    monkeypatch.setattr("dicom_node.web.probe.FRESH_S", -1.0)
    findings([probe], PATIENCE_S)
    assert len(begun) == 2


def test_an_unforeseen_error_is_a_finding_without_its_words():
    def broken():
        raise KeyError("Doe^Jane")

    (found,) = findings([Probe("device", broken)], PATIENCE_S)
    assert (found.check, found.ok) == ("device", False)
    assert "KeyError" in found.detail
    assert "Doe" not in found.detail
