"""A disk in memory that tells what was synced from what was only written.

POSIX promises no more than this: the content of a file is on the disk once the file was synced, and
its name once the folder that holds it was. Real file systems keep more than that, each another
part: `Cut` chooses how much.
"""

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

PAGE = 4096
"""Bytes that a disk writes whole or not at all."""

NUMBERS = itertools.count(1)
"""Inode numbers: none is given twice."""

Kept = Literal["none", "some", "all"]


@dataclass(frozen=True)
class Cut:
    """How much of what was never synced a power cut leaves."""

    names: Kept
    """Files and folders made, renamed or removed: `some` leaves all up to a random moment."""
    content: Kept
    """Written bytes: `some` leaves random pages, in no order."""
    seed: int = 0


@dataclass(eq=False)
class File:
    """One file: its bytes now, those of the last sync, and the writes since then."""

    mode: int
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    writes: list[tuple[int, bytes]] = field(default_factory=list)
    """(offset, bytes); a negative offset cuts the file to -offset - 1 bytes."""
    changed_ns: int = 0
    number: int = field(default_factory=lambda: next(NUMBERS))

    def write(self, offset: int, piece: bytes) -> None:
        self.writes.append((offset, piece))
        _apply(self.data, offset, piece)

    def cut_to(self, length: int) -> None:
        self.write(-length - 1, b"")

    def sync(self) -> None:
        self.synced = bytes(self.data)
        self.writes.clear()

    def after(self, content: Kept, chance: random.Random) -> bytes:
        """Return the bytes that are left after a power cut."""
        if content == "all":
            return bytes(self.data)
        left = bytearray(self.synced)
        if content == "some":
            for offset, piece in self.writes:
                for page in _pages(offset, piece):
                    if chance.random() < 0.5:
                        _apply(left, *page)
        return bytes(left)


@dataclass(eq=False)
class Folder:
    """One folder: its names now, and those of the last sync."""

    mode: int
    names: "dict[str, File | Folder]" = field(default_factory=dict)
    synced: "dict[str, File | Folder]" = field(default_factory=dict)
    changed_ns: int = 0
    number: int = field(default_factory=lambda: next(NUMBERS))


Node = File | Folder


@dataclass(frozen=True)
class Naming:
    """One change of names, which a file system makes whole or not at all: a rename is two names."""

    changes: tuple[tuple[Folder, str, Node | None], ...]

    @property
    def keys(self) -> set[tuple[int, str]]:
        return {(id(folder), name) for folder, name, _ in self.changes}

    def touches(self, folder: Folder) -> bool:
        return any(each is folder for each, _, _ in self.changes)

    def apply(self, names_of: "Callable[[Folder], dict[str, Node]]") -> None:
        for folder, name, node in self.changes:
            if node is None:
                names_of(folder).pop(name, None)
            else:
                names_of(folder)[name] = node


class Disk:
    """A tree of folders and files, and the changes of names that were never synced."""

    def __init__(self, root: Folder | None = None) -> None:
        self.root = root or Folder(0o755)
        self._pending: list[Naming] = []

    def rename(self, *changes: tuple[Folder, str, Node | None]) -> None:
        """Give names (or take them: None) in one step."""
        naming = Naming(changes)
        naming.apply(lambda folder: folder.names)
        self._pending.append(naming)

    def sync(self, folder: Folder) -> None:
        """Keep the names of a folder, with earlier changes of the same names elsewhere."""
        kept: list[Naming] = []
        keys: set[tuple[int, str]] = set()
        for naming in reversed(self._pending):
            if naming.touches(folder) or naming.keys & keys:
                kept.append(naming)
                keys |= naming.keys
        for naming in reversed(kept):
            naming.apply(lambda folder: folder.synced)
        self._pending = [naming for naming in self._pending if naming not in kept]

    def after(self, cut: Cut) -> Folder:
        """Return the tree that a power cut leaves at this moment; all of it is on the disk."""
        chance = random.Random(cut.seed)
        names: dict[int, dict[str, Node]] = {}

        def names_of(folder: Folder) -> dict[str, Node]:
            return names.setdefault(id(folder), dict(folder.synced))

        for naming in self._pending[: _many(cut.names, len(self._pending), chance)]:
            naming.apply(names_of)
        return _kept(self.root, names_of, cut.content, chance)


def _kept(
    folder: Folder,
    names_of: Callable[[Folder], dict[str, Node]],
    content: Kept,
    chance: random.Random,
) -> Folder:
    left = Folder(folder.mode, changed_ns=folder.changed_ns)
    for name, node in sorted(names_of(folder).items()):
        if isinstance(node, Folder):
            left.names[name] = _kept(node, names_of, content, chance)
        else:
            data = node.after(content, chance)
            left.names[name] = File(node.mode, bytearray(data), data, changed_ns=node.changed_ns)
    left.synced = dict(left.names)
    return left


def _many(names: Kept, changes: int, chance: random.Random) -> int:
    return {"none": 0, "some": chance.randint(0, changes), "all": changes}[names]


def _pages(offset: int, piece: bytes) -> Iterable[tuple[int, bytes]]:
    """Return the parts of a write that lie in one page each; a cut of the length is one part."""
    if offset < 0:
        return [(offset, piece)]
    bounds = [offset, *range((offset // PAGE + 1) * PAGE, offset + len(piece), PAGE)]
    ends = [*bounds[1:], offset + len(piece)]
    return [(b, piece[b - offset : e - offset]) for b, e in zip(bounds, ends, strict=True)]


def _apply(data: bytearray, offset: int, piece: bytes) -> None:
    length = -offset - 1 if offset < 0 else max(len(data), offset + len(piece))
    if length < len(data):
        del data[length:]
    data.extend(bytes(length - len(data)))
    if piece:
        data[offset : offset + len(piece)] = piece
