"""The answer to a query of the export: its lines, which come by day, as charges of a source, in parts if it is long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alarms.model import Period
from monitor.clients.bigquery import Row
from monitor.clients.billing_export import line_of
from monitor.clients.known_days import KnownDays
from monitor.clients.line_costs import LineCosts
from monitor.clients.shown_days import ShownDays
from monitor.model import Charge, Series
from monitor.period import midnight

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Part:
    """Charges that are all there is in `span`, but for what is `unchanged` there. `last`: nothing comes after it."""

    span: Period
    charges: tuple[Charge, ...]
    replaces: Mapping[Series, Period]
    unchanged: tuple[Period, ...]
    last: bool


@dataclass(slots=True)
class ExportAnswer:
    """What is left of it: `row` and, after it, `rows`. `since`: from where on nothing of them is booked yet.

    `until`: where the stretch of time ends that was asked for. `shown` and `days` are told of every day.
    """

    source: str
    currency: str
    tags: Sequence[str]
    row: Row | None
    rows: Iterator[Row]
    since: datetime
    until: datetime
    shown: ShownDays
    days: KnownDays

    def next_part(self, most: int) -> Part:
        """As many days as have about `most` rows, one at least; all that is left if that is fewer."""
        costs = LineCosts(self.source)
        count, booked = 0, self.since.date()
        while self.row is not None:
            line = line_of(self.row, self.tags)
            if count >= most and line.day > booked:
                break
            count, booked = count + 1, max(booked, line.day)
            self.shown.take(line.day, line.days_shown)
            is_known = self.days.note(line.day, line.day_digest)
            if line.currency == self.currency and line.day >= self.since.date() and not is_known:
                costs.add(line)
            self.row = next(self.rows, None)
        span = Period(self.since, self.until if self.row is None else midnight(booked + _DAY))
        self.shown.check(span)
        self.since = span.end
        charges, replaces = costs.charges(span)
        return Part(span, charges, replaces, self.days.unchanged(span), last=self.row is None)
