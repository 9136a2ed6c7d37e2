"""The facts document: what the turn leaves behind for `monitor status`. Facts only; judging them is for who reads.

Times are RFC 3339 texts, money is text, ages and limits are seconds. Its shape is given in docs/architecture.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from alarms.evaluate import measured
from alarms.model import Alarm, AlarmKey, AlarmStatus, On, Period, Reading, Threshold
from alarms.money import plain
from alarms.settings import hours_text
from alarms.silence import Silence
from monitor import __version__
from monitor.clock import to_text
from monitor.config.model import MonitorSection
from monitor.model import ApiUse, Progress
from monitor.ports import SourceDefaults, bill_of
from monitor.projection import FEWEST
from monitor.readings import Figures, WatchedBudget
from monitor.store.facts import SourceClock
from monitor.store.natives import NativeRow
from monitor.store.receivers import ReceiverState

# Whatever its schedule, a source unread for longer than this is stale: even the slowest bill comes daily.
STALE_POLL = timedelta(hours=26)
_LATE_POLLS = 3


def source_facts(settings: SourceDefaults, clock: SourceClock, use: ApiUse) -> dict[str, Any]:
    """One entry of `sources`; `use` is what reading it has cost this month."""
    late_poll = settings.every * _LATE_POLLS
    return {
        "name": settings.name,
        "type": settings.type,
        "bill": bill_of(settings),
        "every_s": _seconds(settings.every),
        "first_attempt": _text(clock.first_attempt),
        "last_attempt": _text(clock.last_attempt),
        "last_poll": _text(clock.last_poll),
        "data_as_of": _text(clock.data_as_of),
        "access": clock.access,
        "missing": list(clock.missing),
        "error": clock.error,
        "unreachable": clock.unreachable,
        "empty": clock.answers_nothing,
        "late_poll_s": _seconds(late_poll),
        "stale_poll_s": _seconds(max(STALE_POLL, late_poll)),
        "late_data_s": _seconds(settings.late_after),
        "stale_data_s": _seconds(settings.stale_after),
        "calls": use.calls,
        "cost_usd": plain(use.cost_usd),
    }


def budget_facts(
    watched: WatchedBudget,
    reading: Reading,
    found: Figures,
    alarms: Sequence[Alarm],
    told: Progress | None = None,
    unseen: Sequence[str] = (),
) -> dict[str, Any]:
    """One entry of `budgets`: the reading of its current period, its alarms, and open ones of periods that are over.

    `found`: what the reading was made of. `told`: what its run said last. `unseen`: what is to be said of names in its
    scope that no charge ever had.
    """
    return {
        "name": reading.budget,
        "currency": reading.currency,
        "amount": plain(watched.budget.amount),
        "period": _period(reading.period),
        "spend": _money(reading.spend),
        "billed": _money(reading.billed),
        "basis": watched.config.basis.value,
        "gross": _money(reading.billed if found.gross is None else found.gross),
        "net": _money(reading.billed if found.net is None else found.net),
        # A sum of estimates: without an inventory there are none to add.
        "accrued": None if reading.billed is None else _money(reading.accrued or Decimal(0)),
        **_projections(reading),
        **_foreseen(reading),
        "progress": None if told is None else _progress(told),
        "data_as_of": _text(reading.as_of),
        "lower_bound": reading.lower_bound,
        "unseen": list(unseen),
        "sources": list(watched.sources),
        "counted": list(found.counted),
        "views": {name: _money(amount) for name, amount in found.views.items()},
        "alarms": [_alarm(alarm, reading, watched.budget.thresholds) for alarm in alarms],
    }


def _projections(reading: Reading) -> dict[str, Any]:
    forecast = reading.forecast
    return {
        "forecast": None if forecast is None else plain(forecast.expected),
        "forecast_low": None if forecast is None else plain(forecast.low),
        "forecast_high": None if forecast is None else plain(forecast.high),
        "forecast_days": reading.days,
        "forecast_needs_days": FEWEST,
        "burn_rates": {hours_text(window): plain(rate) for window, rate in sorted(reading.burn_rates.items())},
    }


def _foreseen(reading: Reading) -> dict[str, Any]:
    foreseen = reading.foreseen
    return {
        "planned": None if foreseen is None else _money(foreseen.planned),
        "at_completion": None if foreseen is None else _money(foreseen.at_completion),
    }


def _progress(told: Progress) -> dict[str, Any]:
    return {"run": told.run, "at": to_text(told.at), "step": told.step, "of": told.steps}


def health_facts(alarm: Alarm, detail: str) -> dict[str, Any]:
    """One entry of `health`: a fault of the monitor itself that is there now."""
    return {
        "subject": f"{alarm.key.subject}: {alarm.key.at}",
        "severity": alarm.key.severity.value,
        "state": alarm.status.value,
        "since": _text(alarm.since),
        "detail": detail,
    }


def receiver_facts(name: str, state: ReceiverState | None) -> dict[str, Any]:
    """One entry of `receivers`; `state` None: it was never owed anything."""
    return {
        "name": name,
        "state": "OK" if state is None else state.state,
        "since": None if state is None else to_text(state.since),
        "error": None if state is None else state.error,
        "last_delivery": None if state is None else _text(state.last_delivery),
        "undelivered": 0 if state is None else state.undelivered,
        "oldest_due": None if state is None else _text(state.oldest_due),
    }


def silence_facts(silence: Silence) -> dict[str, Any]:
    """One entry of `silences`; `until` null: an ack, which lasts until the level changes."""
    return {
        "budget": silence.budget,
        "kind": silence.kind.value,
        "since": to_text(silence.since),
        "until": _text(silence.until),
        "by": silence.by,
        "why": silence.why,
    }


def native_facts(row: NativeRow, drill_every: timedelta) -> dict[str, Any]:
    """One entry of `native`; a drill is due `drill_due_s` after the last one, or after the twins were first seen."""
    return {
        "budget": row.budget,
        "cloud": row.cloud,
        "place": row.place or None,
        "state": row.state.value,
        "detail": row.detail,
        "since": to_text(row.since),
        "first_seen": to_text(row.first_seen),
        "checked_at": _text(row.checked_at),
        "managed": row.managed,
        "drilled_at": _text(row.drilled_at),
        "drill_ok": row.drill_ok,
        "drill_detail": row.drill_detail,
        "drill_due_s": _seconds(drill_every),
    }


def document(
    *,
    now: datetime,
    turn_at: datetime | None,
    settings: MonitorSection,
    sources: list[dict[str, Any]],
    budgets: list[dict[str, Any]],
    health: list[dict[str, Any]],
    receivers: list[dict[str, Any]],
    silences: list[dict[str, Any]],
    native: Sequence[NativeRow],
) -> dict[str, Any]:
    """The whole, schema 1."""
    return {
        "schema": 1,
        "version": __version__,
        "written_at": to_text(now),
        "turn_at": _text(turn_at),
        "poll_s": _seconds(settings.poll),
        "timezone": settings.timezone,
        "sources": sources,
        "budgets": budgets,
        "health": health,
        "receivers": receivers,
        "silences": silences,
        "native": [native_facts(row, settings.drill_every) for row in native],
    }


def published(
    stored: str, *, daemon: dict[str, Any] | None = None, receivers: list[dict[str, Any]] | None = None
) -> str:
    """What `status.json` holds: the stored document with who writes it, and newer `receivers` if there are any.

    `daemon`: its process. None: whoever writes ends now, and who may not look at the lock must not take it for one.
    """
    newer = {} if receivers is None else {"receivers": receivers}
    return json.dumps({**json.loads(stored), **newer, "daemon": daemon}, ensure_ascii=False)


def _alarm(alarm: Alarm, reading: Reading, thresholds: Sequence[Threshold]) -> dict[str, Any]:
    facts = {
        "on": alarm.key.on,
        "at": alarm.key.at,
        "severity": alarm.key.severity.value,
        "state": AlarmStatus.OK.value if alarm.status is AlarmStatus.CLOSED else alarm.status.value,
        "data": alarm.data.value,
        "since": _text(alarm.since),
    }
    if alarm.calm_since is not None:
        facts["calm_since"] = to_text(alarm.calm_since)
    if alarm.key.period_start is not None and alarm.key.period_start != reading.alarms_since:
        facts["period_start"] = to_text(alarm.key.period_start)
    elif alarm.key.on == On.BURN_RATE and (rate := _measured_rate(alarm.key, reading, thresholds)) is not None:
        facts["rate"] = plain(rate)
    return facts


def _measured_rate(key: AlarmKey, reading: Reading, thresholds: Sequence[Threshold]) -> Decimal | None:
    """What is held against its limit, in the windows of the threshold of this alarm."""
    mine = (one for one in thresholds if (one.on, one.at.text, one.severity) == (key.on, key.at, key.severity))
    return next((measured(one, reading) for one in mine), None)


def _period(period: Period) -> dict[str, str | None]:
    return {"start": _instant(period.start), "end": None if period.is_open else _instant(period.end)}


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())


@lru_cache(maxsize=4096)  # a thousand budgets have the same few instants
def _instant(instant: datetime) -> str:
    return to_text(instant)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else _instant(instant)


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
