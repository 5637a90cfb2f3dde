import pytest
import torch

from trainer.datasets.cases.target import Target
from trainer.recipe.sections import Loss
from trainer.training import losses
from trainer.training.losses import dice_loss, focal_loss, tversky_loss

BOTH = (Loss(kind="cross-entropy"), Loss(kind="dice"))


def segmentation_loss(scores, target, terms=BOTH):
    return losses.segmentation_loss(scores, target, terms)


def each_scores_for(target: torch.Tensor) -> torch.Tensor:
    """Scores of two networks, for liver and for tumour, that are sure of `target`."""
    planes = [target > 0, target == Target.TUMOUR]
    return (torch.stack(planes, dim=1).float() - 0.5) * 80


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


@pytest.mark.parametrize("kind", ["cross-entropy", "dice", "focal", "tversky"])
@pytest.mark.parametrize("sure", [scores_for, each_scores_for])
def test_every_term_prefers_the_truth_whatever_the_targets(kind, sure):
    target = square(Target.LIVER)
    target[:, 6:9, 6:9] = Target.TUMOUR
    terms = (Loss(kind=kind),)
    right = segmentation_loss(sure(target), target, terms)
    wrong = segmentation_loss(sure(square(Target.BACKGROUND)), target, terms)
    assert right < 0.01 < wrong


@pytest.mark.parametrize("sure", [scores_for, each_scores_for])
def test_a_term_counts_as_often_as_its_weight_says(sure):
    target = square(Target.LIVER)
    scores = sure(square(Target.BACKGROUND)) / 40
    once, thrice = (
        segmentation_loss(scores, target, (Loss(kind="focal", weight=weight),)) for weight in (1, 3)
    )
    torch.testing.assert_close(3 * once, thrice)


def test_two_networks_learn_nothing_of_tumours_that_were_not_drawn():
    target = square(Target.LIVER_OR_TUMOUR)
    scores = torch.zeros((1, 2, 16, 16), requires_grad=True)
    (gradient,) = torch.autograd.grad(segmentation_loss(scores, target), scores)
    assert not gradient[:, 1, 4:12, 4:12].any()
    assert gradient[:, 0, 4:12, 4:12].all()


def test_the_focal_loss_looks_away_from_what_is_sure():
    log_p = torch.tensor([0.9, 0.5]).log()
    everywhere = torch.ones(2)
    plain = focal_loss(log_p, everywhere, 0.0)
    focal = focal_loss(log_p, everywhere, 2.0)
    torch.testing.assert_close(plain, -log_p.mean())
    torch.testing.assert_close(focal, -(torch.tensor([0.01, 0.25]) * log_p).mean())


def test_unknown_pixels_do_not_dilute_the_loss_of_the_known_ones():
    log_p = torch.log(torch.tensor([0.5, 0.25, 0.9, 0.9]))
    known = torch.tensor([True, True, False, False])
    whole = focal_loss(log_p[:2], known[:2], 0.0)
    torch.testing.assert_close(focal_loss(log_p, known, 0.0), whole)


EVERYWHERE = torch.ones((4, 4), dtype=torch.bool)
HALF = torch.arange(16).reshape(4, 4) < 8


def tversky(p: torch.Tensor, alpha: float, beta: float) -> torch.Tensor:
    return tversky_loss(p, HALF, EVERYWHERE, alpha, beta)


def test_an_even_tversky_loss_is_the_dice_loss():
    p = torch.rand((4, 4), generator=torch.Generator().manual_seed(1))
    even = 1 - tversky(p, 0.5, 0.5)
    both, rest = (p * HALF).sum(), p.sum() + HALF.sum()
    torch.testing.assert_close(even, (both + 1) / (rest / 2 + 1))
    assert abs(tversky(p, 0.5, 0.5) - dice_loss(p, HALF, EVERYWHERE)) < 0.05


def test_a_missed_pixel_costs_more_than_a_false_one_as_its_weight_asks():
    missed, false = HALF.float(), HALF.float()
    missed[0, 0], false[3, 3] = 0, 1
    assert tversky(missed, 0.35, 0.65) > tversky(false, 0.35, 0.65)
    assert tversky(missed, 0, 1) > tversky(false, 0, 1) == 0


def test_the_gradient_of_tversky_draws_every_pixel_towards_the_truth():
    p = torch.full((4, 4), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(tversky(p, 0.35, 0.65), p)
    assert (gradient[HALF] < 0).all()
    assert (gradient[~HALF] > 0).all()
    assert gradient[HALF].abs().min() > gradient[~HALF].abs().max()


def test_pixels_that_do_not_count_have_no_gradient():
    p = torch.full((4, 4), 0.5, requires_grad=True)
    where = torch.arange(16).reshape(4, 4) % 2 == 0
    (gradient,) = torch.autograd.grad(tversky_loss(p, HALF, where, 0.35, 0.65), p)
    assert not gradient[~where].any()
    assert gradient[where].all()


@pytest.mark.parametrize("kind", ["dice", "tversky"])
def test_a_term_of_one_structure_leaves_the_other_alone(kind):
    target = square(Target.LIVER)
    target[:, 6:9, 6:9] = Target.TUMOUR
    scores, without = scores_for(target), scores_for(square(Target.LIVER))
    liver, tumour = ((Loss(kind=kind, of=each),) for each in ("liver", "tumour"))
    assert (
        segmentation_loss(without, target, liver)
        < 0.01
        < segmentation_loss(without, target, tumour)
    )
    both = segmentation_loss(without, target, (Loss(kind=kind),))
    apart = segmentation_loss(without, target, (*liver, *tumour))
    torch.testing.assert_close(both, apart)
    assert segmentation_loss(scores, target, tumour) < 0.01


def test_a_term_of_pixels_has_no_structure():
    with pytest.raises(ValueError, match="counts every pixel"):
        Loss(kind="focal", of="tumour")


@pytest.mark.parametrize("kind", ["dice", "tversky", "cross-entropy", "focal"])
@pytest.mark.parametrize("channels", [2, 3])
def test_where_tumours_alone_were_drawn_nothing_is_learnt_of_the_liver(kind, channels):
    """Liver and background are one to such a label."""
    target = torch.full((1, 12, 12), int(Target.NO_TUMOUR), dtype=torch.uint8)
    scores = torch.zeros((1, channels, 12, 12))
    swapped = scores.clone()
    if channels == 3:
        scores[:, Target.LIVER], swapped[:, Target.BACKGROUND] = 4.0, 4.0
        marked = scores.clone()
        marked[:, Target.TUMOUR] = 8.0
    else:
        scores[:, 0], swapped[:, 0] = 4.0, -4.0
        scores[:, 1] = swapped[:, 1] = -4.0
        marked = scores.clone()
        marked[:, 1] = 8.0
    terms = (Loss(kind=kind),)
    here, there = (segmentation_loss(each, target, terms) for each in (scores, swapped))
    torch.testing.assert_close(here, there)
    assert segmentation_loss(marked, target, terms) > here + 0.1
