"""Makes batches of `base` by whatever trainer is on the path: milliseconds of the processor.

It must run with the trainer as it was before, so it imports nothing of the tests. `batched tumours`
are those of today's path for a GPU, on the processor; before there was one, the host's.
"""

import json
import sys
import time

import numpy as np
import torch

from engine.phantom import make_phantom
from trainer.batches.data_loader import Batches
from trainer.datasets.cases.slices import Slices
from trainer.recipe.recipe import load_recipe

BATCHES, SIDE = 3, 256
CHANGES = {"base": (), "tumours": ("augmentation.synthetic_tumour=0.3",)}


def main():
    """Print the time of a batch of each kind as JSON."""
    torch.set_num_threads(1)
    made = make_phantom(1, shape=(24, SIDE, SIDE), spacing_mm=(10.0, 1.5, 1.5))
    patient, pixel_mm = np.repeat(list("abcdef"), 4), np.full(24, 1.5, np.float32)
    slices = Slices(made.volume.hu, made.truth.labels, patient, pixel_mm)
    print(json.dumps({name: milliseconds(name, slices) for name in sys.argv[1:]}))


def milliseconds(name, slices):
    """Return the time of one batch."""
    if name == "batched tumours":
        plant_batched()
        name = "tumours"
    batches = Batches(load_recipe("base", CHANGES[name]), 1, slices)
    batches[0]
    begun = time.process_time()
    for number in range(BATCHES):
        batches[number]
    return 1000 * (time.process_time() - begun) / BATCHES


def plant_batched():
    """Plant as on a GPU from now on, where the trainer can."""
    try:
        from trainer.synthetic import batch
        from trainer.synthetic.batch_planting import draw_plan, plant_planned
    except ImportError:
        return

    from trainer.batches import augmentation

    def plant(hu, target, pixel_mm, part, random, beside):
        plan = draw_plan(len(hu), part, batch._own_chance(random))
        return plant_planned(hu, target, pixel_mm, plan, random, beside)

    augmentation.plant_some = plant


if __name__ == "__main__":
    main()
