"""What the lines of an export cost, by day and by what they belong to, as charges of a source."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

from alarms.model import Period
from alarms.money import EXACT
from monitor.clients.billing_export import Line
from monitor.model import CREDIT, Charge, Series
from monitor.period import midnight

_ZERO = Decimal(0)


class LineCosts:
    """Adds up lines of `source`, credits apart."""

    def __init__(self, source: str) -> None:
        self._source = source
        # What each series cost on each day, and where on that day its usage ends.
        self._costs: dict[tuple[Series, date], tuple[Decimal, datetime]] = {}

    def add(self, line: Line) -> None:
        """One more line."""
        month = line.day.replace(day=1)
        series = Series(
            self._source,
            line.currency,
            line.account,
            line.service,
            line.region,
            line.run,
            line.tags,
            line.category,
            "" if line.invoice == month else line.invoice.isoformat(),
        )
        for one, amount in ((series, line.cost), (replace(series, charge_category=CREDIT), line.credit)):
            if amount is not None:
                known, until = self._costs.get((one, line.day), (_ZERO, line.until))
                self._costs[one, line.day] = EXACT.add(known, amount), max(until, line.until)

    def charges(self, span: Period) -> tuple[tuple[Charge, ...], dict[Series, Period]]:
        """What was added, and that it is all there is of its series in this span."""
        items = self._costs.items()
        charges = (Charge(series, Period(midnight(day), until), cost) for (series, day), (cost, until) in items)
        return tuple(charges), {series: span for series, _ in self._costs}
