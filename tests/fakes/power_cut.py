"""A disk that loses power: APSW's SQLite on a VFS that records every write and sync, and what could be left of them.

The model: what was synced stays; of what was written since, each write survives, is lost, or is torn at a sector of
512 bytes, at random and in any combination. Names in a directory are taken to be durable at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import apsw

SECTOR = 512
SURVIVES, TORN = 0.45, 0.65
_VFS = "power-cut"


@dataclass(frozen=True)
class Operation:
    """`kind`: write, truncate (offset is the new size), sync, delete, or ack (data is the number of the state)."""

    kind: str
    file: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class Recorder:
    """What reached the disk, and every statement that was asked for with its values."""

    operations: list[Operation] = field(default_factory=list)
    statements: list[tuple[str, Any]] = field(default_factory=list)


class _File(apsw.VFSFile):
    def __init__(self, recorder: Recorder, name: Any, flags: list[int]) -> None:
        self.recorder = recorder
        text = name.filename() if isinstance(name, apsw.URIFilename) else name
        self.name = Path(text).name if text else ""
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        self.recorder.operations.append(Operation("write", self.name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self.recorder.operations.append(Operation("truncate", self.name, size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.recorder.operations.append(Operation("sync", self.name))
        super().xSync(flags)


class _Disk(apsw.VFS):
    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        super().__init__(_VFS, "")

    def xOpen(self, name: Any, flags: list[int]) -> _File:  # noqa: N802
        return _File(self.recorder, name, flags)

    def xDelete(self, name: str, sync: bool) -> None:  # noqa: N802
        self.recorder.operations.append(Operation("delete", Path(name).name))
        super().xDelete(name, sync)


class _Cursor:
    """What the store uses of `sqlite3.Cursor`."""

    def __init__(self, rows: Iterable[Any], changes: int) -> None:
        self._rows = iter(rows)
        self.rowcount = changes

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows


class Connection:
    """What the store uses of `sqlite3.Connection`, on APSW."""

    def __init__(self, disk: _Disk, name: str, *, uri: bool, also: Iterable[str]) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | (apsw.SQLITE_OPEN_URI if uri else 0)
        self._connection = apsw.Connection(name, flags=flags, vfs=_VFS)
        self._recorder = disk.recorder
        for statement in also:
            self._connection.execute(statement).fetchall()

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    @property
    def total_changes(self) -> int:
        return self._connection.total_changes()

    def execute(self, sql: str, values: Iterable[Any] = ()) -> _Cursor:
        values = tuple(values)
        self._recorder.statements.append((sql, values))
        # All at once: a statement of sqlite3 that returns rows is stepped as they are fetched, and never left halfway.
        rows = self._connection.execute(sql, values).fetchall()
        return _Cursor(rows, self._connection.changes())

    def executemany(self, sql: str, rows: Iterable[Iterable[Any]]) -> _Cursor:
        values = [tuple(row) for row in rows]
        self._recorder.statements.append((sql, values))
        self._connection.executemany(sql, values)
        return _Cursor((), self._connection.changes())

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Connector:
    """Stands in for `sqlite3.connect`. `also`: statements that every connection gets beside those of the store."""

    def __init__(self, recorder: Recorder, also: Iterable[str] = ()) -> None:
        self._disk = _Disk(recorder)
        self._also = tuple(also)

    def __call__(self, name: str | Path, *, uri: bool = False, **_: object) -> Connection:
        return Connection(self._disk, str(name), uri=uri, also=self._also)


def acknowledged(operations: list[Operation]) -> int:
    """The number of the last state that was acknowledged, -1 for none."""
    return max((int(one.data) for one in operations if one.kind == "ack"), default=-1)


def left_of(operations: list[Operation], chance: random.Random) -> dict[str, bytes]:
    """What the files hold when the power fails after these operations."""
    durable: dict[str, bytearray] = {}
    pending: dict[str, list[Operation]] = {}
    for one in operations:
        if one.kind in {"write", "truncate"}:
            durable.setdefault(one.file, bytearray())
            pending.setdefault(one.file, []).append(one)
        elif one.kind == "sync":
            image = durable.setdefault(one.file, bytearray())
            for earlier in pending.pop(one.file, []):
                _apply(image, earlier, len(earlier.data))
        elif one.kind == "delete":
            durable.pop(one.file, None)
            pending.pop(one.file, None)
    for name, unsynced in pending.items():
        for one in unsynced:
            _apply_some(durable[name], one, chance)
    return {name: bytes(image) for name, image in durable.items() if not name.endswith("-shm")}


def _apply(image: bytearray, one: Operation, length: int) -> None:
    if one.kind == "truncate":
        del image[one.offset :]
        return
    if len(image) < one.offset:
        image.extend(bytes(one.offset - len(image)))
    image[one.offset : one.offset + length] = one.data[:length]


def _apply_some(image: bytearray, one: Operation, chance: random.Random) -> None:
    fate = chance.random()
    if fate < SURVIVES:
        _apply(image, one, len(one.data))
    elif fate < TORN and one.kind == "write":
        _apply(image, one, chance.randrange(0, len(one.data) + 1, SECTOR))
