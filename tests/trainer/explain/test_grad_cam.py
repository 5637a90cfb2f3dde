import pytest
import torch
from torch import nn

from trainer.ensemble.members import make_member
from trainer.evaluation.metrics.exam import Structure
from trainer.explain.grad_cam import activations, grad_cams

LIVER = Structure.LIVER


class Bright(nn.Module):
    """Marks as liver what is bright, by features of half the size."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(1, 4, 2, stride=2, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.ConvTranspose2d(4, 3, 2, stride=2)
        with torch.no_grad():
            self.features.weight.fill_(0.25)
            self.head.weight.fill_(0)
            self.head.weight[:, 1] = 1.0
            self.head.bias.copy_(torch.tensor([1.0, 0.0, -5.0]))

    def forward(self, seen):
        return self.head(self.relu(self.features(seen)))


@pytest.fixture
def seen() -> torch.Tensor:
    seen = torch.zeros((1, 1, 32, 32))
    seen[:, :, 8:16, 4:12] = 1.0
    return seen


def test_a_member_that_marks_what_is_bright_looks_at_what_is_bright(seen):
    cams = grad_cams(Bright().eval(), seen, Structure.LIVER)
    assert cams.marked
    bright = seen[0, 0] > 0
    for cam in (cams.deep, cams.fine):
        assert cam.shape == (32, 32)
        assert (cam.min(), cam.max()) == (0, 1)
        assert cam[bright].mean() > 0.8
        assert cam[~bright].mean() < 0.1


def test_where_nothing_is_marked_the_likeliest_pixels_are_explained(seen):
    assert not grad_cams(Bright().eval(), seen, Structure.TUMOUR).marked


def test_activations_are_shown_by_size_from_fine_to_coarse(seen):
    maps = activations(Bright().eval(), seen)
    assert list(maps) == [16]
    assert maps[16][10, 8] == 1
    assert maps[16][30, 30] == 0


class BrightInDepth(nn.Module):
    """The same in three slices, of which it marks the one in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv3d(1, 4, (1, 2, 2), stride=(1, 2, 2), bias=False)
        self.flat = Bright()
        with torch.no_grad():
            self.features.weight.fill_(0.25)

    def forward(self, seen):
        features = self.flat.relu(self.features(seen[:, None]))
        return self.flat.head(features[:, :, 1])


def test_of_a_member_in_three_dimensions_the_plane_that_it_marks_is_shown(seen):
    elsewhere = seen.roll(16, dims=3)
    cams = grad_cams(BrightInDepth().eval(), torch.cat([elsewhere, seen, elsewhere], 1), LIVER)
    bright = seen[0, 0] > 0
    assert cams.fine.shape == (32, 32)
    assert cams.fine[bright].mean() > 0.8
    assert cams.fine[elsewhere[0, 0] > 0].mean() < 0.1


@pytest.mark.parametrize(
    ("network", "targets"),
    [("unet", "classes"), ("resunet", "cascade"), ("dynunet", "classes"), ("dynunet", "each")],
)
def test_every_kind_of_member_can_be_looked_into(tiny_recipe, network, targets):
    working = tiny_recipe.working.model_copy(update={"neighbours": int(network == "dynunet")})
    recipe = tiny_recipe.model_copy(update={"targets": targets, "working": working})
    member = make_member(recipe, recipe.members[0].model_copy(update={"network": network})).eval()
    shown = torch.rand((1, recipe.working.channels, 32, 32))
    for structure in Structure:
        cams = grad_cams(member, shown, structure)
        assert cams.deep.shape == cams.fine.shape == (32, 32)
        assert cams.fine.isfinite().all()
    assert len(activations(member, shown)) > 2
