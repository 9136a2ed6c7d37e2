"""One process per state directory: a file lock held for life; the kernel lets go of it however the process ends."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from pathlib import Path

from monitor.errors import AlreadyRunningError, ExitCode, StoreError

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
        _lock(file, directory)
    except AlreadyRunningError:
        os.close(file)
        raise
    return file


def is_held(directory: Path) -> bool | None:
    """Whether a process holds the lock now, None if this user may not know; never waits, never creates it."""
    try:
        file = os.open(directory / _NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        # Shared, so that two askers do not see each other; a starting daemon that meets one tries again.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)


def _lock(file: int, directory: Path) -> None:
    for patience in (True, False):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if not patience:
                raise AlreadyRunningError(
                    f"another monitor holds {directory}; stop it, or give this one its own --state-dir"
                ) from error
            threading.Event().wait(0.1)  # `is_held` of a passing `status` lasts microseconds
        else:
            return


def _refused(path: Path) -> StoreError:
    return StoreError(
        f"{path} cannot be used as the lock: expected a regular file that this user may write; remove it",
        ExitCode.CONFIG,
    )
