"""Hardware of one's own: what it costs to have, and what it costs to run. Pure.

Only what is stated counts: without `pue`, upkeep, resale or cost of capital there are none, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from decimal import Decimal

from alarms.money import EXACT, total
from monitor.training.model import PRECISE

# A year of 365.25 days.
HOURS_PER_YEAR = Decimal(8766)
_HOUR = timedelta(hours=1)
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Rate:
    """One line of a time-of-use tariff: money per kWh at these hours, days and months; the first that fits counts.

    `start`, `end`: local times of day, [start, end), over midnight if end is not after start; None: the whole day.
    `weekdays`: 0 is Monday; `months`: 1 to 12; empty: all.
    """

    per_kwh: Decimal
    start: time | None = None
    end: time | None = None
    weekdays: tuple[int, ...] = ()
    months: tuple[int, ...] = ()

    def fits(self, local: datetime) -> bool:
        """Whether it holds at a local time."""
        if (self.weekdays and local.weekday() not in self.weekdays) or (self.months and local.month not in self.months):
            return False
        if self.start is None or self.end is None:
            return True
        at = local.time()
        return self.start <= at < self.end if self.start < self.end else at >= self.start or at < self.end


@dataclass(frozen=True, slots=True)
class Rig:
    """One `[[local]]`. `lifetime`: how long it is written off over, None if that is not stated.

    `utilisation`: the share of its life in which it works (0 to 1). `pue`: energy of the building for one of the
    machine; `wall_factor`: energy at the wall for one of `power_watts` (the sum of the GPUs' TDPs is 20 to 29 % below
    the wall for nodes of eight: MLPerf). `cost_of_capital`: a year's interest as a share.
    """

    name: str
    gpus: int
    gpu: str
    currency: str
    parts: Mapping[str, Decimal]
    power_watts: Decimal
    tariff: Sequence[Rate]
    timezone: tzinfo = UTC
    lifetime: timedelta | None = None
    pue: Decimal = _ONE
    wall_factor: Decimal = _ONE
    idle_watts: Decimal = Decimal(0)
    utilisation: Decimal = _ONE
    upkeep_per_year: Decimal = Decimal(0)
    resale: Decimal = Decimal(0)
    cost_of_capital: Decimal = Decimal(0)
    not_counted: tuple[str, ...] = field(default=())

    @property
    def hardware(self) -> Decimal:
        """What buying it costs, exactly."""
        return total(self.parts.values())

    @property
    def kilowatts(self) -> Decimal:
        """Drawn at the meter while it works."""
        return EXACT.multiply(EXACT.multiply(self.power_watts.scaleb(-3), self.pue), self.wall_factor)

    def electricity(self, start: datetime, hours: Decimal) -> Decimal:
        """What working from `start` on for so many hours costs in electricity: exact, hour by hour under a tariff."""
        if len(self.tariff) == 1 and self.tariff[0].start is None and not self.tariff[0].weekdays:
            if not self.tariff[0].months:
                return EXACT.multiply(EXACT.multiply(self.kilowatts, hours), self.tariff[0].per_kwh)
        cost, at, left = Decimal(0), start, hours
        while left > 0:
            step = min(left, self._to_next_hour(at))
            kwh = EXACT.multiply(self.kilowatts, step)
            cost = EXACT.add(cost, EXACT.multiply(kwh, self.price_at(at)))
            at += timedelta(seconds=int(step * 3600))
            left -= step
        return cost

    def price_at(self, at: datetime) -> Decimal:
        """Money per kWh at an instant. Raises ValueError where the tariff has a gap."""
        local = at.astimezone(self.timezone)
        for rate in self.tariff:
            if rate.fits(local):
                return rate.per_kwh
        raise ValueError(f"the tariff of {self.name} says nothing for {local:%A %H:%M} in {local:%B}")

    def _to_next_hour(self, at: datetime) -> Decimal:
        into = timedelta(minutes=at.minute, seconds=at.second)
        return PRECISE.divide(Decimal(int((_HOUR - into).total_seconds())), Decimal(3600))
