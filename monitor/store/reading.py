"""The store as those see it who only look: whether there is one, and a connection that cannot write."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from monitor.errors import StoreError, UserError
from monitor.rights import ADVICE, is_there, myself
from monitor.store.connection import connect_reading, translated
from monitor.store.opening import check_regular, check_version

LEDGER = "ledger.db"


class NothingStoredError(UserError):
    """No turn has made a store yet."""


@contextlib.contextmanager
def open_reading(directory: Path) -> Iterator[sqlite3.Connection]:
    """A connection that can only read, beside a daemon that writes.

    Raises NothingStoredError if there is none, StoreError, UserError.
    """
    path = directory / LEDGER
    check_stored(directory)
    if not os.access(path, os.R_OK):
        raise StoreError(f"{path} may not be read by {myself()}: {ADVICE}")
    with translated(path):
        check_version(path)
        with contextlib.closing(connect_reading(path)) as connection:
            yield connection


def is_stored(directory: Path) -> bool:
    """Whether there is a store. Raises StoreError for what is no file, UserError where this user may not look.

    An empty file is none: it is what a first start leaves that was killed at once. The next turn makes a store of it.
    """
    path = directory / LEDGER
    if not is_there(path):
        return False
    status = path.stat()
    check_regular(path, status)
    return status.st_size > 0


def check_stored(directory: Path) -> None:
    """Raise NothingStoredError where there is no store, and what `is_stored` raises."""
    if not is_stored(directory):
        raise NothingStoredError(f"nothing is stored in {directory} yet; run `monitor once` or start the daemon")
