"""What the ledger has booked of a plan's budget, counted as an evaluation counts it. The store is only read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from alarms.model import RUN_START, Period
from monitor.billing_months import InvoiceCalendar
from monitor.config.model import BudgetConfig, Config
from monitor.freshness import Freshness
from monitor.model import Basis
from monitor.period import Calendar, Run, midnight
from monitor.ports import bill_of
from monitor.readings import SourceState, figures, spread
from monitor.store import known_series
from monitor.store.facts import read_clocks
from monitor.store.reading import is_stored, open_reading
from monitor.sums import Sums, added

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Booked:
    """`spent`: in a period; `until`: where what all of its sources have told ends, None if one has told nothing."""

    spent: Callable[[Period], Decimal]
    until: datetime | None


def booked(config: Config, budget: BudgetConfig, state: Path, since: datetime, now: datetime) -> Booked:
    """Of a budget from an instant on; nothing where nothing is stored yet. Raises StoreError."""
    # All that a run has cost counts, however early it began.
    since = RUN_START if isinstance(budget.period, Run) and budget.period.by_charges else since
    if not is_stored(state) or since >= now:
        return Booked(lambda _: _NOTHING, None)
    with open_reading(state) as connection:
        clocks, series = read_clocks(connection), known_series.numbered(connection)
        currencies = {source.name: source.currency for source in config.sources}
        bills = {source.name: bill_of(source) for source in config.sources}
        (watched,) = spread([budget], [], currencies, lambda *_: False, bills)
        ends = {name: clocks[name].data_as_of if name in clocks else None for name in watched.sources}
        sums = Sums()
        sums.prepare([watched], series)
        days = sums.by_day(connection, since, now)
        whole = {period: sums.of(connection, watched, period) for period in _invoiced(budget.period, since, now)}
    states = {name: SourceState(name, Freshness.FRESH, end) for name, end in ends.items()}

    def spent(period: Period) -> Decimal:
        start = since if isinstance(budget.period, Run) else period.start
        # A part of an invoice's period is that of its days.
        inside = (totals for day, totals in days.items() if start <= midnight(day) < period.end)
        found = figures(watched, whole.get(period) or added(inside), states)
        return (found.net if budget.basis is Basis.NET else found.gross) or _NOTHING

    counted = figures(watched, added(days.values()), states).counted
    known = [ends[name] for name in counted]
    return Booked(spent, min((end for end in known if end is not None), default=None) if all(known) else None)


def _invoiced(calendar: Calendar, since: datetime, until: datetime) -> Iterator[Period]:
    """The periods of a budget that follows invoices."""
    while isinstance(calendar, InvoiceCalendar) and since < until:
        yield (period := calendar.period_of(since))
        since = period.end
