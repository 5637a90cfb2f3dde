"""A FUSE file system over a `Disk`; as a program, one whose power can be cut.

    python -m tests.power_cut.mount FOLDER

Each line on standard input is JSON, and answered by a line on standard output:

    {"cut": {…}, "after": 7}    cuts the power at the seventh change from now on: whatever is asked
                                for from then on fails with EIO. Answered once it is cut.
    {"cut": {…}, "after": 0}    cuts it now, also where a later cut was waited for.
    {"restore": true}           serves what was left.
    {"slow": 0.5}               lets each sync take so many seconds; not answered.
"""

import errno
import json
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import PurePosixPath
from typing import Any

import mfusepy

from tests.power_cut.disk import Cut, Disk, File, Folder, Node

ROOM = 1 << 30


class PowerCutDisk(mfusepy.Operations):
    """Answers the kernel from a `Disk`."""

    use_ns = True

    def __init__(self) -> None:
        self._disk: Disk | None = Disk()
        self._left = self._disk.root
        self._lock = threading.Lock()
        self._handles: dict[int, Node] = {}
        self._numbers = count(1)
        self._planned: tuple[Cut, int] | None = None
        self.when_cut: Callable[[], None] = lambda: None
        self.sync_s = 0.0

    def cut(self, cut: Cut, after: int) -> None:
        """Leave what a power cut leaves at a change from now on, or now; then fail with EIO."""
        with self._lock:
            if self._disk is None:  # a cut that was waited for came first
                return
            self._planned = cut, after
            if not after:
                self._fail()

    def restore(self) -> None:
        """Serve what was left."""
        with self._lock:
            self._disk = Disk(self._left)

    @contextmanager
    def _change(self) -> Iterator[Disk]:
        """Lock the disk for one change, unless the power is cut before it."""
        with self._lock:
            if self._planned:
                cut, after = self._planned
                self._planned = cut, after - 1
                if after <= 1:
                    self._fail()
            yield self._now

    def _fail(self) -> None:
        assert self._planned is not None
        self._left, self._disk = self._now.after(self._planned[0]), None
        self._planned = None
        self._handles.clear()
        self.when_cut()

    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, Any]:
        with self._lock:
            return _attributes(self._node(path, fh))

    def readdir(self, path: str, fh: int) -> list[tuple[str, dict[str, Any], int]]:
        with self._lock:
            folder = self._folder(path, fh)
            named = {".": folder, "..": folder, **folder.names}
            # With its number: the C library leaves out what has none.
            return [(name, _attributes(node), 0) for name, node in named.items()]

    def opendir(self, path: str) -> int:
        with self._lock:
            return self._opened(self._folder(path))

    def open(self, path: str, flags: int) -> int:
        with self._lock:
            return self._opened(self._node(path))

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        with self._change():
            return self._opened(self._add(path, File(stat.S_IMODE(mode))))

    def mkdir(self, path: str, mode: int) -> int:
        with self._change():
            self._add(path, Folder(stat.S_IMODE(mode)))
        return 0

    def unlink(self, path: str) -> int:
        with self._change() as disk:
            folder, name = self._place(path)
            disk.rename((folder, name, None))
            folder.changed_ns = time.time_ns()
        return 0

    def rmdir(self, path: str) -> int:
        with self._lock:
            if self._folder(path).names:
                raise mfusepy.FuseOSError(errno.ENOTEMPTY)
        return self.unlink(path)

    def rename(self, old: str, new: str) -> int:
        with self._change() as disk:
            node = self._node(old)
            (source, before), (target, after) = self._place(old), self._place(new)
            disk.rename((source, before, None), (target, after, node))
            source.changed_ns = target.changed_ns = time.time_ns()
        return 0

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        with self._lock:
            return bytes(self._file(path, fh).data[offset : offset + size])

    def write(self, path: str | None, data: bytes, offset: int, fh: int) -> int:
        with self._change():
            file = self._file(path, fh)
            file.write(offset, data)
            file.changed_ns = time.time_ns()
        return len(data)

    def truncate(self, path: str | None, length: int, fh: int | None = None) -> int:
        with self._change():
            file = self._file(path, fh)
            file.cut_to(length)
            file.changed_ns = time.time_ns()
        return 0

    def fsync(self, path: str | None, datasync: int, fh: int) -> int:
        time.sleep(self.sync_s)
        with self._change():
            self._file(path, fh).sync()
        return 0

    def fsyncdir(self, path: str | None, datasync: int, fh: int) -> int:
        time.sleep(self.sync_s)
        with self._change() as disk:
            disk.sync(self._folder(path, fh))
        return 0

    def chmod(self, path: str | None, mode: int, fh: int | None = None) -> int:
        with self._lock:
            self._node(path, fh).mode = stat.S_IMODE(mode)
        return 0

    def utimens(self, path: str | None, times: tuple[int, int] | None = None) -> int:
        with self._lock:
            self._node(path).changed_ns = times[1] if times else time.time_ns()
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        blocks = ROOM // 4096
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": blocks} | dict.fromkeys(
            ("f_bfree", "f_bavail"), blocks
        )

    def release(self, path: str | None, fh: int) -> int:
        self._handles.pop(fh, None)
        return 0

    releasedir = release

    @property
    def _now(self) -> Disk:
        if self._disk is None:
            raise mfusepy.FuseOSError(errno.EIO)
        return self._disk

    def _opened(self, node: Node) -> int:
        number = next(self._numbers)
        self._handles[number] = node
        return number

    def _add(self, path: str, node: Node) -> Node:
        folder, name = self._place(path)
        node.changed_ns = folder.changed_ns = time.time_ns()
        self._now.rename((folder, name, node))
        return node

    def _place(self, path: str) -> tuple[Folder, str]:
        place = PurePosixPath(path)
        return self._folder(str(place.parent)), place.name

    def _node(self, path: str | None, fh: int | None = None) -> Node:
        root: Node = self._now.root
        if fh is not None and fh in self._handles:
            return self._handles[fh]
        if path is None:  # of a file that was removed while it was open, before the cut
            raise mfusepy.FuseOSError(errno.EIO)
        node = root
        for name in PurePosixPath(path).parts[1:]:
            if not isinstance(node, Folder) or name not in node.names:
                raise mfusepy.FuseOSError(errno.ENOENT)
            node = node.names[name]
        return node

    def _file(self, path: str | None, fh: int | None = None) -> File:
        node = self._node(path, fh)
        if not isinstance(node, File):
            raise mfusepy.FuseOSError(errno.EISDIR)
        return node

    def _folder(self, path: str | None, fh: int | None = None) -> Folder:
        node = self._node(path, fh)
        if not isinstance(node, Folder):
            raise mfusepy.FuseOSError(errno.ENOTDIR)
        return node


def _attributes(node: Node) -> dict[str, Any]:
    is_folder = isinstance(node, Folder)
    times = dict.fromkeys(("st_mtime", "st_ctime", "st_atime"), node.changed_ns)
    return times | {
        "st_mode": node.mode | (stat.S_IFDIR if is_folder else stat.S_IFREG),
        "st_nlink": 2 if is_folder else 1,
        "st_size": 0 if isinstance(node, Folder) else len(node.data),
        "st_ino": node.number,
    }


def obey(disk: PowerCutDisk) -> None:
    """Cut and restore as the lines on standard input say."""
    disk.when_cut = partial(print, "cut", flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        if "cut" in wanted:
            disk.cut(Cut(**wanted["cut"]), wanted["after"])
        elif "slow" in wanted:
            disk.sync_s = wanted["slow"]
        else:
            disk.restore()
            print("restored", flush=True)


def main() -> None:
    disk = PowerCutDisk()
    threading.Thread(target=obey, args=(disk,), daemon=True).start()
    # Nothing is remembered by the kernel: after a cut it would show what was lost.
    now = {"attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0}
    mfusepy.FUSE(disk, sys.argv[1], foreground=True, hard_remove=True, use_ino=True, **now)


if __name__ == "__main__":
    main()
