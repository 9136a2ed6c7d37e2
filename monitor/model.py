"""The words of `monitor`: charges, what they belong to, and what a source hands over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from alarms.model import Period

UNATTRIBUTED = "(unattributed)"
# The charge category that `basis = "gross"` leaves out: credits, discounts given as credits, refunds.
CREDIT = "Credit"


class Basis(StrEnum):
    """`basis` of a budget: whether credits and refunds count."""

    GROSS = "gross"
    NET = "net"


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """What charges belong to, at the finest grain that its source gives. "" means: the source does not say.

    `account` is FOCUS SubAccountId, `service` ServiceName, `region` RegionId, `charge_category` ChargeCategory (Usage,
    Purchase, Tax, Adjustment, or CREDIT). `billing_period`: the first day (ISO) of the invoice's period, where that is
    not the UTC month of the charge. UNATTRIBUTED is what remains of a total when its parts are taken off.
    """

    source: str
    currency: str
    account: str = ""
    service: str = ""
    region: str = ""
    run: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    charge_category: str = ""
    billing_period: str = ""


@dataclass(frozen=True, slots=True)
class Charge:
    """One row: `billed_cost` (FOCUS BilledCost) of a series over a charge period, booked on the UTC day it starts."""

    series: Series
    period: Period
    billed_cost: Decimal


@dataclass(frozen=True, slots=True)
class MeterReading:
    """What a cumulative counter showed at an instant: month to date, as EstimatedCharges is published."""

    at: datetime
    value: Decimal


@dataclass(frozen=True, slots=True)
class Window:
    """What to fetch: charges of `period`.

    `meters`: for a source of cumulative counters, the last reading of each (by the source's own name for it) that
    needs no second look; empty on the first fetch and when a past month is filled in.
    `part`: where a fetch that was too much at once goes on; the source's own note, from `Batch.rest`.
    """

    period: Period
    meters: Mapping[str, MeterReading] = field(default_factory=dict)
    part: object = None


@dataclass(frozen=True, slots=True)
class ApiUse:
    """What a fetch cost: calls made, and dollars by the cloud's published price."""

    calls: int = 0
    cost_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one fetch brought.

    `charges` replace what is stored of their series within `replaces[series]`; a stored charge in there that is not
    among them is withdrawn; a series that is not named is left alone (missing is missing, not zero).
    `whole`: where this is all that the source has, complete; there every other series of it is withdrawn too.
    `whole_accounts`: the same for single accounts, of a source that reads each for itself.
    `unchanged`: whole UTC days inside of all these that the source knows to be as it delivered them last, so that it
    does not deliver them again: no charge starts in them, and what is stored there stays.
    `data_as_of`: the newest instant that the source has published anything for, None if it published nothing.
    `rejected`: rows that were unusable; `missing`: parts that could not be read, and that some rows were unusable (the
    rest is then a lower bound).
    `meters`: the readings to start from next time.
    `rest`: what is still to be fetched of the window before anything may be concluded, None if this is all of it.
    """

    charges: tuple[Charge, ...]
    replaces: Mapping[Series, Period]
    data_as_of: datetime | None
    whole: Period | None = None
    whole_accounts: Mapping[str, Period] = field(default_factory=dict)
    unchanged: tuple[Period, ...] = ()
    rejected: int = 0
    missing: tuple[str, ...] = ()
    meters: Mapping[str, MeterReading] = field(default_factory=dict)
    use: ApiUse = ApiUse()
    rest: Window | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a budget counts. An empty tuple does not restrict; `source` is one name; of `tag` every pair must match."""

    source: tuple[str, ...] = ()
    account: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    region: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    tag: tuple[tuple[str, str], ...] = ()

    def covers(self, series: Series) -> bool:
        """Whether charges of this series count."""
        return (
            (not self.source or series.source in self.source)
            and (not self.account or series.account in self.account)
            and (not self.service or series.service in self.service)
            and (not self.region or series.region in self.region)
            and (not self.run or series.run in self.run)
            and all(pair in series.tags for pair in self.tag)
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """A training run said at an instant that it is at `step` of `steps`. `by`: who said so."""

    run: str
    at: datetime
    step: int
    steps: int
    by: str = ""
