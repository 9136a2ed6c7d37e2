"""Is a limit crossed? Pure: a reading and a threshold in, a verdict out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from alarms.model import AlarmKey, Budget, DataStatus, On, Reading, Threshold
from alarms.money import DISPLAY

# An estimate trembles with every day that is added to it: one that fired is only below again under this share of its
# limit. What was spent does not tremble, so thresholds on `actual` have no such band.
CLEARLY_BELOW = Decimal("0.95")
# What is spent says more than what is expected, and that more than the pace.
_RANK = {On.ACTUAL.value: 2, On.FORECAST.value: 1, On.BURN_RATE.value: 0}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one reading says about one threshold.

    `over`: what is known has reached the limit; spend that is missing can only add to it, so this holds for partial
    readings too, and on `actual` for stale ones. `under`: it is fully known and below the limit, an estimate clearly
    below; only this may turn an alarm off. Neither: nothing can be said. `estimate`: it is not a sum of bills.
    """

    key: AlarmKey
    threshold: Threshold
    limit: Decimal
    over: bool
    under: bool
    data: DataStatus

    @property
    def estimate(self) -> bool:
        """Whether an estimate was compared, which may swing back."""
        return self.threshold.on != On.ACTUAL

    @property
    def height(self) -> tuple[int, int, Decimal]:
        """Orders the levels of a budget: by severity, then by what is compared, then by limit."""
        return height_of(self.threshold, self.limit)


def evaluate(budget: Budget, threshold: Threshold, reading: Reading) -> Evaluation:
    """Hold one threshold of a budget against a reading of it. A limit counts as crossed when it is reached."""
    limit = threshold.at.of(budget.amount)
    value = measured(threshold, reading)
    trusted = value is not None and not reading.stale
    estimate = threshold.on != On.ACTUAL
    # A sum of bills is at least what it was; an estimate from stale data is worth nothing.
    over = value is not None and value >= limit and (trusted or not estimate)
    floor = DISPLAY.multiply(limit, CLEARLY_BELOW) if estimate else limit
    return Evaluation(
        key=AlarmKey(budget.name, threshold.on, threshold.at.text, threshold.severity, reading.period.start),
        threshold=threshold,
        limit=limit,
        over=over,
        under=value is not None and trusted and value < floor and not reading.lower_bound,
        data=DataStatus.OK if trusted else DataStatus.NO_DATA,
    )


def measured(threshold: Threshold, reading: Reading) -> Decimal | None:
    """What is held against the limit; None: not known. Of the windows of a burn rate the slowest: all must be over."""
    if threshold.on == On.FORECAST:
        return None if reading.forecast is None else reading.forecast.expected
    if threshold.on == On.BURN_RATE:
        rates = [reading.burn_rates.get(window) for window in threshold.over]
        known = [rate for rate in rates if rate is not None]
        return min(known) if known and len(known) == len(rates) else None
    return reading.spend


def height_of(threshold: Threshold, limit: Decimal) -> tuple[int, int, Decimal]:
    """See `Evaluation.height`; `limit` is that of the threshold."""
    return (threshold.severity.rank, _RANK[threshold.on], limit)
