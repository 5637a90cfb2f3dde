import torch

from trainer.losses import segmentation_loss
from trainer.slices import Target


def scores_for(labels: torch.Tensor) -> torch.Tensor:
    """Scores of a network that is sure of `labels`."""
    return torch.nn.functional.one_hot(labels.long(), 3).permute(0, 3, 1, 2).float() * 40


def square(value: Target) -> torch.Tensor:
    target = torch.zeros((1, 16, 16), dtype=torch.uint8)
    target[:, 4:12, 4:12] = value
    return target


def test_a_perfect_answer_costs_next_to_nothing():
    target = square(Target.LIVER)
    target[:, 6:9, 6:9] = Target.TUMOUR
    assert segmentation_loss(scores_for(target), target) < 0.01


def test_where_tumours_were_not_drawn_tumour_and_liver_cost_the_same():
    target = square(Target.LIVER_OR_TUMOUR)
    as_liver = segmentation_loss(scores_for(square(Target.LIVER)), target)
    as_tumour = segmentation_loss(scores_for(square(Target.TUMOUR)), target)
    torch.testing.assert_close(as_liver, as_tumour)
    assert as_liver < 0.01


def test_where_tumours_were_drawn_liver_in_their_place_costs():
    answer = scores_for(square(Target.LIVER))
    assert segmentation_loss(answer, square(Target.TUMOUR)) > 1


def test_what_is_not_known_teaches_nothing():
    target = square(Target.LIVER)
    target[:, :2] = Target.UNKNOWN
    scores = scores_for(square(Target.LIVER)).requires_grad_()
    (gradient,) = torch.autograd.grad(segmentation_loss(scores, target), scores)
    assert not gradient[:, :, :2].any()
