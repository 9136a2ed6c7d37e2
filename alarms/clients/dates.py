"""What time it is elsewhere: the `Date` of the answers of each host, for whoever doubts the clock of this machine."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

# A date counts whole seconds, and an answer takes its time.
SAME = timedelta(minutes=2)
_MOST_HOSTS = 1000

_heard: dict[str, Heard] = {}
_ahead = timedelta(0)
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Heard:
    """What a host said: `start`, the time there at which the running clock (CLOCK_BOOTTIME) here stood at zero.

    `first` and `last`: the running clock, in seconds, when it began to say so and when it last did.
    """

    start: datetime
    first: float
    last: float


def note(host: str, date: str | None, *, cached: bool = False) -> None:
    """Take the `Date` of an answer that has just come; `cached`: it was kept by somebody in between, and is old."""
    there = parse(date or "")
    if there is None or cached:
        return
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    try:
        start = there - timedelta(seconds=now)
    except OverflowError:
        return
    with _lock:
        before = _heard.get(host)
        same = before is not None and abs(before.start - start) <= SAME
        if before is not None or len(_heard) < _MOST_HOSTS:
            _heard[host] = Heard(start, before.first if before is not None and same else now, now)


def heard() -> list[Heard]:
    """The newest of each host."""
    with _lock:
        return list(_heard.values())


def correct(ahead: timedelta) -> None:
    """Have it known how far the clock of this machine is ahead; zero when it is right, or nobody knows better."""
    global _ahead  # noqa: PLW0603 - there is one clock, and what signs by it has nobody who could hand this in
    _ahead = ahead


def ahead() -> timedelta:
    """How far the clock of this machine is known to be ahead."""
    return _ahead


def parse(text: str) -> datetime | None:
    """An HTTP date; None if it is none."""
    try:
        parsed = parsedate_to_datetime(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else None
