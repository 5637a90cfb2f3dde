import pytest

from engine.findings.overlap import Overlap
from trainer.evaluation.metrics.overlap import Figures
from trainer.evaluation.metrics.verdict import mean_dice, merged, verdict


def figures(**dice: tuple[int, int]) -> Figures:
    """Liver and tumour of each patient, in hundredths of Dice; 100 pixels each."""
    pairs = {name: [_of(each) for each in both] for name, both in dice.items()}
    return Figures(
        {name: liver for name, (liver, _) in pairs.items()},
        {name: tumour for name, (_, tumour) in pairs.items()},
    )


def _of(hundredths: int) -> Overlap:
    return Overlap(hundredths, 100, 100, 1000)


def test_the_sentence_has_both_figures_and_the_number_of_patients():
    own, before = figures(a=(90, 60), b=(80, 70)), figures(a=(90, 50), b=(85, 60))
    assert verdict(own, before, "mine", "base 1.3.0") == (
        "mine beats base 1.3.0 on 2 patients held out: mine liver 0.850, tumour 0.650 (2 patients),"
        " base 1.3.0 liver 0.875, tumour 0.550 (2 patients); it is better in 2 of 2"
    )


@pytest.mark.parametrize("own", [(90, 50), (89, 50)])
def test_what_is_no_better_is_called_so(own):
    said = verdict(figures(a=own), figures(a=(90, 50)), "mine", "base 1.3.0")
    assert said.startswith("mine does not beat base 1.3.0 on 1 patient held out: ")
    assert said.endswith("better in 0 of 1")


def test_patients_of_folds_count_as_patients_of_one_group():
    both = merged([figures(a=(90, 50)), figures(b=(70, 50))])
    assert mean_dice(both) == pytest.approx((0.8 + 0.5) / 2)
