"""Whether a table has changed since it was last read: what a read leaves in the store, with its charges."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from monitor.clients.bigquery import Table
from monitor.model import MeterReading

# It is read again after that, even if nothing says that it has changed.
_LONGEST_UNREAD = timedelta(hours=12)
_TABLE, _AS_OF, _READ = "table", "data as of", "read at"
# In which way the last charges were read; when does not matter.
_WAY, _ANY = "way", datetime(1970, 1, 1, tzinfo=UTC)
_ZERO = Decimal(0)


class TableMarks:
    """Of a table that is read in a certain way: what was booked in another one is to be read again.

    `way`: a digest of it.
    """

    def __init__(self, way: object) -> None:
        self.way = hashlib.sha256(repr(way).encode()).hexdigest()[:16]
        self._keys = {what: f"{what} {self.way}" for what in (_TABLE, _AS_OF, _READ)}
        self._digest = Decimal(int(self.way, 16))

    def unchanged(self, meters: Mapping[str, MeterReading], table: Table, now: datetime) -> datetime | None:
        """Up to when it had data at the last read, if it is still as it was and that is not long ago; else None."""
        seen, known, read = (meters.get(key) for key in self._keys.values())
        if seen is None or known is None or read is None or not table.settled:
            return None
        if (last := meters.get(_WAY)) is None or last.value != self._digest:
            return None
        if (seen.at, seen.value) != (table.modified, Decimal(table.size)):
            return None
        return known.at if timedelta(0) <= now - read.at < _LONGEST_UNREAD else None

    def after(self, table: Table, data_as_of: datetime, now: datetime) -> dict[str, MeterReading]:
        """The marks of a read that has brought all there is. `table`: as it was before."""
        if table.modified is None:
            return {}
        return {
            self._keys[_TABLE]: MeterReading(table.modified, Decimal(table.size)),
            self._keys[_AS_OF]: MeterReading(data_as_of, _ZERO),
            self._keys[_READ]: MeterReading(now, _ZERO),
        }

    @property
    def of_part(self) -> dict[str, MeterReading]:
        """What goes with every part of a read: from then on the books are no longer all of another way."""
        return {_WAY: MeterReading(_ANY, self._digest)}
