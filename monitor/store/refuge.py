"""Where the store lives while its disk refuses: a copy of the last good state, written back when it can be."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

from monitor.store.connection import connect, connect_reading, migrate

# A small store never leaves memory; of a large one SQLite puts what goes beyond this into a temporary file elsewhere.
_IN_MEMORY_KIB = 128 * 1024
# What writing the copy back may take beyond its size.
_MARGIN = 4 << 20


def copy_of(
    disk: sqlite3.Connection | None, path: Path, spare: sqlite3.Connection | None = None
) -> tuple[sqlite3.Connection, bool]:
    """A store in memory; whether it holds what the file holds. Raises sqlite3.Error when there is not even memory.

    `disk`: a connection that may still be able to read; `spare`: a copy from before, if nothing can be read any more.
    Without either it is an empty store: the sources fill it, and what is over its limit is told as already over.
    """
    memory = copy_through(disk) or spare
    if memory is not None:
        return memory, True
    for connect_somehow in _WAYS_TO_READ:
        with contextlib.suppress(sqlite3.Error, OSError), contextlib.ExitStack() as opened:
            memory = copy_through(connect_somehow(path, opened))
            if memory is not None:
                return memory, True
    memory = empty()
    migrate(memory)
    return memory, False


def copy_through(source: sqlite3.Connection | None) -> sqlite3.Connection | None:
    """A copy in memory of what a connection can read; None when it cannot, or reads no store."""
    if source is None:
        return None
    memory = empty()
    try:
        source.backup(memory)
        memory.execute("SELECT count(*) FROM turn").fetchone()
    except sqlite3.Error:
        memory.close()
        return None
    return memory


def empty() -> sqlite3.Connection:
    """A database in memory, without tables."""
    memory = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode = MEMORY", "temp_store = MEMORY", f"cache_size = -{_IN_MEMORY_KIB}"):
        memory.execute(f"PRAGMA {pragma}")
    memory.execute("PRAGMA foreign_keys = ON")
    return memory


def write_back(memory: sqlite3.Connection, path: Path) -> sqlite3.Connection | None:
    """Put the copy in place of what the file holds, in one transaction; the connection to the file. None: no room yet.

    Raises sqlite3.Error or StoreError when the disk still refuses.
    """
    (pages,) = memory.execute("PRAGMA page_count").fetchone()
    (size,) = memory.execute("PRAGMA page_size").fetchone()
    space = os.statvfs(path.parent)
    # A try that must fail would fill the disk to the brim each time.
    if space.f_bavail * space.f_frsize < pages * size + _MARGIN:
        return None
    disk = connect(path)
    try:
        memory.backup(disk)
        disk.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error:
        disk.close()
        raise
    return disk


def is_whole(path: Path) -> bool:
    """Whether the file holds a store, not the empty beginnings of one. Raises sqlite3.Error when it cannot be read."""
    disk = connect(path)
    try:
        (tables,) = disk.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    finally:
        disk.close()
    return bool(tables)


def _beside_a_writer(path: Path, opened: contextlib.ExitStack) -> sqlite3.Connection | None:
    return opened.enter_context(contextlib.closing(connect_reading(path)))


def _without_a_log(path: Path, opened: contextlib.ExitStack) -> sqlite3.Connection | None:
    # `immutable` does not look at the write-ahead log, so it must hold nothing.
    log = _log_of(path)
    if log.exists() and log.stat().st_size:
        return None
    return opened.enter_context(contextlib.closing(connect_reading(path, immutable=True)))


def _alone(path: Path, opened: contextlib.ExitStack) -> sqlite3.Connection:
    """Without the shared memory beside the file, which cannot be made where nothing can be written."""
    connection = opened.enter_context(contextlib.closing(sqlite3.connect(path, isolation_level=None)))
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def _elsewhere(path: Path, opened: contextlib.ExitStack) -> sqlite3.Connection:
    """File and log copied to where something can be written."""
    directory = Path(opened.enter_context(tempfile.TemporaryDirectory()))
    for file in (path, _log_of(path)):
        if file.exists():
            shutil.copyfile(file, directory / file.name)
    return opened.enter_context(contextlib.closing(sqlite3.connect(directory / path.name, isolation_level=None)))


def _log_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


# How a file may still be read, the gentlest way first.
_WAYS_TO_READ = (_beside_a_writer, _without_a_log, _alone, _elsewhere)
