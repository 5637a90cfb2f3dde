import pytest

from dicom_node.choice.candidate import Candidate, ranked, why_preferred
from dicom_node.choice.contrast_phase import FoundPhase, Phase
from dicom_node.choice.kernel import Sharpness

PREFER = ("phase", "kernel", "thickness")
NAMED = {phase: FoundPhase(phase, "by its name") for phase in Phase}


def jobs(candidates, prefer=PREFER):
    return [each.job for each in ranked(candidates, prefer)]


def test_the_portal_phase_goes_first_and_the_native_scan_last():
    candidates = [Candidate(str(phase), phase=NAMED[phase]) for phase in reversed(Phase)]
    assert jobs(candidates) == [
        "portal venous",
        "unknown",
        "delayed",
        "arterial",
        "without contrast",
    ]


def test_a_soft_kernel_outweighs_thin_slices_unless_told_otherwise():
    thin = Candidate("thin", kernel=Sharpness.SHARP, thickness_mm=1)
    soft = Candidate("soft", kernel=Sharpness.SOFT, thickness_mm=5)
    assert jobs([thin, soft]) == ["soft", "thin"]
    assert jobs([soft, thin], ("thickness", "kernel")) == ["thin", "soft"]


def test_thin_slices_go_before_thick_and_unknown_ones():
    candidates = [Candidate(str(mm), thickness_mm=mm) for mm in (None, 5, 0.75)]
    assert jobs(candidates) == ["0.75", "5", "None"]


def test_of_equals_the_longer_one_and_then_the_lower_number_is_taken():
    candidates = [
        Candidate("b", number="10", slices=9),
        Candidate("c", number="9", slices=9),
        Candidate("a", number="8", slices=8),
        Candidate("d", slices=9),
    ]
    assert jobs(candidates) == ["c", "b", "d", "a"]
    assert jobs(candidates[::-1]) == ["c", "b", "d", "a"]


@pytest.mark.parametrize(
    ("best", "other", "words"),
    [
        (
            Candidate("a", phase=NAMED[Phase.PORTAL], thickness_mm=1),
            Candidate("b", phase=NAMED[Phase.ARTERIAL], thickness_mm=5),
            "its phase is portal venous (by its name), that of this one arterial (by its name)",
        ),
        (
            Candidate("a", kernel=Sharpness.SOFT),
            Candidate("b", kernel=Sharpness.SHARP),
            "its kernel is soft, that of this one sharp",
        ),
        (
            Candidate("a", thickness_mm=1.25),
            Candidate("b", thickness_mm=5.0),
            "its slices are 1.25 mm thick, those of this one 5 mm",
        ),
        (
            Candidate("a", thickness_mm=1.25),
            Candidate("b"),
            "its slices are 1.25 mm thick, those of this one of unknown thickness",
        ),
        (Candidate("a", slices=40), Candidate("b", slices=20), "it has 40 slices, this one 20"),
        (Candidate("a"), Candidate("b"), "the two are alike, and its number is lower"),
    ],
)
def test_the_reason_is_the_first_difference(best, other, words):
    assert why_preferred(best, other, PREFER) == words


def test_a_series_without_a_number_is_named_by_its_job():
    assert Candidate("ab12", number="5").name == "series 5"
    assert Candidate("ab12").name == "the series of job ab12"
