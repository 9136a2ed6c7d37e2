"""Which periods of a budget are judged, and by which start their alarms are known. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from alarms.model import RUN_START, Alarm, Period
from monitor.period import Calendar, Run, period_of, repeats
from monitor.readings import GIVEN_UP_AFTER


def alarms_since(calendar: Calendar, now: datetime) -> datetime:
    """The `period_start` of the alarms of the present period."""
    return RUN_START if isinstance(calendar, Run) else period_of(calendar, now).start


def period_of_alarm(alarm: Alarm) -> Period:
    """The period that an alarm of a budget is about; of a run it begins at RUN_START."""
    start, end = alarm.key.period_start, alarm.period_end
    if start is None or end is None:
        raise ValueError(f"the alarm of {alarm.key.subject} has no period")
    return Period(start, end)


def is_over(period: Period, current: datetime, now: datetime) -> bool:
    """Whether a period with open alarms is an earlier one that has to be judged to its end.

    `current`: the `alarms_since` of the present one. A run of a budget that is for no run any more is just closed.
    """
    return period.end <= now and period.start not in (current, RUN_START)


def is_gone(period: Period, current: datetime, now: datetime) -> bool:
    """Whether the alarms of a period are closed because the budget's periods are others now."""
    return period.start != current and (now in period or period.start == RUN_START)


def skipped(calendar: Calendar, newest: datetime | None, now: datetime) -> Iterator[Period]:
    """Periods that began and ended since this budget was last judged: nobody was watching, but money was spent.

    `newest`: when the newest period began that was judged, None: none was.
    """
    if newest is None or not repeats(calendar):
        return
    period = period_of(calendar, max(newest, now - GIVEN_UP_AFTER))
    while (period := period_of(calendar, period.end)).end <= now:
        yield period
