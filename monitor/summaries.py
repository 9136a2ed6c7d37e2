"""Makes the digests when they are due, out of the facts that the last evaluation left.

The message and the mark "this slot is dealt with" are one transaction: a kill neither loses a digest nor repeats it.
A slot that was missed is made up once, if it is less than a day old.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from alarms.model import Notification, Severity, Transition
from alarms.silence import base_of
from alarms.slots import latest_slot
from alarms.summary import Fired, Standing, Summary, message
from alarms.words import clean, duration_text, instant_text
from monitor.clock import from_text
from monitor.config.model import BudgetConfig, Config
from monitor.freshness import Freshness, data_age, judge, never_answered
from monitor.store import alarm_states, facts, summaries
from monitor.store.outbox import StoredOutbox
from monitor.store.summaries import Mark

Json = dict[str, Any]
# An older slot is not made up: the next one is near.
_MADE_UP = timedelta(days=1)
# As in `status`: a message that takes longer is worth a word.
_UNDELIVERED = timedelta(minutes=15)
_LONGEST_SENTENCE = 120


class Summaries:
    """The digests of one config."""

    def __init__(self, config: Config, outbox: StoredOutbox) -> None:
        self._schedules = {r.name: r.digest for r in config.receivers if r.digest is not None}
        self._timezone = ZoneInfo(config.monitor.timezone)
        self._outbox = outbox
        self._interest = {name: _interest(config, name) for name in self._schedules}

    def is_due(self, connection: sqlite3.Connection, now: datetime) -> bool:
        """Whether `make` would do something."""
        marks = summaries.load(connection)
        return marks.keys() != self._schedules.keys() or any(
            self._begins(mark, now) or self._slot(mark.receiver, now) > mark.slot for mark in marks.values()
        )

    def make(self, tx: sqlite3.Connection, now: datetime) -> list[Notification]:
        """Owe each digest that is due, and mark its slot."""
        made = []
        marks = summaries.load(tx)
        summaries.keep(tx, self._schedules)
        for receiver, schedule in self._schedules.items():
            mark, slot = marks.get(receiver), self._slot(receiver, now)
            if mark is None or self._begins(mark, now):
                summaries.put(tx, Mark(receiver, schedule.text, slot, now))
            elif slot > mark.slot:
                document = facts.read_facts(tx) if now - slot < _MADE_UP else None
                if document is not None:
                    summary = self._summary(tx, json.loads(document), mark, now)
                    made.append(message(summary, receiver, slot, self._timezone))
                summaries.put(tx, Mark(receiver, schedule.text, slot, mark.made_at if document is None else now))
        self._outbox.add(made)
        return made

    def _begins(self, mark: Mark, now: datetime) -> bool:
        """A new schedule begins with its next slot; so does one whose mark was made by a clock that was ahead."""
        return mark.schedule != self._schedules[mark.receiver].text or mark.slot > now

    def _slot(self, receiver: str, now: datetime) -> datetime:
        return latest_slot(self._schedules[receiver], now, self._timezone)

    def _summary(self, tx: sqlite3.Connection, document: Json, mark: Mark, now: datetime) -> Summary:
        concerns = self._interest[mark.receiver]
        budgets = [row for row in document["budgets"] if concerns(row["name"])]
        firing = {_alarm_key(row["name"], alarm) for row in budgets for alarm in row["alarms"] if _fires(alarm)}
        fired = [one for one in alarm_states.fired_since(tx, mark.made_at) if concerns(one.key.subject)]
        return Summary(
            at=now,
            since=mark.made_at,
            standings=tuple(_standing(row, now) for row in budgets),
            fired=tuple(_fired(one, firing) for one in fired),
            doubts=(*_doubtful_sources(document, now), *_faults(document)),
            undelivered=tuple(self._undelivered(now)),
            silences=tuple(self._silences(document, concerns)),
        )

    def _undelivered(self, now: datetime) -> Iterator[str]:
        for receiver in self._outbox.receivers():
            if receiver.state != "OK":
                yield _sentence(f"{receiver.name} is {receiver.state}: {receiver.error or 'it refuses all'}")
            elif receiver.oldest_due is not None and now - receiver.oldest_due > _UNDELIVERED:
                waiting = duration_text(now - receiver.oldest_due)
                yield _sentence(f"{receiver.name}: {receiver.undelivered} messages, the oldest for {waiting}")

    def _silences(self, document: Json, concerns: Callable[[str], bool]) -> Iterator[str]:
        for row in document["silences"]:
            if concerns(row["budget"]):
                until = (
                    "" if row["until"] is None else f" until {instant_text(from_text(row['until']), self._timezone)}"
                )
                word = "silenced" if row["kind"] == "silence" else "acknowledged"
                why = f": {row['why']}" if row["why"] else ""
                yield _sentence(f"{row['budget']} is {word}{until} by {row['by']}{why}")


def _interest(config: Config, receiver: str) -> Callable[[str], bool]:
    """Which budgets a receiver is told of: those that name it; all, if none does."""
    naming = {budget.name for budget in config.budgets if _names(budget, receiver)}
    return lambda budget: not naming or base_of(budget) in naming


def _names(budget: BudgetConfig, receiver: str) -> bool:
    return receiver in budget.receivers or any(receiver in (one.receivers or ()) for one in budget.thresholds)


def _standing(row: Json, now: datetime) -> Standing:
    start = from_text(row["period"]["start"])
    return Standing(
        name=row["name"],
        currency=row["currency"],
        amount=Decimal(row["amount"]),
        spend=_amount(row["spend"]),
        forecast=_amount(row.get("forecast")),
        lower_bound=row["lower_bound"],
        firing=any(_fires(alarm) for alarm in row["alarms"]),
        planned=_amount(row.get("planned")),
        at_completion=_amount(row.get("at_completion")),
        begins=start if now < start else None,
    )


def _fired(transition: Transition, firing: set[tuple[str, ...]]) -> Fired:
    key = transition.key
    still = (key.subject, key.on, key.at, key.severity.value) in firing
    return Fired(key.subject, key.on, key.at, Severity(key.severity), transition.at, still)


def _fires(alarm: Json) -> bool:
    return bool(alarm["state"] == "FIRING")


def _alarm_key(budget: str, alarm: Json) -> tuple[str, ...]:
    return (budget, alarm["on"], alarm["at"], alarm["severity"])


def _doubtful_sources(document: Json, now: datetime) -> Iterator[str]:
    for source in document["sources"]:
        freshness = judge(source, now)
        error = f": {source['error']}" if source["error"] else ""
        late = freshness is Freshness.LATE
        if freshness is Freshness.NEVER or (late and never_answered(source)):
            yield _sentence(f"{source['name']} was never read{error}")
        elif freshness is not Freshness.FRESH:
            known = source["data_as_of"] is not None
            data = f"its newest data is {duration_text(data_age(source, now))} old" if known else "it has no data yet"
            yield _sentence(f"{source['name']} is {freshness}, {data}{error}")


def _faults(document: Json) -> Iterator[str]:
    """Those of sources and receivers are told by their own lines."""
    for row in document["health"]:
        if not row["subject"].startswith(("source ", "receiver ")):
            yield _sentence(f"{row['subject']}: {row['detail']}")


def _sentence(text: str) -> str:
    return clean(text, _LONGEST_SENTENCE)


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
