"""What queries of BigQuery cost, and the limits that they keep to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_CEILING, Decimal

from alarms.money import DISPLAY, EXACT, plain
from monitor.errors import PermanentError
from monitor.model import MeterReading

# On-demand analysis in the US, https://cloud.google.com/bigquery/pricing; the first TiB of a month, which costs
# nothing, is not taken off: other queries may have used it. At least 10 MB are billed for each table of a query.
USD_PER_TIB = Decimal("6.25")
LEAST_BILLED = 10 * 1024**2
_MIB, _GIB, _TIB = 1024**2, Decimal(1024**3), Decimal(1024**4)
_PLACES = Decimal(1).scaleb(-12)
_KEY = "cost"
_ZERO = Decimal(0)


class QueryCosts:
    """Counts dollars by month (UTC), those of earlier processes too, which the store remembers as meters."""

    def __init__(self, most_bytes: int, most_usd: Decimal) -> None:
        self._most_bytes = most_bytes
        self._most_usd = most_usd
        self._spent: dict[str, Decimal] = {}

    def recall(self, meters: Mapping[str, MeterReading]) -> None:
        """Take in what the store remembers."""
        for key, reading in meters.items():
            if key.startswith(_KEY):
                self._spent[key] = max(self._spent.get(key, _ZERO), reading.value)

    def check(self, read: int, table: str, at: datetime) -> None:
        """Raise PermanentError if a query that reads so many bytes may not be made."""
        billed = billed_for(read)
        if billed > self._most_bytes:
            raise PermanentError(
                f"a query over {table} would read {size_text(billed)}, which is more than max_bytes_per_query: raise "
                "it, or shorten backfill"
            )
        spent, price = self._spent.get(_key(at), _ZERO), price_of(billed)
        if spent + price > self._most_usd:
            raise PermanentError(
                f"this month's queries have cost {spent:.2f} USD and the next ({size_text(billed)}) costs "
                f"{price:.2f} USD, together more than max_cost_per_month = {plain(self._most_usd)}: raise it, or read "
                "less often (every)"
            )

    def count(self, usd: Decimal, at: datetime) -> dict[str, MeterReading]:
        """Add what a query has cost; the meter by which it is remembered."""
        key = _key(at)
        self._spent[key] = EXACT.add(self._spent.get(key, _ZERO), usd)
        return {key: MeterReading(at, self._spent[key])}


def price_of(billed: int) -> Decimal:
    """Dollars for so many bytes billed, to the next millionth of a millionth."""
    return DISPLAY.divide(DISPLAY.multiply(Decimal(billed), USD_PER_TIB), _TIB).quantize(_PLACES, ROUND_CEILING)


def billed_for(read: int) -> int:
    """What is billed for a query over one table that reads so many bytes: whole MB, 10 at least."""
    return max(LEAST_BILLED, -(-read // _MIB) * _MIB)


def size_text(size: int) -> str:
    """Bytes, for people."""
    return f"{Decimal(size) / _GIB:.2f} GB"


def _key(at: datetime) -> str:
    return f"{_KEY} {at:%Y-%m}"
