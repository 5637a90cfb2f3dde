"""What of a patient can be judged."""

import numpy as np
import pytest

from engine.volume import Label
from trainer.datasets.cases.target import Target
from trainer.evaluation.metrics.exam import Exam, Piece, Structure


def piece(*target: Target) -> Piece:
    """A volume of one row in which a tumour was found everywhere."""
    drawn = np.array(target, np.uint8).reshape(1, 1, -1)
    found = np.full(drawn.shape, Label.TUMOUR, np.uint8)
    return Piece(np.zeros(drawn.shape, np.int16), drawn, found, (1.0, 1.0, 1.0))


def test_a_liver_that_was_not_drawn_is_not_judged_and_its_tumours_are():
    """The pixels without a tumour are no background: most of them may be liver."""
    tumours_only = piece(Target.TUMOUR, Target.NO_TUMOUR)
    assert tumours_only.masks(Structure.LIVER) is None
    found, drawn = tumours_only.masks(Structure.TUMOUR)
    assert found.ravel().tolist() == [True, True]
    assert drawn.ravel().tolist() == [True, False]


def test_tumours_that_were_not_drawn_are_not_judged_and_the_liver_is():
    liver_only = piece(Target.LIVER_OR_TUMOUR, Target.BACKGROUND, Target.UNKNOWN)
    assert liver_only.masks(Structure.TUMOUR) is None
    found, drawn = liver_only.masks(Structure.LIVER)
    assert found.ravel().tolist() == [True, True, False]
    assert drawn.ravel().tolist() == [True, False, False]


@pytest.mark.parametrize(("structure", "pieces"), [(Structure.LIVER, [0]), (Structure.TUMOUR, [1])])
def test_only_pieces_that_were_drawn_count(structure, pieces):
    both = piece(Target.LIVER_OR_TUMOUR), piece(Target.NO_TUMOUR)
    judged = [each for *_, each in Exam("anna", both).masks(structure)]
    assert judged == [both[number] for number in pieces]
