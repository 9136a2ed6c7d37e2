"""Start never fails because of what is in the state directory."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from alarms.model import Period
from monitor.errors import AlreadyRunningError, StoreTooNewError
from monitor.model import Batch, Charge, Series
from monitor.period import month_of
from monitor.store import charges, facts, mended, schema
from monitor.store.database import open_store
from monitor.store.mended import Mended, What
from monitor.store.mending import open_mended
from tests.fakes.ledger import totals_by_series

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)
SERIES = [Series("aws", "USD", service=f"service {number}") for number in range(30)]


def fill(directory: Path) -> dict[Series, Decimal]:
    rows = [
        Charge(one, Period(NOW + hour * HOUR, NOW + (hour + 1) * HOUR), Decimal(hour + 1))
        for one in SERIES
        for hour in range(20)
    ]
    window = Period(NOW, NOW + 20 * HOUR)
    with open_store(directory) as store, store.transaction() as tx:
        charges.replace(tx, "aws", Batch(tuple(rows), dict.fromkeys(SERIES, window), None), NOW)
        facts.write_turn(tx, NOW)
        return totals_by_series(tx, month_of(NOW))


def test_a_whole_store_is_opened_as_it_is(tmp_path: Path) -> None:
    right = fill(tmp_path)
    with open_mended(tmp_path, NOW) as store, store.read() as connection:
        assert totals_by_series(connection, month_of(NOW)) == right
        assert mended.read(connection) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.db", "lock"]


def _cut(content: bytearray) -> None:
    del content[len(content) // 3 :]


def _zero(content: bytearray) -> None:
    content[8192:12288] = bytes(4096)


def _garbage(content: bytearray) -> None:
    content[:] = random.Random(3).randbytes(20_000)  # noqa: S311 - the same bytes each time


def _row(content: bytearray) -> None:
    content[content.index(b"service 7") + 8] = ord("8")


def _index(content: bytearray) -> None:
    content[content.rindex(b"service 7") + 8] = ord("8")


def _drop(content: bytearray) -> None:
    content[:] = content.replace(b"CREATE TABLE day_total", b"CREATE TABLE day_totem")


@pytest.mark.parametrize("damage", [_cut, _zero, _garbage, _row, _index, _drop])
def test_a_damaged_store_is_set_aside(tmp_path: Path, damage: Callable[[bytearray], None]) -> None:
    fill(tmp_path)
    content = bytearray((tmp_path / "ledger.db").read_bytes())
    damage(content)
    (tmp_path / "ledger.db").write_bytes(content)
    with open_mended(tmp_path, NOW) as store, store.transaction() as tx:
        assert facts.last_turn(tx) is None
        note = mended.read(tx)
    aside = tmp_path / "ledger.db.corrupt-20261123T180000Z"
    assert note == Mended(NOW, What.DAMAGED, aside.name)
    assert len(aside.read_bytes()) == len(content)
    fill(tmp_path)


def test_any_flipped_bit_either_does_no_harm_or_is_found_at_the_start(tmp_path: Path) -> None:
    right = fill(tmp_path / "good")
    good = (tmp_path / "good" / "ledger.db").read_bytes()
    chance = random.Random(11)  # noqa: S311 - the same bits each time
    found = 0
    for number in range(60):
        content = bytearray(good)
        content[chance.randrange(100, len(content))] ^= 1 << chance.randrange(8)
        directory = tmp_path / str(number)
        directory.mkdir()
        (directory / "ledger.db").write_bytes(content)
        with open_mended(directory, NOW) as store, store.read() as connection:
            note = mended.read(connection)
            found += note is not None
            expected = right if note is None else {}
            assert totals_by_series(connection, month_of(NOW)) == expected
    assert 0 < found < 60


def test_a_store_in_use_or_of_a_newer_version_is_not_damaged(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        with pytest.raises(AlreadyRunningError):
            open_mended(tmp_path, NOW)
        with store.read() as connection:
            connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(StoreTooNewError):
        open_mended(tmp_path, NOW)
    assert not list(tmp_path.glob("*corrupt*"))
