"""Training that is stopped, at any place and of any recipe, ends as training that was not."""

import errno
import json
import os
import signal
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.phantom import make_phantom
from trainer.batches.data_loader import Steps
from trainer.datasets.cases.patient_split import Split
from trainer.datasets.cases.slices import Slices
from trainer.errors import Interrupted, NotWritten, OtherRun
from trainer.networks import encoded_unet, encoder, mobilenet, resunet, unet
from trainer.recipe.recipe import RECIPES, Recipe, load_recipe
from trainer.training.distillation import Teacher
from trainer.training.ensemble import Cases, train_ensemble
from trainer.training.lightning_module import Learner
from trainer.training.loop import LAST
from trainer.training.machine import Machine
from trainer.training.resume import begun as begun_module
from trainer.training.resume.begun import begun, require_same_run
from trainer.training.resume.checkpoint_files import saved_epochs

QUICK = Machine(accelerator="cpu", precision="32-true", workers=0, quiet=True)
SMALL = (
    *("crop=32", "working.size=32", "working.spacing_mm=12.0", "phantoms=0"),
    *("schedule.epoch_steps=2", "schedule.stop_gain=0.5"),
)
RECIPE_NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))


@pytest.fixture(autouse=True)
def _ctrl_c_stays_as_it_was():
    """Lightning ignores SIGINT for good once it has met one."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch):
    """Drawing one takes ten times as long as the steps of an epoch here."""
    monkeypatch.setattr("trainer.training.callbacks.draw", lambda *_: None)


@pytest.fixture(autouse=True)
def _narrow_networks(monkeypatch):
    """What takes long is to write millions of weights to the disk, epoch by epoch."""
    for module in (unet, resunet):  # torch's convolutions on a processor abort with 4 channels
        monkeypatch.setattr(module, "WIDTHS", (16, 16, 16, 16, 16))
    monkeypatch.setattr(encoded_unet, "WIDTHS", (8, 8, 8, 4, 4))
    monkeypatch.setattr(encoder, "WIDTHS", (8, 8, 8, 8))
    monkeypatch.setattr(encoder.Encoder, "channels", (encoder.STEM, 8, 8, 8, 8))
    stages = tuple(tuple((t, 8, 1, s) for t, _, _, s in stage) for stage in mobilenet.STAGES)
    monkeypatch.setattr(mobilenet, "STAGES", stages)
    monkeypatch.setattr(mobilenet.MobileNetEncoder, "channels", (8,) * len(stages))


@pytest.fixture(scope="module")
def cases() -> Cases:
    phantom = make_phantom(1, shape=(8, 32, 32), spacing_mm=(25.0, 12.0, 12.0))
    patient = np.repeat(["a", "b", "c", "d"], 2)
    slices = Slices(phantom.volume.hu, phantom.truth.labels, patient, np.full(8, 12.0, np.float32))
    split = Split(("a", "b"), ("d",))
    return Cases(split, slices.of("ab"), slices.of("d"), slices.of("c"))


def small(name: str, *changes: str, steps: int = 5) -> Recipe:
    """A shipped recipe with its first network twice, for few steps; every kind of slice, once."""
    network = tomllib.loads((RECIPES / f"{name}.toml").read_text())["members"][0]["network"]
    members = ",".join(f'{{network="{network}",cycles=[{steps}],seed={seed}}}' for seed in (1, 2))
    batch = "batch={tumour=1,other=1}"
    return load_recipe(name, [*SMALL, f"members=[{members}]", batch, *changes])


class Teaching:
    """Stands in for an ensemble: the liver where slices are bright."""

    working = load_recipe("fast").working

    def to(self, device: object) -> "Teaching":
        return self

    def marks(self, hu: torch.Tensor, _: object = None) -> tuple[torch.Tensor, torch.Tensor]:
        liver = torch.sigmoid((hu - 60) / 40)
        return torch.stack([liver, liver * 0.2], dim=1), liver


def learn(recipe: Recipe, cases: Cases, folder: Path) -> list[torch.nn.Module]:
    teacher = Taught() if recipe.distil else None
    return train_ensemble(recipe, cases, folder, QUICK, teacher=teacher)


class Taught(Teacher):
    """A teacher without a model folder."""

    def __init__(self) -> None:
        object.__setattr__(self, "title", "toy 1")
        object.__setattr__(self, "graph", Teaching())

    def marks(self, hu: torch.Tensor) -> torch.Tensor:
        return self.graph.marks(hu)[0]


def same(one: list[torch.nn.Module], other: list[torch.nn.Module]) -> bool:
    return all(
        torch.equal(a, b)
        for left, right in zip(one, other, strict=True)
        for a, b in zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    )


class CtrlC:
    """Raises KeyboardInterrupt once at each of the places, as training comes to them."""

    def __init__(self, places: set[tuple[str, int, int]] | None) -> None:
        self.places = places
        self.met: set[tuple[str, int, int]] = set()

    def __call__(self, kind: str, learner: Learner) -> None:
        here = kind, learner.member.seed, learner.global_step
        if here not in self.met and (self.places is None or here in self.places):
            self.met.add(here)
            raise KeyboardInterrupt


def watched(monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[str, Learner], None]) -> None:
    """Call `ctrl_c` before each step of training and of validation."""
    for kind in ("training_step", "validation_step"):
        step = getattr(Learner, kind)
        monkeypatch.setattr(
            Learner, kind, lambda self, *of, k=kind, s=step: ctrl_c(k, self) or s(self, *of)
        )


def until_done(recipe: Recipe, cases: Cases, folder: Path) -> Iterator[str]:
    """Repeat a training until it is done; yield each message at which it stopped."""
    while True:
        try:
            learn(recipe, cases, folder)
        except Interrupted as stop:
            yield str(stop)
        else:
            return


EVERY_EPOCH = {
    *(("training_step", 1, 1), ("validation_step", 1, 4), ("training_step", 1, 4)),
    ("training_step", 2, 0),
}
"""In the middle of an epoch, at its first step, in a validation, and between two members."""


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_every_recipe_ends_with_the_weights_of_a_run_that_was_never_stopped(
    name, cases, tmp_path, monkeypatch
):
    recipe = small(name)
    whole = learn(recipe, cases, tmp_path / "whole")
    ctrl_c = CtrlC(EVERY_EPOCH)
    watched(monkeypatch, ctrl_c)
    said = list(until_done(recipe, cases, tmp_path / "stopped"))
    assert ctrl_c.met == EVERY_EPOCH
    assert len(said) == len(EVERY_EPOCH)
    assert "is saved at epoch 2 of 3; repeat this command to go on" in " ".join(said)
    assert same(whole, learn(recipe, cases, tmp_path / "stopped"))


def test_a_run_that_is_stopped_before_every_single_step_ends_the_same(cases, tmp_path, monkeypatch):
    one = 'members=[{network="unet-dropout",cycles=[5],seed=1}]'
    recipe = small("multiclass-windows", "schedule.stop_patience=2", one)
    whole = learn(recipe, cases, tmp_path / "whole")
    watched(monkeypatch, CtrlC(None))
    said = list(until_done(recipe, cases, tmp_path / "stopped"))
    assert len(said) > 6
    assert same(whole, learn(recipe, cases, tmp_path / "stopped"))


def test_a_run_that_is_stopped_after_its_last_epoch_keeps_the_same_average(
    cases, tmp_path, monkeypatch
):
    recipe = small("base")
    whole = learn(recipe, cases, tmp_path / "whole")

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("trainer.training.loop._keep", stopped)
        with pytest.raises(KeyboardInterrupt):
            learn(recipe, cases, tmp_path / "stopped")
    assert same(whole, learn(recipe, cases, tmp_path / "stopped"))


def spoilt(path: Path, spoil: Callable[[dict], object]) -> None:
    content = torch.load(path, weights_only=False)
    spoil(content)
    torch.save(content, path)


def other_moments(content: dict) -> None:
    for state in content["optimizer_states"][0]["state"].values():
        state["exp_avg"].add_(1.0)


def other_rate(content: dict) -> None:
    content["lr_schedulers"][0]["last_epoch"] = 0
    content["optimizer_states"][0]["param_groups"][0]["lr"] = 1.0


def other_average(content: dict) -> None:
    for weights in content["state_dict"].values():
        if weights.is_floating_point():
            weights.add_(0.1)


@pytest.mark.parametrize("spoil", [other_moments, other_rate, other_average, None])
def test_the_weights_differ_where_a_state_is_not_restored(spoil, cases, tmp_path, monkeypatch):
    """The comparison above is no proof unless it notices each of the states."""
    recipe = small("base", steps=4)
    whole = learn(recipe, cases, tmp_path / "whole")
    with monkeypatch.context() as patch:
        watched(patch, CtrlC({("training_step", 1, 2)}))
        with pytest.raises(Interrupted):
            learn(recipe, cases, tmp_path / "stopped")
    (last,) = (tmp_path / "stopped").glob(f"*/{LAST}.ckpt")
    if spoil:
        spoilt(last, spoil)
    else:  # the order of the slices begins anew
        monkeypatch.setattr(Steps, "__iter__", lambda self: iter(range(len(self))))
    assert not same(whole, learn(recipe, cases, tmp_path / "stopped"))


def test_the_weights_differ_where_dropout_is_not_drawn_again(cases, tmp_path, monkeypatch):
    recipe = small("multiclass-windows", steps=4)
    whole = learn(recipe, cases, tmp_path / "whole")
    monkeypatch.setattr("trainer.training.lightning_module.seed_everything", lambda seed: None)
    assert not same(whole, learn(recipe, cases, tmp_path / "other"))


def test_a_full_disk_in_mid_epoch_leaves_the_older_checkpoint(cases, tmp_path, monkeypatch):
    recipe = small("base", steps=6)
    whole = learn(recipe, cases, tmp_path / "whole")
    synced, sync = [], os.fsync

    def full(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 3:  # the file and its folder of the first epoch came before
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(NotWritten, match=r"No space left.*make room.*saved at epoch 1 of 3"):
            learn(recipe, cases, tmp_path / "stopped")
    (folder,) = (tmp_path / "stopped").iterdir()
    assert saved_epochs(folder / f"{LAST}.ckpt") == 1
    assert not list(folder.glob("*.part"))
    assert same(whole, learn(recipe, cases, tmp_path / "stopped"))


def test_a_stopped_run_with_another_recipe_is_refused_by_what_differs(cases, tmp_path):
    def start(recipe: Recipe, teacher: str = "base 1.3.0", train: Slices = cases.train) -> None:
        now = begun(recipe, {"--teacher": teacher}, train, cases.validation)
        require_same_run(tmp_path / "run", now)

    recipe = small("fast")
    start(recipe)
    start(recipe)
    start(recipe.model_copy(update={"remarks": "another word", "program": True}))
    with pytest.raises(OtherRun, match=r"learning_rate was 0\.001 and is 0\.5.*--run"):
        start(recipe.model_copy(update={"learning_rate": 0.5}))
    with pytest.raises(OtherRun, match=r"members\.0\.cycles was \[5\] and is \[9\]"):
        start(small("fast", steps=9))
    with pytest.raises(OtherRun, match=r'--teacher was "base 1\.3\.0" and is "mine 1"'):
        start(recipe, "mine 1")
    with pytest.raises(OtherRun, match="the train data were 2 patients, 4 slices"):
        start(recipe, train=cases.train.of("a"))
    noted = json.loads((tmp_path / "run" / begun_module.BEGUN).read_text())
    assert noted["recipe"]["learning_rate"] == 0.001


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"recipe": 1, "others": 2, "data": 3}'])
def test_a_run_whose_beginning_is_damaged_is_refused(cases, tmp_path, content):
    (tmp_path / begun_module.BEGUN).write_text(content)
    now = begun(small("fast"), {}, cases.train, cases.validation)
    with pytest.raises(OtherRun, match=r"begun\.json is damaged.*--run"):
        require_same_run(tmp_path, now)
    assert (tmp_path / begun_module.BEGUN).read_text() == content
