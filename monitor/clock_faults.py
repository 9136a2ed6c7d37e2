"""What people are told of a clock that is not believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from alarms.faults import Fault
from alarms.model import Severity
from alarms.words import duration_text, instant_text
from monitor.trusted_clock import Belief


def clock_faults(belief: Belief, now: datetime) -> list[Fault]:
    """That the machine's clock is wrong, if it is doubted. `now`: the time that is believed."""
    if belief.doubted_at is None:
        return []
    off = belief.wall - belief.start
    ahead = "ahead of" if off > timedelta(0) else "behind"
    detail = (
        f"It says {instant_text(now + off, UTC)}, {duration_text(abs(off))} {ahead} the time that the "
        f"monitor goes on with, {instant_text(now, UTC)}. Set the clock, and this ends by itself. If the "
        "clock is right, the monitor believes it as soon as two hosts that it talks to say so, or after a restart "
        "of `monitor run`."
    )
    return [Fault("clock", "wrong", Severity.CRITICAL, "The clock of the monitor's machine is wrong", detail)]
