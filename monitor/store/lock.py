"""One process per state directory: a file lock held for life; the kernel lets go of it however the process ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
from pathlib import Path

from monitor.errors import AlreadyRunningError, ExitCode, StoreError
from monitor.rights import ADVICE, myself, user_name
from monitor.store import ofd, process

_NAME = "lock"
_OF_THE_DISK = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))


def acquire(directory: Path) -> int:
    """Take the lock and return the open file that holds it; closing that lets go.

    Raises AlreadyRunningError at once when another holds it, StoreError when the lock is no regular file.
    """
    path = directory / _NAME
    # Not blocking: a FIFO put there must not make us wait for a writer.
    flags = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    read_only = False
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    except OSError as error:
        read_only = error.errno == errno.EROFS
        if not read_only or not path.is_file():
            raise _refused(path, error) from error
        file = os.open(path, os.O_RDONLY | flags)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise _refused(path, None)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # And so that `status` can ask without taking anything: flock(2) has no such question.
        if not read_only:
            ofd.hold(file)
    except BlockingIOError as error:
        os.close(file)
        raise AlreadyRunningError(
            f"another monitor holds {directory}{holder(directory)}; stop it, or give this one its own --state-dir"
        ) from error
    if not read_only:
        _sign(file)
    return file


def holder(directory: Path) -> str:
    """Which process holds the lock, to add to a sentence; nothing where that cannot be told."""
    try:
        told = json.loads((directory / _NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return f" (process {told['pid']})" if process.is_alive(told) else ""


def _sign(file: int) -> None:
    """Leave word of who holds it: for people, nothing goes by it."""
    with contextlib.suppress(OSError):  # a full disk is no reason not to watch
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(process.this_process()).encode(), 0)


def _refused(path: Path, error: OSError | None) -> StoreError:
    if error is not None and error.errno in _OF_THE_DISK:
        return StoreError(f"{path} cannot be made: {error.strerror}; mend the disk", ExitCode.TEMPORARY)
    if isinstance(error, PermissionError):
        return StoreError(_not_allowed(path))
    if _is_no_file(path):
        return StoreError(f"{path} cannot be used as the lock: expected a regular file; remove it", ExitCode.CONFIG)
    # Nothing that makes it worth removing: it may be the lock of a daemon that runs.
    return StoreError(f"{path} cannot be opened: {error.strerror if error else 'it has changed'}", ExitCode.TEMPORARY)


def _not_allowed(path: Path) -> str:
    directory = path.parent
    try:
        ours, owner = directory.stat().st_uid == os.geteuid(), path.stat().st_uid
    except OSError:
        ours, owner = False, os.geteuid()
    if ours and owner != os.geteuid():  # root has done a `once` there, say
        give_back = f"sudo chown -R {myself()} {directory}"
        return f"{path} belongs to {user_name(owner)} and may not be used by {myself()}; run: {give_back}"
    return f"the state directory {directory} may not be used by {myself()}: {ADVICE}"


def _is_no_file(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
