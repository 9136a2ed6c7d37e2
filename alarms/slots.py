"""When a digest is due: `daily 09:00` or `weekly mon 09:00`, by the clocks on the wall of one time zone. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = re.compile(rf"(?:daily|weekly ({'|'.join(_DAYS)})) ([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
_EXPECTED = 'expected "daily 09:00" or "weekly mon 09:00"'
# Two weeks: a zone may leave out a day, as Samoa did, and with it a week's slot.
_LOOK_BACK = 15


@dataclass(frozen=True, slots=True)
class Schedule:
    """`weekday` None: every day; else 0 is Monday. `text` is as configured."""

    text: str
    weekday: int | None
    at: time


def parse_schedule(text: str) -> Schedule:
    """Raises ValueError with what was expected."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(_EXPECTED)
    weekday = None if match[1] is None else _DAYS.index(match[1])
    return Schedule(text, weekday, time(int(match[2]), int(match[3])))


def latest_slot(schedule: Schedule, now: datetime, timezone: tzinfo) -> datetime:
    """The newest slot that is not after `now`, as an instant in UTC; there is one on each day that the zone has."""
    newest = now.astimezone(timezone).date() + timedelta(days=1)
    days = (newest - timedelta(days=back) for back in range(_LOOK_BACK + 2))
    wanted = (day for day in days if schedule.weekday in (None, day.weekday()))
    slots = (_slot(schedule.at, day, timezone) for day in wanted)
    return next(slot for slot in slots if slot is not None and slot <= now)


def _slot(at: time, day: date, timezone: tzinfo) -> datetime | None:
    """When a day's clocks show this time, for the first time if twice.

    If they skip it: as much later as they skip, or, where that is another day already, as much earlier. None on a day
    that the zone leaves out.
    """
    for fold in (0, 1):
        instant = datetime.combine(day, at, timezone).replace(fold=fold).astimezone(UTC)
        if instant.astimezone(timezone).date() == day:
            return instant
    return None
