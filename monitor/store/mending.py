"""A damaged store must not keep the monitor from working: it is set aside, and the newest good backup takes its place.

Without one a new store is begun. Either way the sources are read again, and people are told.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from monitor.clock import from_text
from monitor.errors import StoreError
from monitor.store import facts, mended, refuge
from monitor.store.backup import backups, sync
from monitor.store.connection import connect, connect_reading, migrate, refuse_what_is_not_ours
from monitor.store.database import LEDGER, Store, hold
from monitor.store.mended import Mended, What
from monitor.store.rows import CorruptStoreError
from monitor.store.verification import verify

log = logging.getLogger(__name__)

# Charges older than two months are verified when they are read; the rest decides what is said today.
_CHARGES_LOOKED_AT = timedelta(days=62)
# Damaged stores that are kept: the newest. A disk that dies would fill itself with them.
_KEPT_ASIDE = 7
_ASIDE = f"{LEDGER}.corrupt-"
# What will take the store's place; whole and on the disk as soon as it has this name.
_READY = f"{LEDGER}.restored"
_SUFFIXES = ("-journal", "-wal", "-shm", "")


def open_mended(directory: Path, now: datetime) -> Store:
    """Like `open_store`, after a look at every row that counts now; mended, or in memory, when it has to be.

    What is found wrong is noted in the store (`monitor.store.mended`).
    """
    store = hold(directory)
    try:
        _open(store, now)
    except BaseException:
        store.close()
        raise
    return store


def note_forgotten(store: Store, now: datetime) -> None:
    """What was done in memory is not in the store, which counts as one that has gone back. Raises StoreError."""
    with store.read() as connection:
        stored = facts.last_turn(connection)
    _note(store, Mended(now, What.WENT_BACK, state_of=stored))
    store.forgot = False


def mend(store: Store, now: datetime) -> bool:
    """Look at all of a store in which something was not as it was written; mend it if that is so. Whether it was.

    For a running program: what uses the store waits meanwhile and finds the mended one. Raises StoreError.
    """
    if not store.in_memory:
        with store.exchange():
            pass  # a new connection looks at what is on the disk, not at what it remembers of it
    try:
        with store.read() as connection:
            verify(connection)
    except StoreError as error:
        if not _is_damage(error):
            raise
        _replace(store, now, What.DAMAGED, error)
        return True
    if store.in_memory:  # then it is the file that is damaged, and what is in memory takes its place
        with store.read() as memory:
            _prepare(store.directory, memory.backup)
        with store.exchange():
            _swap(store.directory, now)
            store.open()
        return False
    return False  # what was wrong was not on the disk


def _open(store: Store, now: datetime) -> None:
    if (store.directory / _READY).exists():
        # An earlier start was killed while it did this.
        with contextlib.suppress(OSError):
            _swap(store.directory, now)
    was_there = (store.directory / LEDGER).exists()
    if not was_there and backups(store.directory, now):
        return _replace(store, now, What.MISSING, StoreError("there was none"))
    try:
        store.open()
    except StoreError as error:
        if _is_damage(error):
            return _replace(store, now, What.DAMAGED, error)
        if not store.take_refuge(error):
            raise
    try:
        with store.read() as connection:
            verify(connection, now - _CHARGES_LOOKED_AT)
    except StoreError as error:
        if not _is_damage(error):
            raise
        return _replace(store, now, What.DAMAGED, error)
    return _look_back(store, now, was_there=was_there)


def _look_back(store: Store, now: datetime, *, was_there: bool) -> None:
    """A store that is older than what was published of it has lost its newest part: a log was deleted, say."""
    published = _published_turn(store.directory)
    if published is None:
        return
    with store.read() as connection:
        stored = facts.last_turn(connection)
        known = mended.read(connection)
    if known is not None or (stored is not None and stored >= published):
        return
    log.critical("The store has lost what came after its last turn. stored=%s published=%s", stored, published)
    what = What.WENT_BACK if was_there and stored is not None else What.MISSING
    store.persist(lambda: _note(store, Mended(now, what, state_of=stored)))


def _note(store: Store, one: Mended) -> None:
    with store.transaction() as tx:
        mended.note(tx, one)


def _published_turn(directory: Path) -> datetime | None:
    try:
        turn_at = json.loads((directory / "status.json").read_text(encoding="utf-8"))["turn_at"]
        return None if turn_at is None else from_text(turn_at)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None  # a hint that cannot be read is none


def _is_damage(error: StoreError) -> bool:
    """Also when one of our own statements fails: then the tables are not those that were made."""
    code = getattr(error.__cause__, "sqlite_errorcode", None)
    return isinstance(error, CorruptStoreError) or code == sqlite3.SQLITE_ERROR


def _replace(store: Store, now: datetime, what: What, error: StoreError) -> None:
    """Set the store's file aside and put the newest good backup, or an empty store, in its place."""
    log.critical("The store is %s, mending it. error=%s", what, error)
    aside = _name_aside(store.directory, now) if what is What.DAMAGED else ""
    with store.exchange():
        try:
            _prepare(store.directory, partial(_fill, directory=store.directory, one=Mended(now, what, aside)))
            _swap(store.directory, now)
            store.open()
        except (OSError, sqlite3.Error, StoreError) as refused:
            log.critical("The mended store cannot be written, going on in memory. error=%s", refused)
            memory = refuge.empty()
            _fill(memory, directory=store.directory, one=Mended(now, what))
            store.live_in(memory, f"{store.directory / LEDGER} is damaged and cannot be replaced: {refused}")


