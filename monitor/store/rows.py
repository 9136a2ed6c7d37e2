"""How values are written in rows, and rows in tables: every row is sealed when written and verified when read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zlib import crc32

from monitor.errors import ExitCode, StoreError
from monitor.store.checksum import checksum

Value = str | int | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)
MICROSECONDS_PER_DAY = 86_400_000_000


class CorruptStoreError(StoreError):
    """What is in the store's file is not what was written to it."""

    exit_code = ExitCode.DATA


class CorruptRowError(CorruptStoreError):
    """One row does not match its checksum, or is missing; no number of it is used."""

    def __init__(self, table: str, row: str) -> None:
        super().__init__(
            f"the store is damaged: row {row} of table {table} is not what was written; "
            "the daemon mends it, and so does `monitor once`"
        )
        self.table = table
        self.row = row


@dataclass(frozen=True, slots=True)
class Table:
    """A table's name and its columns without the checksum; the first `key` columns name a row."""

    name: str
    columns: tuple[str, ...]
    key: int = 1

    @property
    def insert(self) -> str:
        """`INSERT INTO ... VALUES (?, ...)`, for `seal`ed values."""
        # Names come from constants of this program alone.
        return f"INSERT INTO {self.name} VALUES ({', '.join('?' * (len(self.columns) + 1))})"  # noqa: S608

    @property
    def replace(self) -> str:
        """The same, taking the place of the row with this key."""
        return self.insert.replace("INSERT", "INSERT OR REPLACE", 1)

    @property
    def select(self) -> str:
        """`SELECT every column FROM ...`, to which a condition is added; its rows go through `verified`."""
        columns = ", ".join(f'"{column}"' for column in self.columns)
        # Names come from constants of this program alone.
        return f"SELECT {columns}, checksum FROM {self.name} "  # noqa: S608

    def seal(self, *values: Value) -> tuple[Value, ...]:
        """The values with their checksum."""
        return (*values, checksum(self.name, *values))

    def verified(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """The values of a row that was read. Raises CorruptRowError when they are not what was written."""
        values = row[:-1]
        if checksum(self.name, *values) != row[-1]:
            raise self.corrupt(*values[: self.key])
        return values

    def verify_all(self, rows: list[tuple[Any, ...]]) -> None:
        """Like `verified` for many rows, in half the time of as many calls."""
        name = self.name
        for row in rows:
            if crc32(ascii((name, *row[:-1])).encode("ascii")) != row[-1]:
                raise self.corrupt(*row[: self.key])

    def corrupt(self, *key: Value) -> CorruptRowError:
        """The error that names one row of this table."""
        return CorruptRowError(self.name, ", ".join(f"{c}={v}" for c, v in zip(self.columns, key, strict=False)))


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970 UTC, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The instant, aware, UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def to_micros_or_none(instant: datetime | None) -> int | None:
    """Like `to_micros`; unknown stays unknown."""
    return None if instant is None else to_micros(instant)


def from_micros_or_none(micros: int | None) -> datetime | None:
    """Like `from_micros`; unknown stays unknown."""
    return None if micros is None else from_micros(micros)


def from_day_number(number: int) -> date:
    """The UTC day with this number of days since 1970."""
    return date.fromordinal(_EPOCH_DAY + number)


def month_of_day(number: int) -> tuple[int, int]:
    """Numbers of the first day of the UTC month of a day, and of the first day after that month."""
    first = from_day_number(number).replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    return first.toordinal() - _EPOCH_DAY, following.toordinal() - _EPOCH_DAY


def first_day_from(instant: datetime) -> int:
    """Number of the first UTC day that starts at or after the instant."""
    return -(-to_micros(instant) // MICROSECONDS_PER_DAY)
