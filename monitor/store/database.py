"""The store's file: opening it safely, one connection that writes, and transactions.

When the disk refuses, the store goes on in memory (`monitor.store.refuge`): alarms must go out whatever the disk does.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from monitor.errors import ExitCode, StoreError
from monitor.store import lock, refuge
from monitor.store.ballast import Ballast
from monitor.store.connection import StoreFullError, Trouble, connect, translated, trouble_of
from monitor.store.opening import check_directory, check_file, check_version, connect_and_migrate, verify_structure
from monitor.store.reading import LEDGER, open_reading
from monitor.store.rows import CorruptStoreError

__all__ = ["LEDGER", "Store", "StoreFullError", "Trouble", "connect", "hold", "open_reading", "open_store"]

# Give up the ballast, open the file anew, go on in memory: whatever is tried again works on the fourth try or never.
_TRIES = 4

T = TypeVar("T")


def hold(directory: Path) -> Store:
    """Take the lock of a state directory until `close`; the store is not open yet.

    Raises AlreadyRunningError or StoreError.
    """
    check_directory(directory)
    return Store(directory, lock.acquire(directory))


def open_store(directory: Path) -> Store:
    """Open the store of a state directory for writing, create it if there is none, and hold the lock until `close`.

    Raises AlreadyRunningError, StoreTooNewError (the file is left untouched), CorruptStoreError or StoreError.
    """
    store = hold(directory)
    try:
        store.open()
    except BaseException:
        store.close()
        raise
    return store


class Store:
    """The open store. Any thread may use it; one at a time does.

    When the disk refuses it goes on in memory: what failed then says that it is worth doing `again` (`persist`).
    `trouble`: how the disk refuses, and a sentence. `damage`: what was found that is not what was written. `forgot`:
    what was done in memory could not be stored, because what is on the disk could not be read then.
    """

    def __init__(self, directory: Path, held: int) -> None:
        self.directory = directory
        self.trouble: tuple[Trouble, str] | None = None
        self.damage: CorruptStoreError | None = None
        self.forgot = False
        self._path = directory / LEDGER
        self._held = held
        self._ballast = Ballast(directory)
        self._connection: sqlite3.Connection | None = None
        self._memory: sqlite3.Connection | None = None
        # What was read when the disk failed, until it proves to be well: it may not be readable any more.
        self._spare: sqlite3.Connection | None = None
        # Whether what is in memory continues what is in the file, and so may take its place.
        self._continues = True
        self._closed = False
        self._failed: StoreError | None = None
        self._refused = 0
        self._depth = 0
        self._turn = threading.RLock()

    @property
    def in_memory(self) -> bool:
        """Whether the disk refuses, and nothing of what happens now would survive this process."""
        return self._memory is not None

    def open(self) -> None:
        """Open the file, make it if there is none. Raises StoreError as `open_store` says."""
        with self._turn, translated(self._path):
            check_file(self._path)
            check_version(self._path)
            self._connection = connect_and_migrate(self._path)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing: committed and on the disk when the block ends, undone when it raises.

        Inside another transaction of the same thread it becomes part of that one. Raises StoreError.
        """
        with self._exclusive() as connection:
            if connection.in_transaction:
                yield connection
                return
            before = connection.total_changes
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                # On a full disk SQLite has rolled back by itself, and an explicit ROLLBACK would raise.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            if connection.total_changes > before:
                self._is_well()

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Look without writing; nobody else writes meanwhile. Raises StoreError."""
        with self._exclusive() as connection:
            yield connection

    def persist(self, action: Callable[[], T]) -> T:
        """Do this, and again when the disk refused and the store has found a way to go on. Raises StoreError.

        `action` must leave nothing behind when it fails.
        """
        for _ in range(_TRIES - 1):
            try:
                return action()
            except StoreError as error:
                if not error.again:
                    raise
        return action()

    def tend(self) -> None:
        """Go back to the disk if it takes writes again; between turns. What still keeps from it stays in `trouble`."""
        with self._turn:
            if self._closed or self._depth:
                return
            if self._memory is not None:
                self._leave_memory(self._memory)
            if self._memory is None:
                missing = f"{self.directory} has no room left for the reserve that is given up when its disk is full"
                self.trouble = None if self._ballast.is_kept() else (Trouble.FULL, missing)

    def take_refuge(self, error: StoreError) -> bool:
        """Go on in memory if this error says that the disk refuses; whether it does. For a start."""
        trouble = trouble_of(error)
        if trouble is None:
            return False
        with self._turn:
            self.trouble = (trouble, str(error))
            return self._seek_refuge()

    @contextlib.contextmanager
    def exchange(self) -> Iterator[None]:
        """Let go of the file, so that another can be put in its place inside; the next use opens that one."""
        with self._turn:
            self._discard()
            if self._memory is not None:
                self._memory.close()
                self._memory = None
            self.damage = None
            yield

    def live_in(self, memory: sqlite3.Connection, why: str) -> None:
        """Go on in this copy, which will take the place of the file when the disk takes writes again."""
        with self._turn:
            self._memory, self._continues = memory, True
            self.trouble = (Trouble.FAILING, why)

    def close(self) -> None:
        """Write everything into the one file and let the next process have it."""
        with self._turn:
            if self._closed:
                return
            if self._memory is not None:
                self._leave_memory(self._memory)
            self._closed = True
            for connection in (self._connection, self._memory, self._spare):
                if connection is not None:
                    connection.close()
            os.close(self._held)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _usable(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreError(f"the store {self._path} is closed: this program is stopping", ExitCode.TEMPORARY)
        if self._memory is not None:
            return self._memory
        if self._connection is None:
            connection = connect(self._path)
            verify_structure(connection, self._path)
            self._connection = connection
        return self._connection

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[sqlite3.Connection]:
        """The connection for this thread alone; when all that this thread does has ended, what failed is dealt with."""
        with self._turn:
            self._depth += 1
            try:
                with translated(self._path):
                    yield self._usable()
            except StoreError as error:
                self._failed = self._failed or error
                raise
            finally:
                self._depth -= 1
                if self._failed is not None and self._depth == 0:
                    failed, self._failed = self._failed, None
                    failed.again = self._found_a_way(failed)

    def _found_a_way(self, error: StoreError) -> bool:
        """Whether the same may work now."""
        if isinstance(error, CorruptStoreError):
            self.damage = error
        trouble = trouble_of(error)
        if self._closed or self._memory is not None or trouble is None:
            return False
        self.trouble = (trouble, str(error))
        if trouble is Trouble.FULL and self._ballast.give_up():
            return True
        if trouble is Trouble.FAILING:
            # What the kernel still holds in memory after a failed fsync need not be what is on the disk: once more
            # through a new connection, which looks at the file first.
            self._refused += 1
            if self._refused == 1:
                self._spare = refuge.copy_through(self._connection)
                self._discard()
                return True
        return self._seek_refuge()

    def _seek_refuge(self) -> bool:
        try:
            memory, self._continues = refuge.copy_of(self._connection, self._path, self._spare)
        except (sqlite3.Error, OSError):
            return False
        self._spare = None if memory is self._spare else self._spare
        self._is_well()
        self._discard()
        self._memory = memory
        return True

    def _is_well(self) -> None:
        self._refused = 0
        if self._spare is not None:
            self._spare.close()
            self._spare = None

    def _leave_memory(self, memory: sqlite3.Connection) -> None:
        try:
            with translated(self._path):
                if not self._continues and refuge.is_whole(self._path):
                    self._connection = connect_and_migrate(self._path)
                    self.forgot = True
                else:
                    self._connection = refuge.write_back(memory, self._path)
        except CorruptStoreError as error:
            self.damage = error
        except (StoreError, OSError):
            return  # `trouble` says why for as long as that is so
        if self._connection is not None:
            memory.close()
            self._memory = None

    def _discard(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
