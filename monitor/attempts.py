"""When a source is asked, and when again after a failure. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from alarms.errors import AccessError, OutsideError, TemporaryError, UnreachableError
from monitor.ports import SourceDefaults
from monitor.store.facts import SourceClock

# A failing source is tried again after a poll, then two, then four, but never less often than this, or than so many
# times until its next read would have been.
_LONGEST_BACKOFF = timedelta(minutes=15)
_TRIES_BETWEEN = 6


def is_due(clock: SourceClock, now: datetime) -> bool:
    """Whether it is time to ask the source again."""
    # An attempt in the future was made by a clock that was wrong; what it planned counts for nothing.
    from_the_future = clock.last_attempt is not None and clock.last_attempt > now
    return clock.next_attempt_at is None or clock.next_attempt_at <= now or from_the_future


def was_read(clock: SourceClock | None, now: datetime, late: Collection[str]) -> bool:
    """Whether the newest read of a source was complete. `late`: sources whose answer is still out."""
    if clock is None or clock.last_poll is None or clock.error is not None or clock.missing:
        return False
    return clock.name not in late or not is_due(clock, now)


def after_failure(
    clock: SourceClock, error: OutsideError | None, settings: SourceDefaults, poll: timedelta, now: datetime
) -> SourceClock:
    """The clock of a source whose read has failed just now: when it is tried again, and what is shown of it."""
    failures = clock.failures + 1
    # What is read seldom costs money or is published seldom: it is not tried every quarter of an hour either.
    longest = max(_LONGEST_BACKOFF, poll, settings.every / _TRIES_BETWEEN)
    wait = min(poll * 2 ** min(failures - 1, 10), longest)
    asked = None
    if isinstance(error, TemporaryError):
        asked = error.retry_after
        # What comes in pieces is soon there: nobody is spared by a longer wait than is asked for.
        wait = min(poll, wait) if error.progress else wait
    return replace(
        clock,
        last_attempt=now,
        failures=failures,
        unreachable=clock.unreachable + 1 if isinstance(error, UnreachableError) else 0,
        next_attempt_at=now + max(wait, asked or timedelta(0)),
        # Once locked out, only a read that works shows that we are let in again.
        access=clock.access and not isinstance(error, AccessError),
        error=str(error),
    )
