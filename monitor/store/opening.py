"""What is looked at before the store's file is opened: that it is ours, for us alone, and of no newer version."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path

from monitor.errors import ExitCode, StoreError
from monitor.rights import ADVICE, myself
from monitor.store.connection import code_of, connect, connect_reading, migrate, refuse_what_is_not_ours
from monitor.store.rows import CorruptStoreError

# Where systemd keeps what DynamicUser= services own: /var/lib/NAME is its symlink to private/NAME.
_SYSTEMD_STATE = Path("/var/lib")


# Others may pass through it to status.json, which is for everybody. They cannot list it, and all else in it is ours.
_MODE = 0o711


def check_directory(directory: Path) -> None:
    """Make it if there is none; one that is there keeps its mode. Raises StoreError for a symlink."""
    try:
        if directory.is_symlink() and not _made_by_systemd(directory):
            sentence = f"the state directory {directory} is a symlink; name the directory itself"
            raise StoreError(sentence, ExitCode.CONFIG)
        if not directory.is_dir():
            directory.mkdir(mode=_MODE, parents=True, exist_ok=True)
            directory.chmod(_MODE)  # whatever the umask is
    except PermissionError as error:
        raise StoreError(f"the state directory {directory} may not be used by {myself()}: {ADVICE}") from error
    except (FileExistsError, NotADirectoryError) as error:
        sentence = f"the state directory {directory} cannot be made, for a file is in its way: {error.strerror}"
        raise StoreError(sentence, ExitCode.CONFIG) from error
    except OSError as error:
        sentence = f"the state directory {directory} cannot be made: {error.strerror}"
        raise StoreError(sentence, ExitCode.TEMPORARY) from error


def _made_by_systemd(link: Path) -> bool:
    return link.parent == _SYSTEMD_STATE and link.readlink() == Path("private", link.name)


def check_file(path: Path) -> None:
    """Make sure that the file is there, regular and for this user alone; -wal and -shm take over its mode."""
    try:
        # Never open and close a store that exists: closing would drop SQLite's own locks in this process.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        status = path.lstat()
        check_regular(path, status)
        if status.st_mode & 0o077:
            with contextlib.suppress(OSError):  # a disk that takes no writes keeps it as it is
                path.chmod(0o600)
    except OSError as error:
        raise StoreError(f"{path} cannot be made: {error.strerror}; check the rights of this user") from error


def check_regular(path: Path, status: os.stat_result) -> None:
    """Raise StoreError for a directory or whatever else has the store's name."""
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path} is not a regular file, so it is no store; move it away", ExitCode.CONFIG)


def check_version(path: Path) -> None:
    """Refuse what is not ours through a connection that cannot write."""
    try:
        with contextlib.closing(connect_reading(path)) as connection:
            refuse_what_is_not_ours(connection, path)
    except sqlite3.OperationalError as error:
        # A first start that was killed halfway: only who may write can undo it, and looks again then.
        if code_of(error) != sqlite3.SQLITE_READONLY:
            raise


def connect_and_migrate(path: Path) -> sqlite3.Connection:
    """A connection to a store of this version. Raises sqlite3.Error, StoreError."""
    connection = connect(path)
    try:
        refuse_what_is_not_ours(connection, path)
        migrate(connection)
    except (sqlite3.Error, StoreError):
        connection.close()
        raise
    return connection


def verify_structure(connection: sqlite3.Connection, path: Path) -> None:
    """Close it and raise CorruptStoreError when SQLite finds something wrong with the file."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        connection.close()
        raise CorruptStoreError(f"{path} is damaged ({found}); the daemon mends it, and so does `monitor once`")
