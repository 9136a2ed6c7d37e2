"""What a daemon wrote whose clock was ahead, and how daemons ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alarms.model import Alarm, AlarmKey, AlarmStatus, Facts, Kind, Notification, Reason, Severity
from monitor.store import alarm_states, endings, facts, future
from monitor.store.database import Store, open_store
from monitor.store.facts import SourceClock
from monitor.store.outbox import StoredOutbox

T = datetime(2026, 11, 23, 18, tzinfo=UTC)
S = timedelta(seconds=1)
AHEAD = timedelta(days=3652)
MONTH, FAR = datetime(2026, 11, 1, tzinfo=UTC), datetime(2036, 11, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        yield opened


def forget(store: Store) -> None:
    future.forget_in(store, StoredOutbox(store), T)


def alarm(period: datetime | None, status: AlarmStatus, told: datetime) -> Alarm:
    return Alarm(
        AlarmKey("training", "actual", "80%", Severity.WARNING, period), status, since=told, episode="e", last_told=told
    )


def test_a_source_is_read_at_once_and_its_age_counts_from_now(store: Store) -> None:
    right = SourceClock("right", T - S, T - S, T - S, T - S, next_attempt_at=T + 3600 * S)
    ahead = SourceClock("ahead", *[T + AHEAD] * 4, next_attempt_at=T + AHEAD)
    with store.transaction() as tx:
        facts.write_clock(tx, right)
        facts.write_clock(tx, ahead)
    forget(store)
    with store.read() as connection:
        clocks = facts.read_clocks(connection)
    assert clocks == {"right": right, "ahead": SourceClock("ahead", first_attempt=T, last_poll=T)}


def test_what_is_owed_goes_out_now(store: Store) -> None:
    outbox = StoredOutbox(store)
    said = Facts(Kind.FIRING, Severity.WARNING, Reason.CROSSED, "over")
    outbox.add([Notification("a/1", "oncall", T + AHEAD, said), Notification("b/1", "mail", T - S, said)])
    forget(store)
    for receiver, at in (("oncall", T), ("mail", T - S)):
        (delivery,) = outbox.owed(receiver)
        assert (delivery.notification.created_at, delivery.next_attempt_at) == (at, at)


def test_periods_that_have_not_begun_go_unless_somebody_was_told(store: Store) -> None:
    kept = [alarm(None, AlarmStatus.FIRING, T - S), alarm(MONTH, AlarmStatus.FIRING, T - S)]
    with store.transaction() as tx:
        alarm_states.save(tx, [*kept, alarm(FAR, AlarmStatus.OK, T + AHEAD)])
    forget(store)
    with store.read() as connection:
        assert list(alarm_states.load_open(connection).values()) == kept
        assert alarm_states.newest_periods(connection) == {"training": MONTH}
    with store.transaction() as tx:
        alarm_states.save(tx, [alarm(FAR, AlarmStatus.FIRING, T + AHEAD)])
    forget(store)
    with store.read() as connection:
        (fires,) = (a for a in alarm_states.load_open(connection).values() if a.key.period_start == FAR)
    assert fires.last_told == T, "repeats follow from now on"


def test_only_an_end_without_a_mark_is_unclean(store: Store) -> None:
    with store.transaction() as tx:
        assert endings.last_stop(tx) is None
        assert endings.begun(tx, T) == ()
        assert endings.last_stop(tx) is None
        endings.ended(tx, T - AHEAD)
        assert endings.last_stop(tx) == T - AHEAD
        assert endings.begun(tx, T + S) == ()
        assert endings.begun(tx, T + 2 * S) == (T + 2 * S,)
        endings.ended(tx, T)
        assert endings.begun(tx, T + 3 * S) == (T + 2 * S,)
        for second in range(4, 40):
            ends = endings.begun(tx, T + second * S)
    assert len(ends) == 10
    assert ends[-1] == T + 39 * S


def test_a_turn_without_a_daemon_is_newer_than_where_the_last_one_stopped(store: Store) -> None:
    """Else every later clock would be believed that is behind the last turn, but not behind that stop."""
    with store.transaction() as tx:
        endings.went_on(tx, T)
        assert endings.last_stop(tx) is None, "there was no daemon"
        endings.begun(tx, T)
        endings.ended(tx, T + S)
        endings.went_on(tx, T + 3600 * S)
        assert endings.last_stop(tx) == T + 3600 * S
        assert endings.begun(tx, T + 3601 * S) == (), "it had stopped in order"
        endings.went_on(tx, T + 3602 * S)
        assert endings.last_stop(tx) is None
        assert endings.begun(tx, T + 3603 * S) == (T + 3603 * S,), "a kill stays one"
