"""Batches, made on the device that learns, or by worker processes beside it.

A batch is made of nothing but its number: whoever makes it, and whenever, it is the same one. On
another kind of device it is another one, for each has random numbers of its own.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from trainer.batches.augmentation import augment
from trainer.batches.sampling import Sampler as SliceSampler
from trainer.batches.slice_store import HOST, Shown, store_slices
from trainer.datasets.cases.interpolation import hat_reach
from trainer.datasets.cases.neighbours import Neighbours
from trainer.datasets.cases.slices import Slices
from trainer.recipe.recipe import Augmentation, LiverGrid, Recipe
from trainer.synthetic.slab import Beside

VALIDATION_BATCH = 8

Batch = tuple[Tensor, Tensor]
"""Float32 HU, (n, size, size) or with neighbours (n, s, size, size), and uint8 targets."""


class Batches(Dataset[Batch]):
    """Augmented batches by their number; the same one in every run of the same recipe."""

    def __init__(
        self, recipe: Recipe, seed: int, slices: Slices, place: torch.device = HOST
    ) -> None:
        self._recipe = recipe
        self._seed = seed
        self._neighbours = Neighbours(slices)
        self._sampler = SliceSampler(slices, recipe.batch)
        self._store = store_slices(slices, recipe.working, place)
        self._reach = reach_of(slices, recipe)

    def __getitem__(self, number: int) -> Batch:
        chosen = self._sampler.draw(np.random.default_rng((self._seed, number)))
        # A prime that exceeds every number of steps, so that no two members share a batch's chance.
        random = torch.Generator(self._store.place).manual_seed(self._seed * 1_000_003 + number)
        recipe, count = self._recipe, self._recipe.working.neighbours
        around = self._neighbours.around(chosen, count) if count else chosen
        beside = None
        if recipe.augmentation.synthetic_tumour and count:
            beside = self._beside(around)
        shown = self._store.shown(chosen, around)
        return prepare(shown, recipe, recipe.augmentation, recipe.crop, random, self._reach, beside)

    def _beside(self, around: NDArray[np.intp]) -> Beside:
        """Return what planting has to know of neighbours."""
        away_mm = torch.from_numpy(self._neighbours.away_mm(around))
        return Beside(self._store.target_of(around), away_mm.to(self._store.place))


class Steps(Sampler[int]):
    """The numbers of an epoch's batches, from the step that training has come to."""

    def __init__(self, steps: int, done: Callable[[], int], place: tuple[int, int]) -> None:
        self._steps = steps
        self._done = done
        self._rank, self._world = place

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[int]:
        # Asked at every epoch, as a resumed run begins in the middle.
        start = self._done()
        numbers = range(start * self._world + self._rank, (start + self._steps) * self._world)
        # Every process takes each `world`-th batch from its own rank on: together all, none twice.
        return iter(numbers[:: self._world])


class Looks(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Slices as they were scanned, on the working grid, each with the number of its patient."""

    def __init__(self, recipe: Recipe, slices: Slices, place: torch.device = HOST) -> None:
        self._recipe = recipe
        self._count = len(slices)
        self._neighbours = Neighbours(slices)
        self._store = store_slices(slices, recipe.working, place)
        self._reach = reach_of(slices, recipe)
        self.patients, numbers = np.unique(slices.patient, return_inverse=True)
        self._numbers = torch.from_numpy(numbers).to(place)

    def __len__(self) -> int:
        return -(-self._count // VALIDATION_BATCH)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        chosen = np.arange(self._count)[number * VALIDATION_BATCH :][:VALIDATION_BATCH]
        # Whatever is drawn, `as_scanned` multiplies it by 0.
        recipe, random = self._recipe, torch.Generator(self._store.place).manual_seed(0)
        count = recipe.working.neighbours
        shown = self._store.shown(
            chosen, self._neighbours.around(chosen, count) if count else chosen
        )
        hu, target = prepare(
            shown, recipe, as_scanned(recipe), recipe.working.size, random, self._reach
        )
        return hu, target, self._numbers[chosen]


def prepare(
    shown: Shown,
    recipe: Recipe,
    changes: Augmentation,
    size: int,
    random: torch.Generator,
    reach: int = 0,
    beside: Beside | None = None,
) -> Batch:
    """Return slices on `size` pixels of the working grid, changed at random, as `augment` does."""
    return augment(
        shown.hu,
        shown.target,
        shown.pixel_mm,
        changes,
        size=size,
        grid_size=recipe.working.size,
        reach=reach,
        spacing_mm=recipe.working.spacing_mm,
        margin_mm=grid.margin_mm if isinstance(grid := recipe.working, LiverGrid) else None,
        floor_hu=recipe.working.clip_hu[0],
        ceiling_hu=recipe.working.clip_hu[1],
        random=random,
        beside=beside,
    )


def reach_of(slices: Slices, recipe: Recipe) -> int:
    """Return over how many pixels of a slice the working grid's hats extend to either side."""
    working, unknown_mm = recipe.working, recipe.augmentation.unknown_pixel_mm
    finest_mm = np.where(np.isnan(slices.pixel_mm), unknown_mm, slices.pixel_mm).min(initial=np.inf)
    # Where a field of view does not fit in the grid, the ratio follows from the sizes alone.
    return hat_reach(max(working.spacing_mm / finest_mm, slices.side / working.size))


def as_scanned(recipe: Recipe) -> Augmentation:
    """Return an augmentation that changes nothing."""
    return Augmentation(
        rotation_deg=0,
        scale=0,
        scale_unknown=0,
        unknown_pixel_mm=recipe.augmentation.unknown_pixel_mm,
        shift_mm=0,
        elastic_mm=0,
        gain=0,
        shift_hu=0,
        noise_hu=0,
        soften=False,
    )


def loader(
    data: Dataset[Batch] | Looks, workers: int, order: Sampler[int] | None = None
) -> DataLoader[Batch]:
    """Return a loader of whole batches, made by workers ahead of time, or without any when asked.

    Workers make batches on the host: only there do `data` without a device of their own belong.
    """
    return DataLoader(
        data,  # type: ignore[arg-type]
        # The data set yields whole batches already.
        batch_size=None,
        sampler=order,
        num_workers=workers,
        # Workers hold all slices, and would otherwise be started anew at every epoch.
        persistent_workers=workers > 0,
        # torch refuses a number here where there are no workers.
        prefetch_factor=4 if workers else None,
        # What was made without workers may lie on the GPU already, which cannot be pinned.
        pin_memory=workers > 0 and torch.cuda.is_available(),
    )
