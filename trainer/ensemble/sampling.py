"""Slices to a grid that a member sees, and maps of it back."""

from typing import NamedTuple

from torch import Tensor

from trainer.datasets.cases.interpolation import axis_mm, interpolation


class Sampling(NamedTuple):
    """Matrices between the pixels of slices and those of a square grid.

    (size, length) each where the grid lies in the middle of every slice, or (n, 1, size, length)
    where each slice has a place of its own.
    """

    to_rows: Tensor
    to_columns: Tensor
    from_rows: Tensor
    from_columns: Tensor

    def down(self, slices: Tensor) -> Tensor:
        """Return slices (…, rows, columns) on the grid, 0 where it lies outside of them."""
        if self.to_rows.dim() == 2:
            return self.to_rows @ slices @ self.to_columns.T
        return (self.to_rows @ slices[:, None] @ self.to_columns.mT)[:, 0]

    def up(self, maps: Tensor) -> Tensor:
        """Return maps (…, n, planes, size, size) of the grid on the slices, 0 where it ends."""
        return self.from_rows @ maps @ self.from_columns.mT


def sampling(
    shape: tuple[int, int],
    spacing_mm: Tensor,
    size: int,
    step_mm: Tensor,
    middle_mm: Tensor | None = None,
) -> Sampling:
    """Return the matrices between slices and a grid.

    Args:
        shape: rows and columns of the slices.
        spacing_mm: (2,) between rows, between columns.
        size: rows and columns of the grid.
        step_mm: () or (n,) distance of its pixels, the same along both axes: members learnt from
            square pixels.
        middle_mm: (n, 2) of the grid, from the middle of the slice; None: the same.
    """
    places = (None, None) if middle_mm is None else middle_mm.unbind(dim=-1)
    rows, columns = (
        _matrices(length, spacing, size, step_mm, place)
        for length, spacing, place in zip(shape, spacing_mm.unbind(), places, strict=True)
    )
    return Sampling(rows[0], columns[0], rows[1], columns[1])


def _matrices(
    length: int, spacing_mm: Tensor, size: int, step_mm: Tensor, middle_mm: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the matrices from an axis of the slice to the grid and back."""
    ratio = step_mm / spacing_mm
    targets = axis_mm(size, ratio)
    # The way back has the ratio turned round: there the grid is the source.
    back = axis_mm(length, 1 / ratio)
    if middle_mm is None:
        return interpolation(targets, length, ratio), interpolation(back, size, 1 / ratio)
    targets = targets + (middle_mm / spacing_mm)[:, None]
    back = back - (middle_mm / step_mm)[:, None]
    down, up = interpolation(targets, length, ratio), interpolation(back, size, 1 / ratio)
    return down[:, None], up[:, None]
