"""What the disk does to the monitor: turns go on without it, a damaged store is mended, backups, and what is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from alarms.faults import Fault
from alarms.model import Severity
from monitor.errors import StoreError
from monitor.store import backup, facts, mending
from monitor.store.database import Store, Trouble
from monitor.store.rows import CorruptStoreError

log = logging.getLogger(__name__)

# A disk that fails now and then is one trouble: it is over when nothing has happened for so long.
_QUIET = timedelta(hours=1)
_TITLES = {
    Trouble.FULL: "The disk of the monitor is full",
    Trouble.READ_ONLY: "The disk of the monitor takes no writes",
    Trouble.FAILING: "The disk of the monitor fails",
}

T = TypeVar("T")


class Disk:
    """Looks after one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted: tuple[datetime, Trouble, str] | None = None
        self._no_backup: str | None = None
        self._unpublished: dict[Path, str] = {}
        self._stopping = threading.Event()

    def bear(self, now: datetime, turn: Callable[[], T]) -> T:
        """Do a turn, on a mended store; once more when damage shows during it. Raises StoreError."""
        self._store.tend()
        if self._store.forgot:
            mending.note_forgotten(self._store, now)
        if self._store.damage is not None:
            mending.mend(self._store, now)
        try:
            return turn()
        except StoreError as error:
            if self._store.damage is not None:
                log.critical("The store is not what was written. error=%s", error)
                mending.mend(self._store, now)
            elif not error.again:
                raise
        return turn()

    def faults(self, now: datetime) -> list[Fault]:
        """What people should know of it now."""
        found = []
        trouble = self._store.trouble
        if trouble is not None:
            self._noted = (now, *trouble)
        if self._noted is not None:
            at, kind, text = self._noted
            quiet = timedelta(0) if kind is Trouble.FULL else _QUIET
            if trouble is None and now - at >= quiet:
                self._noted = None
            else:
                found.append(Fault("disk", kind.value, Severity.CRITICAL, _TITLES[kind], self._detail(text)))
        if self._no_backup is not None:
            title = "No backup of the store could be made"
            found.append(Fault("store", "not backed up", Severity.WARNING, title, f"{self._no_backup}."))
        return found

    def back_up(self, now: datetime) -> None:
        """Make a backup if one is due; takes a while with a large store, others may use it meanwhile."""
        if self._stopping.is_set() or not backup.is_due(self._store.directory, now):
            return
        try:
            made = backup.take(self._store, now, self._stopping)
        except CorruptStoreError as error:
            # This reads everything, old charges too that no turn looks at.
            log.critical("Damage was found while a backup was made. error=%s", error)
            self._store.damage = error
        except StoreError as error:
            log.error("No backup could be made. error=%s", error)  # noqa: TRY400  # one sentence for people, no traceback
            self._no_backup = str(error)
        else:
            self._no_backup = None
            if made is not None:
                log.info("A backup was made and verified. file=%s", made)

    def publish(self, directory: Path, text: str) -> None:
        """Write `status.json` there; that it cannot be written is logged once."""
        try:
            facts.publish(directory, text)
        except StoreError as error:
            if self._unpublished.get(directory) != str(error):
                log.warning("The status could not be written. error=%s", error)
            self._unpublished[directory] = str(error)
        else:
            self._unpublished.pop(directory, None)

    def stop(self) -> None:
        """Give up a backup that is being made; from another thread."""
        self._stopping.set()

    def _detail(self, text: str) -> str:
        if not self._store.in_memory:
            return f"{text}. Everything is stored so far."
        return (
            f"{text}. Alarms are judged and sent all the same, from memory, and stored as soon as the disk takes them; "
            "should the monitor be restarted before that, what was told meanwhile is told once more."
        )
