"""Train a small ensemble in two processes, as several GPUs do; every process says what it has."""

import sys
from pathlib import Path

import numpy as np

from engine.phantom import make_phantom
from trainer.datasets.cases.patient_split import Split
from trainer.datasets.cases.slices import Slices
from trainer.recipe.recipe import load_recipe
from trainer.training.ensemble import Cases, train_ensemble
from trainer.training.machine import Machine, is_first

RECIPE = (
    "crop=64",
    "working.size=64",
    "working.spacing_mm=6.0",
    "schedule.epoch_steps=2",
    'members=[{network="unet", cycles=[3], seed=1}, {network="unet", cycles=[2], seed=2}]',
)


def main(folder: Path) -> None:
    phantom = make_phantom(1, shape=(6, 64, 64), spacing_mm=(30.0, 6.0, 6.0))
    patient = np.repeat(["a", "b", "c"], 2)
    one = Slices(phantom.volume.hu, phantom.truth.labels, patient, np.full(6, 6.0, np.float32))
    cases = Cases(Split(("a", "b"), ("c",)), one.of("ab"), one.of("c"), one.of("c"))
    machine = Machine(accelerator="cpu", devices=2, precision="32", workers=0, quiet=True)
    members = train_ensemble(load_recipe("unet-slices", RECIPE), cases, folder, machine)
    every = [each.detach().double() for one in members for each in one.parameters()]
    weights = sum(float(each.sum()) for each in every)
    (folder / f"{'first' if is_first() else 'second'}.txt").write_text(repr(weights))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
