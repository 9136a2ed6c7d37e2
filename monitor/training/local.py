"""Hardware of one's own: what it costs to have, and what it costs to run. Pure.

Only what is stated counts: without `pue`, upkeep, resale or cost of capital there are none, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from alarms.money import EXACT, total
from monitor.training.model import PRECISE, Gpu
from monitor.training.tariff import Tariff

# A year of 365 days.
HOURS_PER_YEAR = Decimal(8760)
_ONE = Decimal(1)
# Of rates that no finite decimal holds: a share of a year, a share of a life.
_STEP = Decimal("1E-12")


@dataclass(frozen=True, slots=True)
class Rig:
    """One `[[local]]`. `lifetime_hours`: how long it is written off over, None if that is not stated.

    `utilisation`: the share of its life in which it works (0 to 1). `pue`: energy of the building for one of the
    machine; `wall_factor`: energy at the wall for one of `power_watts`. `cost_of_capital`: a year's interest on what
    was paid, as a share. `not_counted`: the keys that were not stated. `owned`: it is there already, and paid for.
    `tariff`: by time of use; then `electricity_per_kwh` is the mean of a year.
    """

    name: str
    gpus: int
    gpu: Gpu
    currency: str
    parts: Mapping[str, Decimal]
    power_watts: Decimal
    electricity_per_kwh: Decimal
    lifetime_hours: Decimal | None = None
    pue: Decimal = _ONE
    wall_factor: Decimal = _ONE
    idle_watts: Decimal = Decimal(0)
    utilisation: Decimal = _ONE
    upkeep_per_year: Decimal = Decimal(0)
    resale: Decimal = Decimal(0)
    cost_of_capital: Decimal = Decimal(0)
    not_counted: tuple[str, ...] = ()
    owned: bool = False
    tariff: Tariff | None = None

    @property
    def hardware(self) -> Decimal:
        """What buying it costs, exactly."""
        return total(self.parts.values())

    @property
    def to_earn_back(self) -> Decimal:
        """What buying it costs in the end: without what it is sold for."""
        return EXACT.subtract(self.hardware, self.resale)

    @property
    def running_per_hour(self) -> Decimal:
        """Money for an hour of work: electricity, exactly, and the hour's share of what costs by the year or idles."""
        work = self._electricity(self.power_watts)
        if not (self.idle_watts or self.upkeep_per_year or self.cost_of_capital):
            return work
        idle_hours = PRECISE.divide(_ONE - self.utilisation, self.utilisation)
        idle = PRECISE.multiply(self._electricity(self.idle_watts), idle_hours)
        yearly = PRECISE.add(self.upkeep_per_year, PRECISE.multiply(self.hardware, self.cost_of_capital))
        used = PRECISE.multiply(HOURS_PER_YEAR, self.utilisation)
        more = PRECISE.add(idle, PRECISE.divide(yearly, used))
        return PRECISE.add(work, more).quantize(_STEP, context=PRECISE)

    @property
    def hours_in_life(self) -> Decimal | None:
        """How many hours it works before it is written off."""
        return None if self.lifetime_hours is None else PRECISE.multiply(self.lifetime_hours, self.utilisation)

    def running(self, hours: Decimal, start: datetime | None = None) -> Decimal:
        """What so many hours of work cost beside the hardware: an exact product.

        From a `start`, under a tariff: what a kWh costs at those hours counts, to a millionth.
        """
        if self.tariff is None or start is None:
            return EXACT.multiply(self.running_per_hour, hours)
        beside = EXACT.subtract(self.running_per_hour, self._electricity(self.power_watts))
        power = PRECISE.multiply(self._kilowatts(self.power_watts), self.tariff.price_hours(start, hours))
        return PRECISE.add(power, PRECISE.multiply(beside, hours)).quantize(Decimal("1E-6"), context=PRECISE)

    def to_pay(self, hours: Decimal) -> Decimal:
        """What is still to be paid for so many hours of work: without the hardware if it is there already."""
        return self.running(hours) if self.owned else EXACT.add(self.hardware, self.running(hours))

    def share_of_hardware(self, hours: Decimal) -> Decimal | None:
        """What so many hours use up of the hardware; None without a lifetime."""
        life = self.hours_in_life
        if life is None:
            return None
        share = PRECISE.divide(hours, life)
        return PRECISE.multiply(self.to_earn_back, share).quantize(Decimal("1E-6"), context=PRECISE)

    def _electricity(self, watts: Decimal) -> Decimal:
        return EXACT.multiply(self._kilowatts(watts), self.electricity_per_kwh)

    def _kilowatts(self, watts: Decimal) -> Decimal:
        """At the meter of the building."""
        return EXACT.multiply(EXACT.multiply(watts.scaleb(-3), self.pue), self.wall_factor)
