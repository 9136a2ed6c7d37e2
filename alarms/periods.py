"""A budget's period, for people to read. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from alarms.model import Period
from alarms.words import day_text, duration_text, instant_text


def period_text(period: Period, now: datetime, timezone: tzinfo) -> str:
    """`November 2026 (UTC), 7 d 6 h left`; `the run from 1 Dec 2026 00:00 UTC on` of one without an end."""
    if period.is_open:
        return f"the run from {instant_text(period.start, timezone)} on"
    text = _period_name(period) or f"{instant_text(period.start, timezone)} to {instant_text(period.end, timezone)}"
    return f"{text}, over" if now >= period.end else f"{text}, {duration_text(period.end - now)} left"


def _period_name(period: Period) -> str:
    """Whole UTC days and months have names; anything else is told by its ends."""
    start, end = period.start.astimezone(UTC), period.end.astimezone(UTC)
    if start.replace(hour=0, minute=0, second=0, microsecond=0) != start:
        return ""
    if end - start == timedelta(days=1):
        return f"{day_text(start)} (UTC)"
    next_month = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
    return f"{start:%B %Y} (UTC)" if start.day == 1 and end == next_month else ""
