"""The daemon's own time: the wall clock as long as it can be believed, else what has passed since it could.

Somebody sets the clock back an hour, NTP gives a machine ten years too many, a dead battery puts it to 1970: nothing
of that makes time pass. The running clock of the machine (CLOCK_BOOTTIME: it cannot be set, and counts the time of a
suspend) says how much did. Where the wall clock says otherwise it is not believed: the daemon goes on with its own
time, and tells people. A step is believed after all once two hosts outside say the same, or after a restart.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from alarms.clients import dates
from alarms.clients.dates import SAME, Heard
from monitor.clock import SystemClock

log = logging.getLogger(__name__)

# No clock that is right says less: this program was not there yet.
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
# More than any NTP does without a step, and than an interval of anything here that a step could harm.
TOLERANCE = timedelta(minutes=2)
# One host alone is believed when it has said the same for so long: there may be no second one.
ALONE_S = 600.0
# Two clocks cannot be read at once; if this much lies between, read again.
_AT_ONCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Belief:
    """What time it is, each as the instant at which the running clock stood at zero: a step moves it, passing does not.

    `start` is believed, `wall` is what the wall clock says. `doubted_at`: the running clock when the two came apart,
    None as long as they agree. `least`: `start` comes from an earlier process, and it may well be later than that.
    """

    start: datetime
    wall: datetime
    doubted_at: float | None = None
    least: bool = False


def begin(wall: datetime, elapsed: float, last: datetime | None) -> Belief:
    """What to believe at a start. `wall`: what the clock says; `last`: a time that the store knows to be over.

    A clock that stands far beyond that may be right: the daemon was off. One that stands before cannot be.
    """
    running, least = timedelta(seconds=elapsed), max(last or EARLIEST, EARLIEST)
    if wall >= least - TOLERANCE:
        return Belief(wall - running, wall - running)
    return Belief(least - running, wall - running, doubted_at=elapsed, least=True)


def judge(belief: Belief, wall: datetime, elapsed: float, heard: Sequence[Heard]) -> Belief:
    """What to believe now. `wall`: as in Belief; `heard`: what hosts outside say."""
    if abs(wall - belief.start) <= TOLERANCE or (belief.least and wall > belief.start):
        return Belief(wall, wall)
    since = elapsed if belief.doubted_at is None else belief.doubted_at
    agreed = _agreed(heard, since)
    if agreed is None:
        return replace(belief, wall=wall, doubted_at=since)
    if abs(agreed - wall) <= TOLERANCE:
        return Belief(wall, wall)
    if abs(agreed - belief.start) <= TOLERANCE:
        return Belief(belief.start, wall, since)
    return Belief(agreed, wall, since)


def _agreed(heard: Sequence[Heard], since: float) -> datetime | None:
    """What most hosts say that were heard since then; not what they said before, which the doubt may concern."""
    fresh = [host for host in heard if host.last >= since]
    if len(fresh) == 1:
        (alone,) = fresh
        return alone.start if alone.last - max(alone.first, since) >= ALONE_S else None
    for host in fresh:
        same = [other for other in fresh if abs(other.start - host.start) <= SAME]
        if len(same) > len(fresh) / 2:
            return host.start
    return None


class TrustedClock:
    """A Clock whose `now` does not step, for any thread.

    `last`: a time that the store knows to be over, None if it knows none. `correct` is told how far the wall clock is
    ahead. `changes` counts how often the wall clock came under doubt or out of it, or another time was believed.
    """

    def __init__(
        self,
        last: datetime | None,
        *,
        clock: SystemClock | None = None,
        heard: Callable[[], Sequence[Heard]] = dates.heard,
        correct: Callable[[timedelta], None] = dates.correct,
    ) -> None:
        self._clock = clock or SystemClock()
        self._heard = heard
        self._correct = correct
        self._lock = threading.Lock()
        start, elapsed = self._read()
        self._belief = begin(start + timedelta(seconds=elapsed), elapsed, last)
        self.changes = 0
        self._correct(_ahead(self._belief))
        if self._belief.doubted_at is not None:
            _log(self._belief)

    def now(self) -> datetime:
        """The time to go by."""
        return self.look()[0]

    def monotonic(self) -> float:
        """Seconds in which the machine was awake."""
        return self._clock.monotonic()

    def elapsed(self) -> float:
        """Seconds, awake or not."""
        return self._clock.elapsed()

    def wall(self) -> datetime:
        """What the machine's clock says, right or wrong."""
        return self._clock.now()

    def look(self) -> tuple[datetime, Belief]:
        """The time to go by, and why."""
        with self._lock:
            wall, elapsed = self._read()
            before, self._belief = self._belief, judge(self._belief, wall, elapsed, self._heard())
            belief = self._belief
            changed = _changed(before, belief)
            self.changes += changed
            self._correct(_ahead(belief))
        if changed:
            _log(belief)
        return belief.start + timedelta(seconds=elapsed), belief

    def _read(self) -> tuple[datetime, float]:
        before = self._clock.elapsed()
        while True:
            wall, after = self._clock.now(), self._clock.elapsed()
            if after - before <= _AT_ONCE_S:
                return wall - timedelta(seconds=after), after
            before = after  # suspended, or without a processor, in between


def _ahead(belief: Belief) -> timedelta:
    return timedelta(0) if belief.doubted_at is None else belief.wall - belief.start


def _changed(before: Belief, after: Belief) -> bool:
    doubt = (before.doubted_at is None) != (after.doubted_at is None)
    return doubt or abs(after.start - before.start) > TOLERANCE


def _log(belief: Belief) -> None:
    off_s = (belief.wall - belief.start).total_seconds()
    if belief.doubted_at is None:
        log.warning("The machine's clock is believed again.")
    else:
        log.critical("The machine's clock is wrong, going on without it. off_s=%d", off_s)
