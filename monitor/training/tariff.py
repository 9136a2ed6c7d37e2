"""A time-of-use tariff: which price holds at which minute of the week, and what a kWh costs on average. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from monitor.training.model import PRECISE

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_A_DAY = 24 * 60
_STEP = Decimal("1E-12")


@dataclass(frozen=True, slots=True)
class Rate:
    """Money per kWh from `start` until `end`, minutes of the day, on days of the week (0 is Monday).

    Over midnight if `end` is not after `start`: the day is that of the start.
    """

    per_kwh: Decimal
    start: int = 0
    end: int = MINUTES_A_DAY
    days: tuple[int, ...] = tuple(range(len(DAYS)))

    def minutes(self) -> set[int]:
        """The minutes of the week at which it holds."""
        length = (self.end - self.start) % MINUTES_A_DAY or MINUTES_A_DAY
        week = MINUTES_A_DAY * len(DAYS)
        starts = (day * MINUTES_A_DAY + self.start for day in self.days)
        return {minute % week for start in starts for minute in range(start, start + length)}


def mean(rates: Sequence[Rate]) -> Decimal:
    """What a kWh costs if the machine works at all hours of the week alike; the first rate that fits a minute counts.

    Exact, or to a trillionth. Raises ValueError where no rate fits.
    """
    left = set(range(MINUTES_A_DAY * len(DAYS)))
    whole, cost = len(left), Fraction(0)
    for rate in rates:
        fitting = left & rate.minutes()
        cost += Fraction(rate.per_kwh) * len(fitting)
        left -= fitting
    if left:
        day, minute = divmod(min(left), MINUTES_A_DAY)
        raise ValueError(
            f"says nothing of {DAYS[day]} {minute // 60:02}:{minute % 60:02}; add a last rate without times"
        )
    average = cost / whole
    found = PRECISE.divide(Decimal(average.numerator), Decimal(average.denominator))
    rounded = found.quantize(_STEP, context=PRECISE)
    return found if rounded == found else rounded
