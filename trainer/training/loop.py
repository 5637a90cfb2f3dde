"""The one training loop, on Lightning."""

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from trainer.batches.data_loader import Batches, Looks, Steps, loader
from trainer.batches.slice_store import HOST
from trainer.datasets.cases.slices import Slices
from trainer.ensemble.batchnorm_folding import part_of_the_way
from trainer.ensemble.members import make_member
from trainer.recipe.recipe import Member, Recipe, of_member
from trainer.training.callbacks import (
    Bar,
    CurveCallback,
    EpochCheckpoint,
    ResumableEarlyStopping,
    Throughput,
    ThroughputCallback,
)
from trainer.training.distillation import Teacher
from trainer.training.lightning_module import Learner
from trainer.training.machine import HERE, Machine, usual_precision
from trainer.training.optimiser import WATCHED, running_average
from trainer.training.resume.checkpoint_files import DurableCheckpoints, save_durably
from trainer.training.resume.stops import stops_named

WEIGHTS = "weights.pt"
"""A member's network, done; beside it `pace.json`, `curve.png`, and TensorBoard's files."""
LAST, BEST = "last", "best"
CALIBRATION = 8
"""Batches that show the norms of a member that does not start from nothing what they will see."""


def train_member(
    recipe: Recipe,
    member: Member,
    slices: Slices,
    validation: Slices,
    folder: Path,
    machine: Machine = HERE,
    start: nn.Module | None = None,
    teacher: Teacher | None = None,
    watches: Sequence[Callback] = (),
) -> nn.Module:
    """Train one member, or resume an interrupted run at its last saved epoch.

    Args:
        recipe: how to train.
        member: what to train.
        slices: all that it may learn from.
        validation: all that may stop it; may be empty.
        folder: where its checkpoints lie.
        machine: what to train on.
        start: the same network as it is before the first step; it learns from nothing if left out.
            Of a member without cycles it is what comes back.
        teacher: a model whose probabilities it learns from too, if the recipe has `distil`.
        watches: further callbacks of the training.

    Returns:
        The network, ready to be used.
    """
    if not member.cycles and start is not None:
        return start.eval()
    recipe = of_member(recipe, member)
    if not (folder / WEIGHTS).is_file():
        _fit(recipe, member, slices, validation, folder, machine, start, teacher, watches)
    network = make_member(recipe, member)
    # weights_only: tensors, no code. The CPU, as a run may be taken to a machine without its GPU.
    network.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True, map_location="cpu"))
    if start is not None and member.way < 1:
        between = part_of_the_way(start.eval(), network.eval(), member.way)
        network = make_member(recipe, member)
        network.load_state_dict(between, strict=False)  # norms have no counters there
    return network.eval()


