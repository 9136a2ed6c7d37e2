"""Backups are whole, verified and few; and a store that is damaged, gone or old comes back from them."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from alarms.model import Delivery, Facts, Kind, Notification, Period, Reason, Receipt, Severity
from monitor.model import Batch, Charge, MeterReading, Series
from monitor.period import month_of
from monitor.store import backup, charges, facts, mended, mending, meters
from monitor.store.connection import StoreFullError
from monitor.store.database import Store, open_store
from monitor.store.facts import SourceClock
from monitor.store.mended import Mended, What
from monitor.store.mending import open_mended
from monitor.store.outbox import StoredOutbox
from monitor.store.rows import CorruptStoreError
from monitor.store.verification import verify
from tests.fakes.ledger import totals_by_series

NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SERIES = [Series("aws", "USD", service=f"service {number}") for number in range(5)]
NEVER = threading.Event()


def spend(store: Store, amount: str, at: datetime = NOW) -> None:
    rows = tuple(Charge(one, Period(at, at + HOUR), Decimal(amount)) for one in SERIES)
    window = dict.fromkeys(SERIES, Period(at, at + HOUR))
    meters = {"USD//": MeterReading(at, Decimal(amount))}
    with store.transaction() as tx:
        charges.replace(tx, "aws", Batch(rows, window, at, meters=meters), at)
        facts.write_clock(tx, SourceClock("aws", last_poll=at, next_attempt_at=at + HOUR, filled_since=at - 400 * DAY))
        facts.write_turn(tx, at)


def spent(store: Store) -> Decimal:
    with store.read() as connection:
        return sum(totals_by_series(connection, month_of(NOW)).values(), Decimal(0))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        spend(opened, "1")
        yield opened


def overwrite(path: Path, change: Callable[[bytearray], None]) -> None:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def amounts(content: bytearray) -> None:
    content[:] = content.replace(b"service 3", b"service 4")


def test_a_backup_is_the_store_and_for_its_user_alone(store: Store) -> None:
    made = backup.take(store, NOW, NEVER)
    assert made == store.directory / "backups" / "ledger-20261123T180000Z.db"
    assert made.stat().st_mode & 0o777 == 0o600
    assert made.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in made.parent.iterdir()] == [made.name]
    with closing(sqlite3.connect(made)) as copy, store.read() as connection:
        dumps = [sorted(one.iterdump()) for one in (copy, connection)]
    assert dumps[0] == dumps[1]


def test_one_a_day_and_seven_in_all(store: Store) -> None:
    made = []
    for hours in range(0, 24 * 12, 6):
        now = NOW + hours * HOUR
        if backup.is_due(store.directory, now):
            made.append(backup.take(store, now, NEVER))
    assert len(made) == 12
    kept = [path for _, path in backup.backups(store.directory, NOW + 12 * DAY)]
    assert kept == made[:-8:-1]


def test_a_backup_of_the_future_is_the_last_choice(store: Store) -> None:
    for at in (NOW + 3000 * DAY, NOW):
        assert backup.is_due(store.directory, at)
        backup.take(store, at, NEVER)
    assert [at for at, _ in backup.backups(store.directory, NOW)] == [NOW, NOW + 3000 * DAY]
    assert not backup.is_due(store.directory, NOW + HOUR)


def test_what_cannot_be_verified_is_no_backup(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage(connection: sqlite3.Connection) -> None:
        raise CorruptStoreError("bad")

    monkeypatch.setattr(backup, "verify", damage)
    with pytest.raises(CorruptStoreError):
        backup.take(store, NOW, NEVER)
    assert backup.backups(store.directory, NOW) == []
    monkeypatch.undo()
    assert backup.take(store, NOW, NEVER) is not None


def test_no_backup_takes_the_last_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "_MARGIN", 1 << 60)
    with pytest.raises(StoreFullError, match="no room for a backup"):
        backup.take(store, NOW, NEVER)


def test_a_backup_ends_at_once_when_the_daemon_stops(store: Store) -> None:
    stopping = threading.Event()
    stopping.set()
    assert backup.take(store, NOW, stopping) is None
    assert list((store.directory / "backups").iterdir()) == []


def test_others_write_while_a_backup_is_made(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(connection: sqlite3.Connection) -> None:
        spend(store, "2", NOW + HOUR)
        verify(connection)

    monkeypatch.setattr(backup, "verify", busy)
    backup.take(store, NOW, NEVER)
    assert spent(store) == 15


@pytest.mark.parametrize(
    "damage", ["UPDATE day_total SET billed_cost = '2'", "DELETE FROM day_total WHERE series_id = 1"]
)
def test_a_total_that_is_not_what_the_charges_make_is_found(store: Store, damage: str) -> None:
    with store.transaction() as tx:
        tx.execute(damage)
    with pytest.raises(CorruptStoreError), store.read() as connection:
        verify(connection)


def test_totals_that_agree_with_each_other_but_not_with_the_charges_are_found(store: Store) -> None:
    """A charge that got lost, and everything after it recomputed without it."""
    with store.transaction() as tx:
        ((trigger,),) = tx.execute("SELECT sql FROM sqlite_schema WHERE name = 'charge_stays'").fetchall()
        tx.execute("DROP TRIGGER charge_stays")
        tx.execute("DELETE FROM charge WHERE series_id = 2")
        tx.execute(trigger)
    with pytest.raises(CorruptStoreError, match="totals of the days"), store.read() as connection:
        verify(connection)


def test_damage_is_answered_with_the_newest_good_backup(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        spend(store, "1")
        backup.take(store, NOW, NEVER)
        spend(store, "2")
        backup.take(store, NOW + DAY, NEVER)
        spend(store, "3")
    overwrite(tmp_path / "backups" / "ledger-20261124T180000Z.db", amounts)
    overwrite(tmp_path / "ledger.db", amounts)
    later = NOW + DAY + HOUR
    with open_mended(tmp_path, later) as store:
        assert spent(store) == 5
        with store.read() as connection:
            assert mended.read(connection) == Mended(later, What.DAMAGED, "ledger.db.corrupt-20261124T190000Z", NOW)
            assert meters.read(connection, "aws") == {}
            clock = facts.read_clocks(connection)["aws"]
    assert (clock.next_attempt_at, clock.filled_since, clock.last_poll) == (None, None, NOW)
    assert (clock.kept_since, clock.kept_until) == (NOW - 400 * DAY, datetime(2026, 10, 1, tzinfo=UTC))
    assert len(list((tmp_path / "backups").iterdir())) == 2, "a backup is never used up"
    with open_mended(tmp_path, later + HOUR) as store, store.read() as connection:
        note = mended.read(connection)
        assert note is not None
        assert note.at == later, "until the sources were read it is still the same mishap"


def test_what_a_backup_brings_is_not_read_again(tmp_path: Path) -> None:
    clock = SourceClock("aws", kept_since=NOW - 400 * DAY, kept_until=datetime(2026, 10, 1, tzinfo=UTC))
    months = [datetime(2026, month, 1, tzinfo=UTC) for month in (11, 10, 9, 8)]
    assert [clock.lacks(start, month_of(start).end) for start in months] == [True, True, False, False]
    clock = clock.filled(months[0])
    assert clock.filled_since == months[0]
    clock = clock.filled(months[1])
    assert (clock.filled_since, clock.kept_until) == (NOW - 400 * DAY, None)


def test_what_was_owed_in_the_backup_may_have_been_sent_since(tmp_path: Path) -> None:
    said = Facts(Kind.FIRING, Severity.WARNING, Reason.CROSSED, "training")
    with open_store(tmp_path) as store:
        outbox = StoredOutbox(store)
        outbox.add([Notification("e/l/1", "oncall", NOW, said), Notification("e/l/2", "oncall", NOW, said)])
        outbox.begin(_owed(outbox), NOW)
        backup.take(store, NOW, NEVER)
    (tmp_path / "ledger.db").unlink()
    with open_mended(tmp_path, NOW + HOUR) as store:
        found = _owed(StoredOutbox(store)).notification
    assert (found.id, found.possible_repeat) == ("e/l/1", True)


def _owed(outbox: StoredOutbox) -> Delivery:
    return outbox.owed("oncall")[0]


def test_a_store_that_is_gone_comes_back(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        spend(store, "1")
        backup.take(store, NOW, NEVER)
    (tmp_path / "ledger.db").unlink()
    with open_mended(tmp_path, NOW + HOUR) as store, store.read() as connection:
        assert mended.read(connection) == Mended(NOW + HOUR, What.MISSING, "", NOW)
    assert not list(tmp_path.glob("*corrupt*"))


def test_a_store_that_is_older_than_what_was_published_of_it_has_gone_back(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        spend(store, "1")
    facts.publish(tmp_path, '{"turn_at": "2026-11-23T19:00:00Z"}')
    with open_mended(tmp_path, NOW + HOUR) as store, store.read() as connection:
        assert mended.read(connection) == Mended(NOW + HOUR, What.WENT_BACK, "", NOW)
        assert meters.read(connection, "aws") == {}


@pytest.mark.parametrize(
    "text", ['{"turn_at": "2026-11-23T18:00:00Z"}', '{"turn_at": null}', "[]", "{", "", "[" * 99_999]
)
def test_what_is_published_is_only_a_hint(tmp_path: Path, text: str) -> None:
    with open_store(tmp_path) as store:
        spend(store, "1")
    (tmp_path / "status.json").write_text(text)
    with open_mended(tmp_path, NOW + HOUR) as store, store.read() as connection:
        assert mended.read(connection) is None


@pytest.mark.parametrize("renamed", range(6))  # what is ready, the four files of the old one, the new one
def test_a_start_that_was_killed_while_it_mended_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    with open_store(tmp_path) as store:
        spend(store, "1")
        backup.take(store, NOW, NEVER)
        spend(store, "2")
    overwrite(tmp_path / "ledger.db", amounts)
    real, left = Path.rename, [renamed]

    def killed(self: Path, target: Path) -> Path:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            open_mended(tmp_path, NOW + HOUR)
    with open_mended(tmp_path, NOW + 2 * HOUR) as store:
        assert spent(store) == 5
        with store.read() as connection:
            note = mended.read(connection)
    assert note is not None
    assert note.state_of == NOW
    assert not list(tmp_path.glob("ledger.db.restored*"))


def test_no_more_than_seven_damaged_stores_are_kept(tmp_path: Path) -> None:
    for number in range(10):
        open_store(tmp_path).close()
        (tmp_path / "ledger.db").write_bytes(b"damaged " * number * 1000 + b"x")
        open_mended(tmp_path, NOW + number * HOUR).close()
    kept = sorted(path.name for path in tmp_path.glob("*corrupt*"))
    assert kept == [f"ledger.db.corrupt-202611{(NOW + n * HOUR):%dT%H%M%S}Z" for n in range(3, 10)]


def test_damage_in_a_running_program_is_mended_in_place(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        spend(store, "1")
        backup.take(store, NOW, NEVER)
        spend(store, "2")
        with store.transaction() as tx:
            tx.execute("UPDATE day_total SET billed_cost = '9'")
        with pytest.raises(CorruptStoreError), store.read() as connection:
            list(charges.day_totals(connection, NOW - DAY, NOW + DAY))
        assert store.damage is not None
        assert mending.mend(store, NOW + HOUR)
        assert store.damage is None
        assert spent(store) == 5
        spend(store, "3")
        assert spent(store) == 15
    assert [path.name for path in tmp_path.glob("*corrupt*")] == ["ledger.db.corrupt-20261123T190000Z"]


def test_a_suspicion_that_proves_wrong_costs_nothing(store: Store) -> None:
    store.damage = CorruptStoreError("a flipped bit in memory")
    assert not mending.mend(store, NOW)
    assert store.damage is None
    assert spent(store) == 5
    assert not list(store.directory.glob("*corrupt*"))


def test_a_message_that_the_restored_store_never_knew_holds_up_nobody(store: Store) -> None:
    outbox = StoredOutbox(store)
    said = Facts(Kind.FIRING, Severity.WARNING, Reason.CROSSED, "training")
    outbox.add([Notification("e/l/1", "oncall", NOW, said)])
    delivery = _owed(outbox)
    with store.transaction() as tx:
        tx.execute("DELETE FROM outbox")
    outbox.later(delivery, NOW, "no answer", uncertain=True)
    outbox.dead(delivery, "refused")
    outbox.sent(delivery, Receipt(), NOW)
    assert outbox.begin(delivery, NOW) is None


def test_no_single_flipped_bit_of_the_header_keeps_it_from_starting(tmp_path: Path) -> None:
    with open_store(tmp_path / "good") as store:
        spend(store, "1")
    good = (tmp_path / "good" / "ledger.db").read_bytes()
    positions = [(byte, bit) for byte in range(100) for bit in range(8)]
    chosen = random.Random(5).sample(positions, 120)  # noqa: S311 - the same bits each time
    for number, (byte, bit) in enumerate([*chosen, (60, 1), (63, 1), (63, 7), (68, 0)]):
        directory = tmp_path / str(number)
        directory.mkdir()
        content = bytearray(good)
        content[byte] ^= 1 << bit
        (directory / "ledger.db").write_bytes(content)
        with open_mended(directory, NOW) as store, store.read() as connection:
            expected = 5 if mended.read(connection) is None else 0
            assert spent(store) == expected, (byte, bit)
            assert not store.in_memory, (byte, bit)
