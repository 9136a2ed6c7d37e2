"""What the ledger holds, for tests that look at it past every budget."""

from __future__ import annotations

import sqlite3
from decimal import Decimal

from alarms.model import Period
from alarms.money import EXACT
from monitor.model import Series
from monitor.store import known_series
from monitor.store.rollup import verified_totals


def totals_by_series(connection: sqlite3.Connection, period: Period) -> dict[Series, Decimal]:
    """What each series cost on the UTC days that start in the period; a series without a charge there is absent."""
    sums: dict[int, Decimal] = {}
    for rows in verified_totals(connection, period.start, period.end):
        for _, series_id, billed_cost, _, _ in rows:
            sums[series_id] = EXACT.add(sums.get(series_id, Decimal(0)), Decimal(billed_cost))
    known = known_series.numbered(connection)
    return {known_series.named(known, series_id): amount for series_id, amount in sums.items()}
