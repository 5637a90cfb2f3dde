"""Labelled slices made of phantoms, in the files that the readers know, and small networks."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.phantom import make_phantom
from tests.engine.toy_model import write_manifest, write_toy_model
from trainer import networks
from trainer.networks import encoded_unet, encoder, mobilenet, resunet, unet
from trainer.recipe.recipe import Recipe, load_recipe

LEVELS = 3
"""Of a network with few; a recipe's has five, each like the one before."""


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Path:
    """Slices of six patients in the layout of LiTS and of the Medical Segmentation Decathlon."""
    folder = tmp_path_factory.mktemp("data")
    phantoms = [
        make_phantom(seed, shape=(6, 256, 256), spacing_mm=(30.0, 1.5, 1.5)) for seed in range(6)
    ]
    hu = np.concatenate([phantom.volume.hu for phantom in phantoms])
    label = np.concatenate([phantom.truth.labels for phantom in phantoms])
    volume = np.repeat(np.arange(6), 6)
    np.savez(
        folder / "lits_tumour_slices.npz",
        image=np.rint((np.clip(hu, -40, 160) + 40) / 200 * 255).astype(np.uint8),
        label=label,
        volume=volume,
        slice=np.tile(np.arange(6), 6),
        pixel_mm=np.full(36, 1.5, np.float32),
        window=np.tile(np.float32([-40, 160]), (36, 1)),
    )
    np.savez(
        folder / "msd_liver_slices.npz",
        image=np.clip(hu[:12], 0, 255).astype(np.uint8),
        mask=(label[:12] > 0).astype(np.uint8),
        patient=np.repeat([70, 71], 6),
        slice=np.tile(np.arange(6), 2),
        lits_volume=np.repeat([3, -1], 6),
    )
    return folder


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    """The base recipe, too small to learn anything."""
    recipe = load_recipe("base").model_dump()
    recipe |= {"name": "tiny", "phantoms": 1, "crop": 64, "held_out": 3}
    recipe["working"] |= {"size": 64, "spacing_mm": 7.0}
    recipe["batch"] = {"tumour": 1, "other": 1, "phantom": 1}
    recipe["schedule"] |= {"epoch_steps": 2}
    recipe["members"] = [
        {"network": name, "cycles": [2, 2], "seed": seed}
        for seed, name in enumerate(("unet", "linknet", "fpn"), start=1)
    ]
    return Recipe.model_validate(recipe)


@pytest.fixture(scope="module")
def few_levels() -> Iterator[None]:
    """Networks with fewer levels and blocks: to trace every layer takes most of an export."""
    # Of MobileNet, one block of each row of the paper's table.
    stages = [tuple((t, c, 1, s) for t, c, _, s in rows) for rows in mobilenet.STAGES[:LEVELS]]
    with pytest.MonkeyPatch.context() as patch:
        for each in (unet, resunet):
            patch.setattr(each, "WIDTHS", each.WIDTHS[:LEVELS])
        patch.setattr(networks, "DROPOUTS", networks.DROPOUTS[:LEVELS])
        patch.setattr(unet.UNet.__init__, "__defaults__", (unet.NONE[:LEVELS],))
        patch.setattr(encoder, "WIDTHS", encoder.WIDTHS[: LEVELS - 1])
        patch.setattr(encoder.Encoder, "channels", encoder.Encoder.channels[:LEVELS])
        patch.setattr(mobilenet, "STAGES", tuple(stages))
        patch.setattr(
            mobilenet.MobileNetEncoder, "channels", mobilenet.MobileNetEncoder.channels[:LEVELS]
        )
        patch.setattr(encoded_unet, "WIDTHS", encoded_unet.WIDTHS[-LEVELS:])
        yield


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Path:
    """A model that has not seen lits3 and lits4."""
    folder = write_toy_model(tmp_path_factory.mktemp("models") / "toy")
    write_manifest(folder, evaluation={"held_out_patients": ["lits3", "lits4"]})
    return folder
