"""Is a limit crossed? Pure: a reading and a threshold in, a verdict out."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from alarms.model import AlarmKey, Budget, DataStatus, Reading, Threshold


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one reading says about one threshold.

    `over`: what is known of the spend has reached the limit; spend that is missing can only add to it, so this holds
    for stale and partial readings too. `under`: the spend is fully known and below the limit; only this may turn an
    alarm off. Neither: nothing can be said.
    """

    key: AlarmKey
    threshold: Threshold
    limit: Decimal
    over: bool
    under: bool
    data: DataStatus

    @property
    def height(self) -> tuple[int, Decimal]:
        """Orders the levels of a budget: by severity, then by limit."""
        return (self.threshold.severity.rank, self.limit)


def evaluate(budget: Budget, threshold: Threshold, reading: Reading) -> Evaluation:
    """Hold one threshold of a budget against a reading of it. A limit counts as crossed when it is reached."""
    limit = threshold.at.of(budget.amount)
    over = reading.spend is not None and reading.spend >= limit
    trusted = reading.spend is not None and not reading.stale
    return Evaluation(
        key=AlarmKey(budget.name, threshold.on, threshold.at.text, threshold.severity, reading.period.start),
        threshold=threshold,
        limit=limit,
        over=over,
        under=trusted and not over and not reading.lower_bound,
        data=DataStatus.OK if trusted else DataStatus.NO_DATA,
    )
