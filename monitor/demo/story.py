"""The month that the demo plays: a training run, a node that somebody forgets, and when AWS publishes what it costs.

Pure: list prices times whole hours, so that every figure on the screen can be worked out by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alarms.model import Period
from alarms.money import for_people, total
from monitor.period import month_of

CURRENCY = "USD"
BUDGET = Decimal(20000)


def _at(month: int, day: int, hour: int = 0) -> datetime:
    return datetime(2024, month, day, hour, tzinfo=UTC)


MONTH = month_of(_at(9, 1))
# The 500 hours of the plan.
RUN = Period(_at(9, 2), _at(9, 22, 20))
FORGOTTEN = Period(_at(9, 9, 12), _at(9, 18, 12))
# From the first moment at which AWS publishes nothing to the one at which it does again.
BLIND = Period(_at(9, 16), _at(9, 18, 6))
CREDIT_AT = _at(9, 26, 6)
CREDIT = Decimal(500)
# Into the next month, which starts at zero.
END = _at(10, 1, 12)

EC2, S3, TRANSFER = "AmazonEC2", "AmazonS3", "AWSDataTransfer"
# On demand in us-east-1: p4d.24xlarge, 8 A100.
NODE_PER_HOUR = Decimal("32.77")
_USED = (
    (EC2, RUN, NODE_PER_HOUR),
    (EC2, FORGOTTEN, NODE_PER_HOUR),
    # 36,000 GB of data and checkpoints at 0.023 USD per GB and month of 720 hours.
    (S3, Period(MONTH.start, END), Decimal("1.15")),
    # 10 GB an hour at 0.09 USD.
    (TRANSFER, RUN, Decimal("0.90")),
)
_HOUR = timedelta(hours=1)
_EVERY = timedelta(hours=6)
# AWS publishes on the hour; the monitor looks a little later.
_READ_AFTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Moment:
    """A publication, or one that is left out (`published` False), and the turn after it.

    `notes`: what happened to the run meanwhile. `closes_day`: the last moment of its UTC day.
    """

    at: datetime
    turn_at: datetime
    published: bool
    notes: tuple[str, ...]
    closes_day: bool


def moments() -> Iterator[Moment]:
    """The whole story in its order."""
    at = MONTH.start
    while at < END:
        before, at = at, at + _EVERY
        notes = tuple(text for instant, text in _NOTES if before < instant <= at)
        yield Moment(at, at + _READ_AFTER, at not in BLIND, notes, (at + _EVERY).date() > at.date())


def bill(at: datetime) -> dict[str, Decimal]:
    """Month to date by service, of the month that the hours before `at` belong to."""
    month = month_of(at - _HOUR)
    services = dict.fromkeys((service for service, _, _ in _USED), Decimal(0))
    for service, used, per_hour in _USED:
        services[service] += hours(Period(max(used.start, month.start), min(used.end, at))) * per_hour
    if CREDIT_AT in month and at >= CREDIT_AT:
        services[EC2] -= CREDIT
    return services


def bill_total(at: datetime) -> Decimal:
    """Month to date of everything."""
    return total(bill(at).values())


def hours(period: Period) -> int:
    """Whole hours; 0 for a period that ends before it starts."""
    return max(0, (period.end - period.start) // _HOUR)


def moral() -> str:
    """What the forgotten node has cost, in one sentence."""
    time = hours(FORGOTTEN)
    cost = for_people(time * NODE_PER_HOUR, CURRENCY)
    return f"The forgotten node: {time} hours x {NODE_PER_HOUR} USD = {cost}."


_NOTES = (
    (RUN.start, f"The run starts: {hours(RUN)} hours on a node of 8 A100, p4d.24xlarge at {NODE_PER_HOUR} USD/h."),
    (FORGOTTEN.start, "Somebody starts a second node for a quick test, and forgets it."),
    (BLIND.start, "AWS publishes nothing any more. The nodes run on."),
    (BLIND.end, "AWS publishes again."),
    (FORGOTTEN.end, "Somebody reads it, finds the second node and stops it."),
    (RUN.end, "The run is done."),
    (CREDIT_AT, f"AWS grants a credit of {for_people(CREDIT, CURRENCY)}."),
    (MONTH.end, "The month is over."),
)
