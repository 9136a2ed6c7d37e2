"""A message's facts as text and back, exactly: the outbox must be able to write them again word for word."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from alarms.model import Facts, Forecast, Foreseen, Kind, Period, Reason, Severity
from alarms.money import plain
from monitor.clock import from_text, to_text
from monitor.store.rows import CorruptStoreError

_VERSION = 1
_SECOND = timedelta(seconds=1)


def to_payload(facts: Facts) -> str:
    """JSON, with amounts as exact text and instants as RFC 3339."""
    document = {
        "version": _VERSION,
        "kind": facts.kind.value,
        "severity": facts.severity.value,
        "reason": facts.reason.value,
        "title": facts.title,
        "detail": facts.detail,
        "budget": facts.budget,
        "period": None if facts.period is None else [to_text(facts.period.start), to_text(facts.period.end)],
        "amount": _money(facts.amount),
        "currency": facts.currency,
        "on": facts.on,
        "at": facts.at,
        "limit": _money(facts.limit),
        "spend": _money(facts.spend),
        "billed": _money(facts.billed),
        "accrued": _money(facts.accrued),
        "as_of": _instant(facts.as_of),
        "lower_bound": facts.lower_bound,
        "stale": facts.stale,
        "previous_spend": _money(facts.previous_spend),
        "previous_told": _instant(facts.previous_told),
        "first_detected": _instant(facts.first_detected),
        "also_over": facts.also_over,
        "subject": facts.subject,
        "over_until": _instant(facts.over_until),
        "over_spend": _money(facts.over_spend),
        "missed": facts.missed,
        "missed_since": _instant(facts.missed_since),
        "forecast": _from_forecast(facts.forecast),
        "burn_rates": {str(window // _SECOND): plain(rate) for window, rate in facts.burn_rates.items()},
        "foreseen": _from_foreseen(facts.foreseen),
        "silenced_until": _instant(facts.silenced_until),
        "sections": facts.sections,
    }
    return json.dumps(document, separators=(",", ":"))


def from_payload(text: str) -> Facts:
    """The facts of a stored message. Raises CorruptStoreError for a version that this program does not know."""
    document = json.loads(text)
    if document["version"] != _VERSION:
        raise CorruptStoreError(f"a stored message has format {document['version']}, this version knows {_VERSION}")
    period = document["period"]
    return Facts(
        kind=Kind(document["kind"]),
        severity=Severity(document["severity"]),
        reason=Reason(document["reason"]),
        title=document["title"],
        detail=document["detail"],
        budget=document["budget"],
        period=None if period is None else Period(from_text(period[0]), from_text(period[1])),
        currency=document["currency"],
        on=document["on"],
        at=document["at"],
        lower_bound=document["lower_bound"],
        stale=tuple(document["stale"]),
        also_over=tuple(document["also_over"]),
        amount=_amount(document["amount"]),
        limit=_amount(document["limit"]),
        spend=_amount(document["spend"]),
        billed=_amount(document["billed"]),
        accrued=_amount(document["accrued"]),
        as_of=_moment(document["as_of"]),
        previous_spend=_amount(document["previous_spend"]),
        previous_told=_moment(document["previous_told"]),
        first_detected=_moment(document["first_detected"]),
        subject=document["subject"],
        over_until=_moment(document["over_until"]),
        over_spend=_amount(document["over_spend"]),
        missed=document["missed"],
        missed_since=_moment(document["missed_since"]),
        forecast=_to_forecast(document["forecast"]),
        burn_rates={int(window) * _SECOND: Decimal(rate) for window, rate in document["burn_rates"].items()},
        foreseen=_to_foreseen(document["foreseen"]),
        silenced_until=_moment(document["silenced_until"]),
        sections=tuple((heading, tuple(lines)) for heading, lines in document["sections"]),
    )


def _from_forecast(forecast: Forecast | None) -> list[Any] | None:
    if forecast is None:
        return None
    return [plain(forecast.expected), plain(forecast.low), plain(forecast.high), forecast.days]


def _to_forecast(values: Any) -> Forecast | None:
    if values is None:
        return None
    expected, low, high, days = values
    return Forecast(Decimal(expected), Decimal(low), Decimal(high), days)


def _from_foreseen(foreseen: Foreseen | None) -> list[str | None] | None:
    if foreseen is None:
        return None
    amounts = (foreseen.planned, foreseen.spent, foreseen.at_completion, foreseen.done)
    return [*map(_money, amounts), _instant(foreseen.done_at)]


def _to_foreseen(values: Any) -> Foreseen | None:
    if values is None:
        return None
    planned, spent, at_completion, done, done_at = values
    return Foreseen(_amount(planned), _amount(spent), _amount(at_completion), _amount(done), _moment(done_at))


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _amount(text: Any) -> Decimal | None:
    return None if text is None else Decimal(text)


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else to_text(instant)


def _moment(text: Any) -> datetime | None:
    return None if text is None else from_text(text)
