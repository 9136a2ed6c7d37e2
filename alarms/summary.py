"""The digest's words: how every budget stands, what fired, and what nobody can rely on. Pure.

It is no alarm: it has no level and no episode, and no rule about alarms knows it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import ROUND_FLOOR, Decimal

from alarms.model import Facts, Kind, Notification, Reason, Severity
from alarms.money import DISPLAY, for_people
from alarms.words import clean, day_text, instant_text

# What fits a phone and every receiver's limits; the rest is for `monitor status`.
_MOST_LINES = 20
_NAME_LENGTH = 48
_LINE_LENGTH = 200

Sections = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a budget stands. `spend` None: not known. `forecast` None: there is none. `firing`: it is over a limit.

    `planned`: by now, and `at_completion`, None: there is no plan. `begins`: when its period will; None: it has begun.
    """

    name: str
    currency: str
    amount: Decimal
    spend: Decimal | None
    forecast: Decimal | None
    lower_bound: bool
    firing: bool
    planned: Decimal | None = None
    at_completion: Decimal | None = None
    begins: datetime | None = None

    @property
    def used(self) -> Decimal | None:
        """Spend in per cent of the amount; None when it is not known, or nothing can be spent yet."""
        if self.spend is None or not self.amount or self.begins is not None:
            return None
        return DISPLAY.divide(self.spend * 100, self.amount)


@dataclass(frozen=True, slots=True)
class Fired:
    """An alarm that began to fire since the last digest; `still`: it fires now."""

    budget: str
    on: str
    at: str
    severity: Severity
    happened_at: datetime
    still: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """What a digest is made of, as of `at`. `since`: when the last one was made.

    `doubts`: of each source that is not up to date, and of each fault of the monitor; `undelivered`: of each receiver
    that is behind or dead; `silences`: of each. All are sentences.
    """

    at: datetime
    since: datetime
    standings: tuple[Standing, ...]
    fired: tuple[Fired, ...]
    doubts: tuple[str, ...] = ()
    undelivered: tuple[str, ...] = ()
    silences: tuple[str, ...] = ()


def message(summary: Summary, receiver: str, slot: datetime, timezone: tzinfo) -> Notification:
    """Write it for one receiver. A slot has one id, so that it is never owed twice."""
    facts = Facts(
        kind=Kind.SUMMARY,
        severity=Severity.WARNING,
        reason=Reason.SUMMARY,
        title=_title(summary, timezone),
        sections=tuple((heading, _clean(lines)) for heading, lines in _sections(summary, timezone) if lines),
    )
    thread = hashlib.blake2s(receiver.encode(), digest_size=6).hexdigest()
    return Notification(f"{thread}/digest/{slot:%Y%m%d%H%M}", receiver, summary.at, facts)


def _title(summary: Summary, timezone: tzinfo) -> str:
    count, firing = len(summary.standings), sum(standing.firing for standing in summary.standings)
    noun = "1 budget" if count == 1 else f"{count} budgets"
    stand = "no budget" if not count else f"{noun} within limits" if not firing else f"{firing} of {noun} over a limit"
    doubt = ", not all is up to date" if summary.doubts else ""
    return f"{stand}{doubt}, {day_text(summary.at.astimezone(timezone))}"


def _sections(summary: Summary, timezone: tzinfo) -> Iterator[tuple[str, tuple[str, ...]]]:
    standings = sorted(summary.standings, key=_most_used_first)
    fired = sorted(summary.fired, key=lambda one: one.happened_at, reverse=True)
    yield "Budgets", _most(_standing(standing) for standing in standings)
    yield (
        f"Fired since {instant_text(summary.since, timezone)}",
        _most(_firing(one, timezone) for one in fired) or ("nothing",),
    )
    yield "Not up to date", _most(summary.doubts)
    yield "Not delivered", _most(summary.undelivered)
    yield "Not told for now", _most(summary.silences)


def _clean(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(clean(line, _LINE_LENGTH) for line in lines)


def _most_used_first(standing: Standing) -> tuple[bool, Decimal, str]:
    used = standing.used
    return (used is None, -(used or Decimal(0)), standing.name)


def _most(texts: Iterable[str]) -> tuple[str, ...]:
    lines = tuple(texts)
    if len(lines) <= _MOST_LINES:
        return lines
    return (*lines[:_MOST_LINES], f"and {len(lines) - _MOST_LINES} more: monitor status")


def _standing(standing: Standing) -> str:
    amount = for_people(standing.amount, standing.currency, beside=standing.spend)
    name = clean(standing.name, _NAME_LENGTH)
    if standing.begins is not None:
        return f"{name}: begins on {day_text(standing.begins)}{_forecast(standing)}"
    if standing.spend is None:
        return f"{name}: not known, of {amount}"
    spend = for_people(standing.spend, standing.currency, beside=standing.amount).rpartition(" ")[0]
    least = "at least " if standing.lower_bound else ""
    # Downwards: what is not over shows no 100%.
    used = "" if standing.used is None else f", {standing.used.to_integral_value(ROUND_FLOOR):,f}%"
    return f"{name}: {least}{spend} of {amount}{used}{_forecast(standing)}"


def _forecast(standing: Standing) -> str:
    known = (
        ("forecast", standing.forecast),
        ("planned", standing.planned),
        ("at completion", standing.at_completion),
    )
    return "".join(
        f", {word} {for_people(amount, standing.currency, beside=standing.amount).rpartition(' ')[0]}"
        for word, amount in known
        if amount is not None
    )


def _firing(fired: Fired, timezone: tzinfo) -> str:
    name, limit = clean(fired.budget, _NAME_LENGTH), clean(f"{fired.on} {fired.at}", 40)
    still = "still firing" if fired.still else "no longer firing"
    return f"{name}: {limit} ({fired.severity}), {instant_text(fired.happened_at, timezone)}, {still}"
