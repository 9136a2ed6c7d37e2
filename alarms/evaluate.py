"""Is a limit crossed? Pure: a reading and a threshold in, a verdict out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from alarms.model import AlarmKey, Budget, DataStatus, On, Reading, Threshold
from alarms.money import DISPLAY, EXACT

# An estimate trembles with every day that is added to it, and the lead over a plan with every hour that the plan goes
# on, though nothing is restated: one that fired is only below again under this share of its limit. What was spent does
# not tremble, so thresholds on `actual` have no such band.
CLEARLY_BELOW = Decimal("0.95")
# What is spent says more than what is expected, and that more than the pace.
_RANK = {
    On.ACTUAL.value: 4,
    On.PLAN.value: 3,
    On.AT_COMPLETION.value: 2,
    On.FORECAST.value: 1,
    On.BURN_RATE.value: 0,
}
# Spend that is missing or to come can only add to these; what the others make of old data is worth nothing.
_AT_LEAST = (On.ACTUAL.value, On.PLAN.value, On.AT_COMPLETION.value)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one reading says about one threshold.

    `over`: what is known has reached the limit; spend that is missing can only add to it, so this holds for partial
    readings too, and for stale ones but of a forecast or a burn rate. `under`: it is fully known and below the limit,
    what swings clearly below; only this may turn an alarm off. Neither: nothing can be said. `limit` None: what is
    planned is not known. `height` orders the levels of a budget.
    """

    key: AlarmKey
    threshold: Threshold
    limit: Decimal | None
    over: bool
    under: bool
    data: DataStatus
    height: tuple[int, int, Decimal]

    @property
    def swings(self) -> bool:
        """Whether what was compared may swing back by itself."""
        return self.threshold.on != On.ACTUAL


def evaluate(budget: Budget, threshold: Threshold, reading: Reading) -> Evaluation:
    """Hold one threshold of a budget against a reading of it. A limit counts as crossed when it is reached."""
    stated = threshold.at.of(budget.amount)
    limit = _of_plan(threshold, reading) if threshold.on == On.PLAN else stated
    value = measured(threshold, reading)
    trusted = value is not None and not reading.stale
    if value is None or limit is None:
        over = under = False
    elif threshold.on == On.PLAN and not limit_applies(reading):
        over, under = False, True
    else:
        # A sum of bills is at least what it was; an estimate from stale data is worth nothing.
        over = value >= limit and (trusted or threshold.on in _AT_LEAST)
        under = value < _floor(threshold, limit)
    return Evaluation(
        key=key_of(budget, threshold, reading.alarms_since),
        threshold=threshold,
        limit=limit,
        over=over,
        under=under and trusted and not reading.lower_bound,
        data=DataStatus.OK if trusted else DataStatus.NO_DATA,
        height=height_of(threshold, stated),
    )


def key_of(budget: Budget, threshold: Threshold, since: datetime) -> AlarmKey:
    """By which the alarm of a threshold is known in the period whose alarms bear this start."""
    return AlarmKey(budget.name, threshold.on, threshold.at.text, threshold.severity, since)


def limit_applies(reading: Reading) -> bool:
    """Whether anything was planned to be spent by now: before that nothing runs ahead of a plan."""
    return reading.foreseen is not None and reading.foreseen.planned is not None and reading.foreseen.planned > 0


def measured(threshold: Threshold, reading: Reading) -> Decimal | None:
    """What is held against the limit; None: not known. Of the windows of a burn rate the slowest: all must be over."""
    if threshold.on == On.FORECAST:
        return None if reading.forecast is None else reading.forecast.expected
    if threshold.on == On.BURN_RATE:
        rates = [reading.burn_rates.get(window) for window in threshold.over]
        known = [rate for rate in rates if rate is not None]
        return min(known) if known and len(known) == len(rates) else None
    if threshold.on == On.PLAN:
        return None if reading.foreseen is None else reading.foreseen.spent
    if threshold.on == On.AT_COMPLETION:
        return None if reading.foreseen is None else reading.foreseen.at_completion
    return reading.spend


def height_of(threshold: Threshold, limit: Decimal) -> tuple[int, int, Decimal]:
    """Orders the levels of a budget: by severity, then by what is compared, then by the limit that was stated."""
    return (threshold.severity.rank, _RANK[threshold.on], limit)


def _of_plan(threshold: Threshold, reading: Reading) -> Decimal | None:
    """So many per cent of what was planned by now, or so much more than that."""
    if reading.foreseen is None or reading.foreseen.planned is None:
        return None
    planned, at = reading.foreseen.planned, threshold.at
    return at.of(planned) if at.amount is None else EXACT.add(planned, at.amount)


def _floor(threshold: Threshold, limit: Decimal) -> Decimal:
    """What a value must be under for the alarm to end."""
    if threshold.on == On.ACTUAL:
        return limit
    if threshold.on == On.PLAN and threshold.at.amount is not None:
        # So much of the lead that was stated: of all that is planned it might be more than the lead itself.
        return DISPLAY.subtract(limit, DISPLAY.multiply(threshold.at.amount, 1 - CLEARLY_BELOW))
    return DISPLAY.multiply(limit, CLEARLY_BELOW)
