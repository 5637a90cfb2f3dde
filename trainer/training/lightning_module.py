"""One member as a LightningModule: training step and validation."""

from collections.abc import Iterable
from typing import Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from engine.devices.torch_gpu import channels_last
from trainer.datasets.cases.target import Target
from trainer.ensemble.members import Cascade, make_member, to_marks
from trainer.ensemble.windows import Windows
from trainer.recipe.recipe import Member, Recipe
from trainer.training.distillation import Teacher, distance
from trainer.training.losses import segmentation_loss
from trainer.training.optimiser import WATCHED, make_optimiser, make_rate
from trainer.training.resume.random_state import seed_everything
from trainer.training.warm_start import calibrate_batch_norms

PLANES = 4
"""Classes counted: the liver with its tumours, tumours, the liver alone, the background."""


class Learner(lightning.LightningModule):
    """A network, its loss, and its Dice on patients that it does not learn from."""

    def __init__(
        self,
        recipe: Recipe,
        member: Member,
        patients: int,
        teacher: Teacher | None = None,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        # Before the network is made, whose weights are drawn from it.
        torch.manual_seed(member.seed)
        self.recipe = recipe
        self.member = member
        self.windows = Windows(recipe.working)
        # Convolutions on a processor take 0.8 of the time in this layout
        # (engine/devices/torch_gpu.py).
        self.network = channels_last(make_member(recipe, member))
        self.patients = patients
        self._teacher = teacher
        self._compiled = compiled
        self._unseen: float | None = None

    def begin_at(self, network: nn.Module, batches: Iterable[Tensor]) -> None:
        """Take over the weights of a like network, its norms set to the HU in `batches`."""
        self.network.load_state_dict(network.state_dict())
        calibrate_batch_norms(self.network, (self._seen(hu) for hu in batches))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimiser, with the run of its rate where it has one."""
        optimiser = make_optimiser(self.recipe, self.network.parameters())
        rate = make_rate(self.recipe, self.member.cycles, optimiser)
        if rate is None:
            return optimiser
        return {"optimizer": optimiser, "lr_scheduler": rate}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the figure that a plateau schedule has yet to see.

        Lightning writes checkpoints before it steps such a schedule, and never steps it for an
        epoch that a resumed run only passes the end of.
        """
        if WATCHED in self.trainer.callback_metrics:
            checkpoint[WATCHED] = float(self.trainer.callback_metrics[WATCHED])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Recall that figure."""
        self._unseen = checkpoint.get(WATCHED)

    def on_train_start(self) -> None:
        """Step the plateau schedule of a resumed run by the epoch that it missed."""
        schedule = self.lr_schedulers()
        if isinstance(schedule, ReduceLROnPlateau) and self._unseen is not None:
            schedule.step(self._unseen)

    def on_fit_start(self) -> None:
        """Bring the teacher to the device, as it is no part of the module; compile the network."""
        if self._teacher is not None:
            self._teacher.graph.to(self.device)
        if self._compiled:
            # In place, which keeps the names of the weights, and after all copies of the network.
            self.network.compile()

    def on_train_epoch_start(self) -> None:
        """Draw what is dropped by the epoch's own chance, so that a run can resume at any."""
        # A prime larger than any number of epochs, as for batches.
        seed_everything(self.member.seed * 1_000_003 + self.current_epoch)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:  # noqa: D102
        hu, target = batch
        seen = self._seen(hu)
        if isinstance(self.network, Cascade):
            scores = self.network(seen, inside(target, seen))
        else:
            scores = self.network(seen)
        loss = segmentation_loss(scores, target, self.recipe.loss) + self._distance(scores, hu)
        self.log("loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=len(hu))
        return loss

    def _distance(self, scores: Tensor, hu: Tensor) -> Tensor | float:
        """Return the weighted distance to the teacher's probabilities; 0 without a teacher."""
        if self._teacher is None or self.recipe.distil is None:
            return 0.0
        apart = distance(scores, self._teacher.marks(hu))
        self.log("distance", apart, prog_bar=True, on_step=True, on_epoch=True, batch_size=len(hu))
        return self.recipe.distil.weight * apart

    def on_validation_epoch_start(self) -> None:
        """Start counting, per patient and plane: marked by both, the member, the expert."""
        self.counts = torch.zeros(self.patients, PLANES, 3, device=self.device)

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> None:
        """Count overlaps per patient."""
        hu, target, patient = batch
        # float: bfloat16 has no value between 0.5 and 0.504.
        found = to_marks(self.network(self._seen(hu)).float()) > 0.5
        looked_at = (target != Target.UNKNOWN)[:, None]
        known = looked_at & (target != Target.NO_TUMOUR)[:, None]
        drawn = torch.cat([known, looked_at & (target != Target.LIVER_OR_TUMOUR)[:, None]], dim=1)
        true = torch.stack([target != Target.BACKGROUND, target == Target.TUMOUR], dim=1)
        found, true = planes(found, drawn), planes(true, drawn)
        pixels = [each.sum(dim=(2, 3)).float() for each in (found & true, found, true)]
        self.counts.index_add_(0, patient, torch.stack(pixels, dim=-1))

    def on_validation_epoch_end(self) -> None:
        """Log the mean Dice and IoU of the patients who have a liver, and a tumour, to be found.

        Beside them stands the mean IoU of three classes over all pixels, the background one of
        them: the one-hot mean IoU of other frameworks.
        """
        both, found, true = self.counts[:, :2].unbind(dim=-1)
        there = true > 0
        dice = torch.where(there, 2 * both / (found + true).clamp(min=1), 0)
        means = dice.sum(dim=0) / there.sum(dim=0).clamp(min=1)
        self.log_dict({"liver_dice": means[0], "tumour_dice": means[1]}, prog_bar=True)
        # Only structures that some patient has: without tumours the liver alone counts.
        self.log(WATCHED, means[there.any(dim=0)].mean())
        iou = torch.where(there, both / (found + true - both).clamp(min=1), 0)
        means = iou.sum(dim=0) / there.sum(dim=0).clamp(min=1)
        classes = self.counts[:, 1:].sum(dim=0)
        either = classes[:, 1] + classes[:, 2] - classes[:, 0]
        mean_iou = (classes[:, 0] / either)[either > 0].mean()
        self.log_dict({"liver_iou": means[0], "tumour_iou": means[1], "mean_iou": mean_iou})

    def _seen(self, hu: Tensor) -> Tensor:
        seen: Tensor = self.windows(hu)
        return seen.contiguous(memory_format=torch.channels_last)


def planes(marked: Tensor, known: Tensor) -> Tensor:
    """Return (n, 4, rows, columns): the liver with its tumours, tumours, liver alone, background.

    Args:
        marked: (n, 2, rows, columns), the first two.
        known: likewise, where they are known.
    """
    liver, tumour = marked.unbind(dim=1)
    known_liver, known_tumour = known.unbind(dim=1)
    alone = liver & ~tumour & known_tumour & known_liver
    parts = [liver & known_liver, tumour & known_tumour, alone, ~liver & known_liver]
    return torch.stack(parts, dim=1)


def inside(target: Tensor, like: Tensor) -> Tensor:
    """Return (n, 1, rows, columns), 1 in the true liver and where it is unknown."""
    return (target != Target.BACKGROUND)[:, None].to(like.dtype)
