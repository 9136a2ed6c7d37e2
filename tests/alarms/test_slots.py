"""When a digest is due, whatever the clocks of a zone do."""

from __future__ import annotations

import zoneinfo
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alarms.slots import Schedule, latest_slot, parse_schedule

ZONES = sorted(zoneinfo.available_timezones())
NEW_YORK = ZoneInfo("America/New_York")


def daily(text: str) -> Schedule:
    return parse_schedule(f"daily {text}")


@pytest.mark.parametrize(
    ("text", "weekday", "at"),
    [("daily 09:00", None, time(9)), ("weekly mon 00:30", 0, time(0, 30)), ("weekly sun 23:59", 6, time(23, 59))],
)
def test_what_a_schedule_says(text: str, weekday: int | None, at: time) -> None:
    assert parse_schedule(text) == Schedule(text, weekday, at)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "daily",
        "daily 9:00",
        "daily 24:00",
        "daily 09:60",
        "weekly 09:00",
        "weekly monday 09:00",
        "hourly",
        "daily  09:00",
        "daily ٠٩:00",
    ],
)
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match='expected "daily 09:00" or "weekly mon 09:00"'):
        parse_schedule(text)


def test_a_time_that_is_skipped_comes_as_much_later_and_one_that_comes_twice_counts_once() -> None:
    spring, autumn = datetime(2026, 3, 8, 23, tzinfo=UTC), datetime(2026, 11, 1, 23, tzinfo=UTC)
    assert latest_slot(daily("02:30"), spring, NEW_YORK) == datetime(2026, 3, 8, 7, 30, tzinfo=UTC)
    assert latest_slot(daily("01:30"), autumn, NEW_YORK) == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


def test_weekly_is_that_day_of_the_zone() -> None:
    monday = parse_schedule("weekly mon 09:00")
    now = datetime(2026, 11, 23, 8, 59, tzinfo=UTC)
    assert latest_slot(monday, now, UTC) == datetime(2026, 11, 16, 9, tzinfo=UTC)
    assert latest_slot(monday, now + timedelta(minutes=1), UTC) == datetime(2026, 11, 23, 9, tzinfo=UTC)
    # There it is Monday already.
    assert latest_slot(
        parse_schedule("weekly mon 01:00"), datetime(2026, 11, 22, 20, tzinfo=UTC), ZoneInfo("Asia/Tokyo")
    ) == (datetime(2026, 11, 22, 16, tzinfo=UTC))


@given(
    st.sampled_from(ZONES),
    st.dates(date(1990, 1, 20), date(2036, 12, 1)),
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
)
@example("America/New_York", date(2026, 3, 8), time(2, 30))
@example("Europe/Berlin", date(2026, 10, 25), time(2, 30))
@example("Africa/Cairo", date(2026, 4, 24), time(0, 0))
@example("America/Scoresbysund", date(2024, 3, 31), time(23, 30))
@example("Australia/Lord_Howe", date(2026, 10, 4), time(2, 15))
@example("Pacific/Apia", date(2011, 12, 30), time(9, 0))
@example("Pacific/Kwajalein", date(1993, 8, 21), time(9, 0))
@example("Pacific/Kiritimati", date(1994, 12, 31), time(0, 5))
def test_each_day_that_a_zone_has_gets_exactly_one_slot(name: str, around: date, at: time) -> None:
    zone, schedule = ZoneInfo(name), Schedule("", None, at)
    begin = datetime.combine(around, time(), UTC) - timedelta(days=4)
    # As a daemon asks: every quarter of an hour, whether a slot has come that is not dealt with.
    made: list[datetime] = []
    days: set[date] = set()
    last = latest_slot(schedule, begin, zone)
    for step in range(1, 8 * 24 * 4):
        now = begin + step * timedelta(minutes=15)
        days.add(now.astimezone(zone).date())
        slot = latest_slot(schedule, now, zone)
        assert slot <= now
        if slot > last:
            assert now - slot < timedelta(minutes=15), "it came when it was due"
            made.append(slot)
            last = slot
    counted = Counter(slot.astimezone(zone).date() for slot in made)
    assert max(counted.values()) == 1
    assert set(counted) >= days - {min(days), max(days)}
