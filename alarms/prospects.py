"""What a reading holds beside sums of bills: a forecast, and what plans foresaw. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Forecast:
    """Spend expected at the period's end: 8 of 10 times it should end between `low` and `high`. Of `days` of data."""

    expected: Decimal
    low: Decimal
    high: Decimal
    days: int


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What the plans of a budget, and its run itself, say of its period at the instant `as_of` of a reading.

    `planned`: to be spent by then, 0 if nothing is planned until then, None without a plan; `spent`: what was, None if
    not known (of several sources it may be less than the spend, which holds what the faster ones have told since).
    `at_completion`: what will have been spent in the end: by `done`, the share of its work that the run says is done,
    or, where that is None, what was spent and what is still planned. `done_at`: when the run said so, where it has said
    nothing since and is not through.
    """

    planned: Decimal | None
    spent: Decimal | None
    at_completion: Decimal | None
    done: Decimal | None = None
    done_at: datetime | None = None
