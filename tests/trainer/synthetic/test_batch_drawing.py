"""Pictures of many planted tumours at once."""

from dataclasses import astuple

import numpy as np
import torch

from trainer.synthetic.batch_drawing import Shape
from trainer.synthetic.lesion import draw_body, draw_lesion

AWAY_MM = [0.0, -6.0, -2.5, 2.5, 6.0, 20.0]


def test_sections_have_the_radii_of_the_bodies_that_they_are_cut_from():
    random = np.random.default_rng(0)
    drawn = [(draw_lesion(random), draw_body(random)) for _ in range(100)]
    shape = Shape.of(torch.tensor([[*astuple(lesion), *astuple(body)] for lesion, body in drawn]))
    expected = [
        [lesion.radius_mm, *(body.section_mm(lesion.radius_mm, away) for away in AWAY_MM[1:])]
        for lesion, body in drawn
    ]
    sections = shape.sections_mm(torch.tensor([AWAY_MM]).expand(len(drawn), -1))
    np.testing.assert_allclose(sections.numpy(), expected, atol=1e-2)
    assert 0 < np.count_nonzero(expected) < len(drawn) * len(AWAY_MM)
