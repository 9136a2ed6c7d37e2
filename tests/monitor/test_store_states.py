"""Alarms, clocks, facts and status.json."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from alarms.model import Alarm, AlarmKey, AlarmStatus, DataStatus, Reason, Severity, Transition
from monitor.errors import StoreError
from monitor.model import ApiUse
from monitor.store import alarm_states, facts
from monitor.store.checksum import checksum
from monitor.store.database import Store, open_store
from monitor.store.facts import SourceClock
from monitor.store.rows import CorruptRowError

NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)
T = datetime(2026, 11, 23, 18, 0, 0, 123456, tzinfo=UTC)
KEY = AlarmKey("training", "actual", "80%", Severity.WARNING, NOVEMBER)
FIRING = Alarm(
    KEY,
    status=AlarmStatus.FIRING,
    data=DataStatus.NO_DATA,
    since=T,
    episode="e1",
    sequence=3,
    first_detected=T - timedelta(hours=1),
    last_told=T,
    told_spend=Decimal("812.55"),
    period_end=DECEMBER,
)
HEALTH = Alarm(AlarmKey("source aws", "health", "stale", Severity.CRITICAL, None), status=AlarmStatus.FIRING)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        yield opened


def save(store: Store, *alarms: Alarm) -> None:
    with store.transaction() as tx:
        alarm_states.save(tx, alarms)


def test_an_alarm_comes_back_as_it_was(store: Store) -> None:
    save(store, FIRING, HEALTH)
    with store.read() as connection:
        assert alarm_states.load(connection, "training", NOVEMBER) == {KEY: FIRING}
        assert alarm_states.load(connection, "source aws", None) == {HEALTH.key: HEALTH}
        assert alarm_states.load(connection, "training", DECEMBER) == {}
        assert alarm_states.subjects_read(connection) == {"training", "source aws"}


def test_a_saved_alarm_takes_the_place_of_the_old_one(store: Store) -> None:
    save(store, FIRING)
    save(store, replace(FIRING, status=AlarmStatus.CLOSED))
    with store.read() as connection:
        assert alarm_states.load_open(connection) == {}
        assert alarm_states.load(connection, "training", NOVEMBER)[KEY].status is AlarmStatus.CLOSED


def test_open_alarms_of_all_periods_are_found(store: Store) -> None:
    quiet = replace(FIRING, key=replace(KEY, at="100%"), status=AlarmStatus.OK)
    over = replace(FIRING, key=replace(KEY, at="90%"), status=AlarmStatus.CLOSED)
    present = replace(FIRING, key=replace(KEY, period_start=DECEMBER))
    other = replace(FIRING, key=replace(KEY, subject="other"))
    save(store, FIRING, quiet, over, present, other, HEALTH)
    with store.read() as connection:
        assert alarm_states.load_open(connection).keys() == {KEY, quiet.key, present.key, other.key, HEALTH.key}


def test_transitions_add_up(store: Store) -> None:
    change = Transition(KEY, AlarmStatus.OK, AlarmStatus.FIRING, Reason.CROSSED, T, "e1")
    with store.transaction() as tx:
        alarm_states.save(tx, [], [change, change])
        alarm_states.save(tx, [], [replace(change, reason=Reason.STILL_OVER)])
    with store.read() as connection:
        rows = connection.execute("SELECT id, reason FROM transition").fetchall()
    assert rows == [(1, "crossed"), (2, "crossed"), (3, "still_over")]


def test_a_damaged_alarm_is_named(store: Store) -> None:
    save(store, FIRING)
    with store.read() as connection:
        connection.execute("UPDATE alarm SET status = 'OK'")
        with pytest.raises(CorruptRowError, match=r"subject=training, .* of table alarm"):
            alarm_states.load(connection, "training", NOVEMBER)


def test_clocks_come_back_as_they_were(store: Store) -> None:
    clock = SourceClock(
        name="aws",
        first_attempt=NOVEMBER,
        last_attempt=T,
        last_poll=T - timedelta(hours=1),
        data_as_of=T - timedelta(hours=9),
        failures=2,
        next_attempt_at=T + timedelta(minutes=10),
        access=False,
        missing=("account 123", "account 456"),
        error="the role is not allowed to read",
        filled_since=NOVEMBER - timedelta(days=365),
    )
    with store.transaction() as tx:
        facts.write_clock(tx, SourceClock("gcp"))
        facts.write_clock(tx, SourceClock("aws"))
        facts.write_clock(tx, clock)
        assert facts.read_clocks(tx) == {"aws": clock, "gcp": SourceClock("gcp")}


def test_what_asking_costs_adds_up_per_month(store: Store) -> None:
    with store.transaction() as tx:
        for _ in range(3):
            facts.add_use(tx, "aws", "2026-11", ApiUse(2, Decimal("0.01")))
        assert facts.read_use(tx, "aws", "2026-11") == ApiUse(6, Decimal("0.03"))
        assert facts.read_use(tx, "aws", "2026-12") == ApiUse()


def test_facts_are_readable_with_sqlite_and_the_checksum_alone(store: Store, tmp_path: Path) -> None:
    with store.transaction() as tx:
        assert facts.read_facts(tx) is None
        facts.write_facts(tx, '{"schema": 0}')
        facts.write_facts(tx, '{"schema": 1, "name": "ü"}')
        facts.write_turn(tx, T)
    with closing(sqlite3.connect(f"file:{tmp_path}/ledger.db?mode=ro", uri=True)) as connection:
        ((number, document, stored),) = connection.execute("SELECT id, document, checksum FROM facts").fetchall()
    assert json.loads(document) == {"schema": 1, "name": "ü"}
    assert checksum("facts", number, document) == stored
    with store.read() as connection:
        assert facts.read_facts(connection) == document


def test_the_last_turn_is_remembered_to_the_microsecond(store: Store) -> None:
    with store.transaction() as tx:
        assert facts.last_turn(tx) is None
        facts.write_turn(tx, T)
        assert facts.last_turn(tx) == T


def test_a_damaged_document_is_not_shown(store: Store) -> None:
    with store.transaction() as tx:
        facts.write_facts(tx, "{}")
        tx.execute("UPDATE facts SET document = '{ }'")
        with pytest.raises(CorruptRowError, match="id=1 of table facts"):
            facts.read_facts(tx)


def test_checksums_keep_columns_and_types_apart() -> None:
    sums = [
        checksum("t", "a", "b"), checksum("t", "ab", ""), checksum("t", "", "ab"), checksum("ta", "b"),
        checksum("t", 1), checksum("t", "1"), checksum("t", None), checksum("t", "None"), checksum("t", "a', 'b"),
    ]  # fmt: skip
    assert len(set(sums)) == len(sums)
    # Stored in files: it may never change.
    assert checksum("facts", 1, "ü'\u0378") == 2091523256


def test_status_json_is_for_everybody_and_whole(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        facts.publish(tmp_path, "{}")
    finally:
        os.umask(before)
    facts.publish(tmp_path, '{"schema": 1}')
    assert (tmp_path / "status.json").read_text() == '{"schema": 1}'
    assert stat.S_IMODE((tmp_path / "status.json").stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_status_json_follows_no_symlink(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "status.json").symlink_to("victim")
    facts.publish(tmp_path, "{}")
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "status.json").is_symlink()


def test_status_json_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "status.json").mkdir()
    with pytest.raises(StoreError, match=r"status\.json cannot be written"):
        facts.publish(tmp_path, "{}")
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]