def _fit(
    recipe: Recipe,
    member: Member,
    slices: Slices,
    validation: Slices,
    folder: Path,
    machine: Machine,
    start: nn.Module | None,
    teacher: Teacher | None,
    watches: Sequence[Callback],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    watch = ThroughputCallback(recipe.batch.size)
    seen = len(validation) > 0
    last = folder / f"{LAST}.ckpt"
    epochs = -(-member.steps // recipe.schedule.epoch_steps)
    bar = [] if machine.quiet else [Bar(folder.name, epochs)]
    with _calm():
        callbacks = [*watches, *_callbacks(recipe, folder, seen), watch, *bar]
        trainer = _trainer(recipe, member, folder, machine, callbacks, seen)
        place = trainer.strategy.root_device
        drawn = Batches(recipe, member.seed, slices, HOST if machine.workers else place)
        looks = Looks(recipe, validation, place)
        learner = Learner(recipe, member, len(looks.patients), teacher, machine.compiled)
        if start is not None and not last.is_file():
            few = (drawn[number][0].to(HOST) for number in range(CALIBRATION))
            learner.begin_at(start, few)
        rank = trainer.global_rank, trainer.world_size
        steps = Steps(recipe.schedule.epoch_steps, lambda: trainer.global_step, rank)
        batches = loader(drawn, machine.workers, steps)
        with stops_named(folder.name, last, epochs):
            trainer.fit(
                learner,
                batches,
                loader(looks, 0) if seen else None,
                ckpt_path=last if last.is_file() else None,
                # Lightning keeps callbacks in its checkpoints as pickles; this run wrote it itself.
                weights_only=False,
            )
    if trainer.is_global_zero:
        _keep(learner, folder, watch.pace)
    trainer.strategy.barrier("kept")  # the other processes load what the first has kept


def _trainer(
    recipe: Recipe,
    member: Member,
    folder: Path,
    machine: Machine,
    callbacks: list[Callback],
    seen: bool,
) -> lightning.Trainer:
    """Return Lightning's trainer of one member; `seen`: there are validation slices."""
    return lightning.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.nodes,
        precision=machine.precision or usual_precision(machine),  # type: ignore[arg-type]
        # Every batch has the same shape, for which cuDNN finds its fastest kernels once.
        benchmark=machine.on_cuda,
        max_steps=member.steps,
        max_epochs=-1,  # a resumed run would not end with the same weights
        logger=_logger(folder),
        callbacks=callbacks,
        plugins=[DurableCheckpoints()],
        enable_progress_bar=not machine.quiet,
        enable_model_summary=False,
        # They would log metrics of a network that has learnt nothing.
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if seen else 0,
        # `Steps` shares the batches out itself; Lightning would do so once more.
        use_distributed_sampler=False,
        log_every_n_steps=min(20, recipe.schedule.epoch_steps),
    )


def _callbacks(recipe: Recipe, folder: Path, seen: bool) -> list[Callback]:
    """Return what watches a run: averages, curves, stops and checkpoints, in this order."""
    schedule = recipe.schedule
    callbacks: list[Callback] = [CurveCallback(folder / "curve.png")]
    if recipe.average:
        average = running_average(recipe.average, recipe.average_warm_up)
        callbacks.append(WeightAveraging(multi_avg_fn=average))
    if seen and schedule.stop_patience:
        callbacks += [
            ResumableEarlyStopping(
                WATCHED,
                schedule.stop_gain,
                schedule.stop_patience,
                mode="max",
                check_on_train_epoch_end=True,
            ),
            _checkpoint(folder, BEST, WATCHED),
        ]
    # Last, so that its checkpoint holds what the callbacks before it have noted of the epoch.
    return [*callbacks, _checkpoint(folder, LAST, None)]


def _logger(folder: Path) -> TensorBoardLogger | bool:
    """Return what writes the curves for TensorBoard; none where that is not installed."""
    # A bare machine with a GPU need not have it, and its absence must not cost a training.
    return find_spec("tensorboard") is not None and TensorBoardLogger(folder, name="", version="")


def _checkpoint(folder: Path, name: str, monitor: str | None) -> EpochCheckpoint:
    return EpochCheckpoint(
        folder,
        name,
        monitor=monitor,
        mode="max",
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )


def _keep(learner: Learner, folder: Path, pace: Throughput) -> None:
    """Write the network that is to be used: the best epoch's where a run may stop early.

    It is taken from a checkpoint: a run that resumes after its last step does not reach the end at
    which Lightning brings the averaged weights into the network.
    """
    best = folder / f"{BEST}.ckpt"
    chosen = best if best.is_file() else folder / f"{LAST}.ckpt"
    # This run's own checkpoint; see `_fit`.
    state = torch.load(chosen, weights_only=False, map_location="cpu")["state_dict"]
    weights = {name: state[f"network.{name}"] for name in learner.network.state_dict()}
    (folder / "pace.json").write_text(json.dumps(asdict(pace)) + "\n")
    # Last: this file is what says that the member is done.
    save_durably(weights, folder / WEIGHTS)


@contextmanager
def _calm() -> Iterator[None]:
    """Keep Lightning from advice that does not fit, and from naming every device that is absent."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers.*")
        warnings.filterwarnings("ignore", ".*but have no `val_dataloader`.*")
        warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists and is not empty.*")
        try:
            yield
        finally:
            logger.setLevel(level)