def _prepare(directory: Path, fill: Callable[[sqlite3.Connection], None]) -> None:
    """Leave what `fill` writes ready to take the store's place; nothing when that fails."""
    making = directory / f"{_READY}.making"
    parts = [making.with_name(f"{making.name}{suffix}") for suffix in _SUFFIXES]
    try:
        for part in parts:
            part.unlink(missing_ok=True)
        making.touch(0o600)
        with contextlib.closing(connect(making)) as connection:
            fill(connection)
        sync(making)
        making.rename(directory / _READY)
        sync(directory)
    finally:
        for part in parts:
            with contextlib.suppress(OSError):
                part.unlink()


def _fill(connection: sqlite3.Connection, *, directory: Path, one: Mended) -> None:
    """Make an empty database the newest good backup, or a new store, with the note of what happened."""
    for at, source in _good_backups(directory, one.at):
        source.backup(connection)
        one = Mended(one.at, one.what, one.aside, at)
        break
    migrate(connection)
    connection.execute("BEGIN IMMEDIATE")
    mended.note(connection, one)
    connection.execute("COMMIT")


def _good_backups(directory: Path, now: datetime) -> Iterator[tuple[datetime, sqlite3.Connection]]:
    for at, path in backups(directory, now):
        try:
            with contextlib.closing(connect_reading(path, immutable=True)) as source:
                refuse_what_is_not_ours(source, path)
                verify(source, now - _CHARGES_LOOKED_AT)
                yield at, source
        except (sqlite3.Error, UnicodeDecodeError, StoreError) as error:
            log.error("A backup is not good any more. file=%s error=%s", path, error)  # noqa: TRY400 a sentence, no traceback


def _swap(directory: Path, now: datetime) -> None:
    """Set the old file aside and give the prepared one its name; killed anywhere, the next start goes on with it."""
    aside = _name_aside(directory, now)
    for suffix in _SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            (directory / f"{LEDGER}{suffix}").rename(directory / f"{aside}{suffix}")
    (directory / _READY).rename(directory / LEDGER)
    sync(directory)
    kept = sorted({path.name.removesuffix("-wal").removesuffix("-shm") for path in directory.glob(f"{_ASIDE}*")})
    for name in kept[:-_KEPT_ASIDE]:
        for suffix in _SUFFIXES:
            (directory / f"{name}{suffix}").unlink(missing_ok=True)


def _name_aside(directory: Path, now: datetime) -> str:
    """The first name of this second that is free."""
    name, number = f"{_ASIDE}{now:%Y%m%dT%H%M%S}Z", 1
    while any((directory / f"{name}{suffix}").exists() for suffix in _SUFFIXES):
        number += 1
        name = f"{_ASIDE}{now:%Y%m%dT%H%M%S}Z-{number}"
    return name
