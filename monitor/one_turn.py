"""`monitor once`: a turn like those of the daemon, with the same trust in the clock, and all that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from alarms.faults import Fault
from monitor.app import App
from monitor.clock import FixedClock
from monitor.clock_faults import clock_faults
from monitor.cycle import TurnReport
from monitor.store.outbox import Standing
from monitor.trusted_clock import TrustedClock

_DELIVERY_LIMIT = timedelta(seconds=60)


def do(app: App, clock: TrustedClock | FixedClock) -> tuple[TurnReport, list[Standing]]:
    """Do the turn and send what it owes; what was done, and how each message of it stands. Raises StoreError.

    `clock`: one that stands (`--as-of`) is beyond doubt.
    """
    trusted = clock if isinstance(clock, TrustedClock) else None
    if trusted is not None:
        app.go_on()
    changes = _changes(trusted)
    report = app.turn(*_look(clock), everything=True)
    delivered = app.deliver(report, _DELIVERY_LIMIT)
    now, faults = _look(clock)
    if _changes(trusted) != changes:  # those who were asked and told have said what time it is
        app.time_was_set()
        report.add(app.turn(now, faults, everything=True))
        delivered = app.deliver(report, _DELIVERY_LIMIT)
    app.heartbeat(report)
    if app.look_at_natives(now=True):  # a cloud that hangs must not hold up what was just sent
        report.add(app.turn(*_look(clock), read=False))
        delivered = app.deliver(report, _DELIVERY_LIMIT)
    app.back_up()
    return report, delivered


def _look(clock: TrustedClock | FixedClock) -> tuple[datetime, Sequence[Fault]]:
    if isinstance(clock, FixedClock):
        return clock.now(), ()
    now, belief = clock.look()
    return now, clock_faults(belief, now)


def _changes(clock: TrustedClock | None) -> int:
    return 0 if clock is None else clock.changes
