"""One answer of a source: into the ledger with its charges, and the source's clocks moved on."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import replace
from datetime import datetime, timedelta

from monitor.attempts import after_failure
from monitor.collect import Fetched
from monitor.errors import BadDataError
from monitor.model import Batch, Window
from monitor.ports import SourceDefaults
from monitor.store import charges, facts, meters
from monitor.store.charges import Replaced
from monitor.store.facts import SourceClock

log = logging.getLogger(__name__)

# What a source lacks while a window comes in parts: until the last its figures are at least what they say.
_REST = "the rest of a long read"


def book(
    tx: sqlite3.Connection,
    clock: SourceClock,
    fetched: Fetched,
    settings: SourceDefaults,
    *,
    poll: timedelta,
    now: datetime,
) -> tuple[SourceClock, bool]:
    """The clock after this answer, and whether charges were restated that were stored before.

    Raises BadDataError when it contradicts itself, or what is known: nothing of it may be kept then.
    """
    if not clock.is_of(settings.type):
        # Nothing that another kind of source has left may stand for what this one would book.
        meters.forget(tx, clock.name)
    clock = replace(clock, first_attempt=clock.first_attempt or now, type=settings.type)
    batch, window = fetched.batch, fetched.window
    if batch is None or window is None:
        facts.remember(tx, clock.name, f"{now:%Y-%m}", fetched.remembered)
        return after_failure(clock, fetched.error, settings, poll, now), False
    booked = _into_the_ledger(tx, clock, batch, window, running=fetched.running, now=now)
    restated = bool(booked.revised or booked.withdrawn)
    if restated:
        counts = (clock.name, booked.revised, booked.withdrawn)
        log.info("Charges were restated. source=%s revised=%d withdrawn=%d", *counts)
    if batch.rest is not None:
        return (replace(clock, missing=(_REST,)) if fetched.running else clock), restated
    clock = clock.filled(window.period.start)
    return (_read(clock, batch, settings.every, now) if fetched.running else clock), restated


def _into_the_ledger(
    tx: sqlite3.Connection, clock: SourceClock, batch: Batch, window: Window, *, running: bool, now: datetime
) -> Replaced:
    if running and clock.data_as_of and batch.data_as_of and batch.data_as_of < clock.data_as_of:
        raise BadDataError("it answered without its newest data, which it had published before")
    if window.meters and not meters.known(tx, clock.name):
        raise BadDataError("it had been asked for less than is missing since the store was mended")
    if not running and batch.rest is None and window.part is None:
        batch = _as_a_whole(batch, window)
    booked = charges.replace(tx, clock.name, batch, now)
    if batch.rejected and booked.fallen:
        raise BadDataError("it answered with unusable readings where it had given figures before")
    facts.add_use(tx, clock.name, f"{now:%Y-%m}", batch.use)
    return booked


def _as_a_whole(batch: Batch, window: Window) -> Batch:
    """A past month that was read whole again is all there is of it: series of another grain (`by`) must not stay."""
    # What a source says itself it knows better: of a table that has lost its oldest days, say.
    return batch if not batch.replaces or batch.missing or batch.whole else replace(batch, whole=window.period)


def _read(clock: SourceClock, batch: Batch, every: timedelta, now: datetime) -> SourceClock:
    """After the last part of the running window."""
    clock = replace(clock, last_attempt=now, failures=0, unreachable=0, access=True, next_attempt_at=now + every)
    if batch.data_as_of is None:
        # Let in and answered, but with nothing: that confirms neither a figure nor that nothing is missing.
        return replace(clock, error="it answered, but has no data for us")
    as_of = max(clock.data_as_of or batch.data_as_of, batch.data_as_of)
    return replace(clock, last_poll=now, data_as_of=as_of, missing=batch.missing, error=None)
