"""One process per state directory: a file lock held for life; the kernel lets go of it however the process ends."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

from monitor.errors import AlreadyRunningError, ExitCode, StoreError
from monitor.store import ofd

_NAME = "lock"


def acquire(directory: Path) -> int:
    """Take the lock and return the open file that holds it; closing that lets go.

    Raises AlreadyRunningError at once when another holds it, StoreError when the lock is no regular file.
    """
    path = directory / _NAME
    try:
        # Not blocking: a FIFO put there must not make us wait for a writer.
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise _refused(path) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise _refused(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # And so that `status` can ask without taking anything: flock(2) has no such question.
        ofd.hold(file)
    except BlockingIOError as error:
        os.close(file)
        raise AlreadyRunningError(
            f"another monitor holds {directory}; stop it, or give this one its own --state-dir"
        ) from error
    return file


def _refused(path: Path) -> StoreError:
    return StoreError(
        f"{path} cannot be used as the lock: expected a regular file that this user may write; remove it",
        ExitCode.CONFIG,
    )
