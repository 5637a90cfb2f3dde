"""Callbacks of a training run: learning curve, throughput and time spent waiting for data."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

LINES: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("loss", "loss_epoch", {"color": "black", "marker": "."}, "loss"),
    ("dice", "liver_dice", {"color": "tab:red", "marker": "."}, "liver Dice"),
    ("dice", "tumour_dice", {"color": "tab:olive", "marker": "."}, "tumour Dice"),
    ("dice", "mean_iou", {"color": "grey", "linestyle": ":"}, "mean IoU, 3 classes"),
    ("dice", "liver_iou", {"color": "tab:red", "linestyle": "--"}, "liver IoU"),
    ("dice", "tumour_iou", {"color": "tab:olive", "linestyle": "--"}, "tumour IoU"),
)
"""Of the curve: the axis, what is drawn, how, and what it is called."""


class Bar(RichProgressBar):
    """Lightning's progress bar, with the member's name and epochs counted from 1 to the last."""

    def __init__(self, name: str, epochs: int) -> None:
        super().__init__(leave=True)
        self._name = name
        self._epochs = epochs

    def _get_train_description(self, current_epoch: int) -> str:
        return f"{self._name}, epoch {current_epoch + 1} of {self._epochs}"


class ResumableEarlyStopping(EarlyStopping):
    """Early stopping of a run that may be interrupted.

    A run that resumes at the end of an epoch passes that end once more, without a validation
    before it. Nothing is to be checked then: the checkpoint holds the outcome.
    """

    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Stop a resumed run whose patience had ended before it was interrupted."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def _should_skip_check(self, trainer: lightning.Trainer) -> bool:
        # Lightning has no public way to skip one check, and raises where the metric is absent.
        return super()._should_skip_check(trainer) or self.monitor not in trainer.callback_metrics


class EpochCheckpoint(ModelCheckpoint):
    """Keeps the last epoch, or the best one that was validated."""

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        """Save the epoch, unless a resumed run passes its end once more without a validation."""
        if self.monitor is None or self.monitor in trainer.callback_metrics:
            super().on_train_epoch_end(trainer, pl_module)


class CurveCallback(Callback):
    """Loss, Dice and IoU per epoch, kept with the checkpoint and drawn as `curve.png`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Note what the epoch came to, and draw all of them."""
        metrics = trainer.callback_metrics
        epoch = {name: float(metrics[name]) for _, name, *_ in LINES if name in metrics}
        if not epoch:  # a resumed run passes the end of its last epoch once more
            return
        self.epochs.append(epoch)
        # Every process gathers the metrics; one draws.
        if trainer.is_global_zero:
            draw(self.epochs, self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was."""
        self.epochs = state["epochs"]


def draw(epochs: list[dict[str, float]], path: Path) -> None:
    """Draw the loss, and the Dice and IoU of the validation patients, over the epochs."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    loss = figure.subplots()
    dice = loss.twinx()
    x = range(1, len(epochs) + 1)
    for axes, name, style, label in LINES:
        values = [epoch.get(name, float("nan")) for epoch in epochs]
        if any(name in epoch for epoch in epochs):
            (loss if axes == "loss" else dice).plot(x, values, **style, label=label)
    loss.set(xlabel="epoch", ylabel="loss, training", title=path.parent.name)
    loss.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    dice.set(ylabel="Dice, IoU: validation patients", ylim=(0, 1))
    figure.legend(loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=120)


@dataclass(frozen=True)
class Throughput:
    """Throughput of training one member."""

    steps: int
    slices: int
    seconds: float
    """Of the steps and of waiting for their batches; not of looks at validation patients."""
    waiting_s: float
    """Of these, what went by until the batch was there."""

    @property
    def slices_per_s(self) -> float:
        """Training slices per second."""
        return self.slices / self.seconds if self.seconds else 0.0

    @property
    def waiting(self) -> float:
        """The loader's share of the time."""
        return self.waiting_s / self.seconds if self.seconds else 0.0


class ThroughputCallback(Callback):
    """Measures the pace; the first batch of an epoch, which workers start with, counts too."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._ready = self._began = 0.0
        self._steps, self._busy_s, self._waiting_s = 0, 0.0, 0.0

    @property
    def pace(self) -> Throughput:
        """Measurements so far."""
        slices = self._steps * self._batch
        return Throughput(self._steps, slices, self._busy_s + self._waiting_s, self._waiting_s)

    def on_train_epoch_start(self, *_: Any) -> None:
        """Wait for the first batch."""
        self._ready = time.perf_counter()

    def on_train_batch_start(self, *_: Any) -> None:
        """A batch is there."""
        self._began = time.perf_counter()
        self._waiting_s += self._began - self._ready

    def on_train_batch_end(self, *_: Any) -> None:
        """A step is done; wait for the next batch."""
        self._ready = time.perf_counter()
        self._busy_s += self._ready - self._began
        self._steps += 1

    def on_train_epoch_end(self, _: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Log what was measured so far."""
        module.log_dict(
            {"slices_per_s": self.pace.slices_per_s, "waiting": self.pace.waiting}, prog_bar=True
        )
