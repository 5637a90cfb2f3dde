import math

import pytest

from dicom_node.choice.contrast_phase import FoundPhase, Phase, named_phase, phase_at, timed_phase

NAMES = {
    Phase.PORTAL: [
        *("Abdomen portal venous 1.0", "ABD_PV_5MM", "Leber venös", "Abd portalvenös 3.0 B30f"),
        *("PVP 2.5mm", "foie veineux", "fegato fase venosa", "VEN ABDOMEN", "portaal veneus"),
        *("Abdomen 70s", "Abd delay 75 sec", "Portale Phase"),
    ],
    Phase.ARTERIAL: [
        *("Late Arterial 1.0", "ABD ART", "Leber arteriell", "spätarterielle Phase 3.0"),
        *("foie arteriel", "CTA abdomen", "HAP 2.5", "Abdomen 35s"),
    ],
    Phase.DELAYED: [
        *("Spätphase", "Abdomen late", "delayed 5 min", "temps tardif", "equilibrium", "Abd 180s"),
        *("fase tardiva", "Abdomen 3min"),
    ],
    Phase.NATIVE: [
        *("Abdomen nativ", "W/O CONTRAST", "ABD non-contrast", "Abdomen ohne KM", "unenhanced 5.0"),
        *("sans injection", "PRE ABD", "NATIVE", "sin contraste"),
    ],
    Phase.UNKNOWN: [
        *("", "Abdomen 1.0 B30f", "Thorax", "art and ven", "ventral hernia", "party", "slices 64"),
        *("native and portal", "Adventskranz", "2.5s", "Penelope"),
    ],
}


@pytest.mark.parametrize(
    ("name", "phase"), [(name, phase) for phase, names in NAMES.items() for name in names]
)
def test_a_name_states_the_phase_in_many_languages(name, phase):
    assert named_phase(name).phase is phase


@pytest.mark.parametrize(
    ("seconds", "phase"),
    [
        *((0, Phase.NATIVE), (9, Phase.NATIVE), (10, Phase.ARTERIAL), (35, Phase.ARTERIAL)),
        *((49, Phase.ARTERIAL), (50, Phase.PORTAL), (75, Phase.PORTAL), (109, Phase.PORTAL)),
        *((110, Phase.DELAYED), (300, Phase.DELAYED), (1800, Phase.DELAYED)),
        (1801, Phase.UNKNOWN),
    ],
)
def test_the_time_after_the_injection_is_a_phase(seconds, phase):
    assert phase_at(seconds) is phase


def test_two_times_of_day_are_a_phase():
    assert timed_phase(36000.0, 36072.4) == FoundPhase(Phase.PORTAL, "72 s after the injection")


def test_an_injection_before_midnight_counts():
    assert timed_phase(86390.0, 60.0).by == "70 s after the injection"


def test_a_scan_before_the_injection_is_without_contrast():
    found = FoundPhase(Phase.NATIVE, "300 s before the injection")
    assert timed_phase(36000.0, 35700.0) == found


@pytest.mark.parametrize("times", [(math.nan, 1.0), (1.0, math.nan), (0.0, 20000.0)])
def test_a_time_that_cannot_be_is_none(times):
    assert timed_phase(*times) == FoundPhase()


def test_a_phase_states_what_it_was_found_by():
    assert str(named_phase("venous 1.0")) == "portal venous (by its name)"
    assert str(named_phase("Abdomen 70s")) == "portal venous (70 s by its name)"
    assert str(FoundPhase()) == "unknown"
