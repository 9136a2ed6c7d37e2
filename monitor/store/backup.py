"""Daily backups: whole copies beside the store, each verified before it counts."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from monitor.errors import ExitCode, StoreError
from monitor.store.connection import StoreFullError, connect_reading, translated
from monitor.store.database import LEDGER, Store
from monitor.store.verification import verify

DIRECTORY = "backups"
# A week: damage that nobody noticed for longer is in all of them anyway.
KEPT = 7
_EVERY = timedelta(hours=24)
_STAMP = "%Y%m%dT%H%M%SZ"
_PREFIX = "ledger-"
# What the monitor itself needs beside a backup.
_MARGIN = 16 << 20
# SQLite asks so often (in its own instructions) whether to go on: some hundred times a second.
_ASK_EVERY = 100_000


def backups(directory: Path, now: datetime) -> list[tuple[datetime, Path]]:
    """When each verified backup of a state directory was made, the newest first; those of the future come last."""
    found = []
    for path in (directory / DIRECTORY).glob(f"{_PREFIX}*.db"):
        with contextlib.suppress(ValueError):
            found.append((datetime.strptime(path.stem, f"{_PREFIX}{_STAMP}").replace(tzinfo=UTC), path))
    return sorted(found, key=lambda one: (one[0] <= now, one[0]), reverse=True)


def is_due(directory: Path, now: datetime) -> bool:
    """Whether the newest is a day old."""
    return not any(now - _EVERY < at <= now for at, _ in backups(directory, now)[:1])


def take(store: Store, now: datetime, stopping: threading.Event) -> Path | None:
    """Make one and delete those that are too many; None when `stopping` came first, or the store is only in memory.

    Takes as long as copying and reading all of it; others may use the store meanwhile. Raises StoreError.
    """
    directory = store.directory / DIRECTORY
    unverified = directory / "unverified"
    if store.in_memory:
        return None
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        unverified.unlink(missing_ok=True)
        _check_room(store.directory)
        # Made here, so that it is for this user alone; SQLite takes an empty file.
        os.close(os.open(unverified, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        with translated(store.directory / LEDGER):
            _copy(store.directory / LEDGER, unverified, stopping)
        if stopping.is_set():
            unverified.unlink()
            return None
        finished = directory / f"{_PREFIX}{now:{_STAMP}}.db"
        sync(unverified)
        unverified.replace(finished)
        sync(directory)
        for _, path in backups(store.directory, now)[KEPT:]:
            path.unlink()
    except OSError as error:
        raise StoreError(f"no backup can be made in {directory}: {error.strerror}", ExitCode.TEMPORARY) from error
    return finished


def sync(path: Path) -> None:
    """Have a file, or the names in a directory, on the disk. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _check_room(directory: Path) -> None:
    size = (directory / LEDGER).stat().st_size
    free = shutil.disk_usage(directory).free
    if free < size + _MARGIN:
        raise StoreFullError(f"no room for a backup in {directory}: it takes {size + _MARGIN} bytes, {free} are free")


def _copy(source: Path, target: Path, stopping: threading.Event) -> None:
    """Copy and verify, or stop halfway."""
    try:
        with contextlib.closing(connect_reading(source)) as connection:
            connection.set_progress_handler(stopping.is_set, _ASK_EVERY)
            connection.execute("VACUUM INTO ?", (str(target),))
        with contextlib.closing(connect_reading(target, immutable=True)) as connection:
            connection.set_progress_handler(stopping.is_set, _ASK_EVERY)
            verify(connection)
    except sqlite3.OperationalError:
        if not stopping.is_set():
            raise
