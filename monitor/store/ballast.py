"""A file that is worth nothing but its space: given up when the disk is full, so that this can still be stored."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Room for the turn that finds the disk full: one that fires both alarms of 200 budgets was measured to write 0.7 MiB.
SIZE = 1 << 20
_NAME = "ballast"


class Ballast:
    """The file of one state directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _NAME

    def give_up(self) -> bool:
        """Delete it; whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def is_kept(self) -> bool:
        """Have it, or make it where that leaves as much space again. False: the disk is as good as full."""
        try:
            if self._path.lstat().st_size == SIZE:
                return True
        except OSError:
            pass
        try:
            space = os.statvfs(self._path.parent)
            if space.f_bavail * space.f_frsize < 2 * SIZE:
                return False
            self._make()
        except OSError:
            with contextlib.suppress(OSError):
                self._path.unlink()
            return False
        return True

    def _make(self) -> None:
        # A symlink or a FIFO in its place is removed, never followed.
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "wb") as stream:
            # Not zeros: a file system that compresses would keep no space for them.
            stream.write(os.urandom(SIZE))
            stream.flush()
            os.fsync(file)
