"""The month that the demo plays: one training run on three clouds, what goes wrong, and what each bill shows when.

Pure: list prices times whole hours, so that every figure on the screen can be worked out by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from alarms.model import Period
from alarms.money import for_people, total
from monitor.period import midnight, month_of

CURRENCY = "USD"
# Of everything, and of AWS alone.
BUDGET, AWS_BUDGET = Decimal(25000), Decimal(18000)


class Cloud(StrEnum):
    """Where money is spent; also the names of the sources."""

    AWS = "aws"
    GCP = "gcp"
    AZURE = "azure"


def _at(day: int, hour: int = 0) -> datetime:
    return datetime(2024, 9, day, hour, tzinfo=UTC)


MONTH = month_of(_at(1))
PREPARING = Period(_at(1), _at(4))
# The 500 hours of the plan, and until somebody ends the node.
RUN = Period(_at(2), _at(22, 20))
LEFT_ON = Period(_at(22, 20), _at(24))
FORGOTTEN = Period(_at(9), _at(19, 12))
# From the first moment at which AWS publishes nothing to the one at which it does again.
BLIND = Period(_at(17), _at(19, 6))
# The monitor is killed between two turns, and started again.
DEAD = Period(_at(20, 20), _at(24))
END = _at(24, 18)

# On demand: p4d.24xlarge, 8 A100, in us-east-1; ND96amsr_A100_v4, 8 A100; n1-standard-96 in us-central1.
NODE_PER_HOUR, EVALUATION_PER_HOUR, PREPARING_PER_HOUR = Decimal("32.77"), Decimal("34.50"), Decimal("4.56")
PREPARING_NODES = 8
_USED = (
    (Cloud.AWS, "AmazonEC2", Period(RUN.start, LEFT_ON.end), NODE_PER_HOUR),
    # 36,000 GB of data and checkpoints at 0.023 USD per GB and month of 720 hours.
    (Cloud.AWS, "AmazonS3", MONTH, Decimal("1.15")),
    # 10 GB an hour at 0.09 USD.
    (Cloud.AWS, "AWSDataTransfer", RUN, Decimal("0.90")),
    (Cloud.GCP, "Compute Engine", PREPARING, PREPARING_NODES * PREPARING_PER_HOUR),
    # 36,000 GB at 0.020 USD.
    (Cloud.GCP, "Cloud Storage", MONTH, Decimal("1.00")),
    (Cloud.AZURE, "Virtual Machines", FORGOTTEN, EVALUATION_PER_HOUR),
    # 20,000 GB at 0.018 USD.
    (Cloud.AZURE, "Storage", MONTH, Decimal("0.50")),
)
_HOUR = timedelta(hours=1)
_EVERY = timedelta(hours=6)
# GCP and Azure bill once a day, at noon, what was used until so long before; AWS every six hours, up to then.
_NOON, _BILLED_AFTER = timedelta(hours=12), timedelta(hours=6)
# Clouds publish on the hour; the monitor looks a little later.
_READ_AFTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Moment:
    """When clouds publish, and the turn after it.

    `aws_publishes`, `watched`: False while AWS publishes nothing, and while the monitor is dead. `notes`: what happened
    meanwhile. `closes_day`: the last moment of its UTC day.
    """

    at: datetime
    turn_at: datetime
    aws_publishes: bool
    watched: bool
    notes: tuple[str, ...]
    closes_day: bool


def moments() -> Iterator[Moment]:
    """The whole story in its order; it begins with the run."""
    at = RUN.start - _EVERY
    while at < END:
        before, at = at, at + _EVERY
        notes = tuple(text for instant, text in _NOTES if before < instant <= at)
        turn_at = at + _READ_AFTER
        yield Moment(at, turn_at, at not in BLIND, at not in DEAD, notes, (at + _EVERY).date() > at.date())


def billed_until(cloud: Cloud, at: datetime) -> datetime:
    """Up to when the bill reaches that a cloud has published by an instant."""
    return at if cloud is Cloud.AWS else midnight(at - _NOON) + _NOON - _BILLED_AFTER


def cost(cloud: Cloud, period: Period) -> dict[str, Decimal]:
    """What was used of a cloud in that time, by service."""
    return {
        service: hours(Period(max(used.start, period.start), min(used.end, period.end))) * per_hour
        for where, service, used, per_hour in _USED
        if where is cloud
    }


def bill(cloud: Cloud, at: datetime) -> dict[str, Decimal]:
    """Month to date by service, as a cloud shows it at an instant."""
    return cost(cloud, Period(MONTH.start, billed_until(cloud, at)))


def spent(at: datetime) -> dict[Cloud, Decimal]:
    """Month to date by cloud, as its newest bill at an instant shows it."""
    aws_at = BLIND.start - _EVERY if at in BLIND else at
    return {cloud: total(bill(cloud, aws_at if cloud is Cloud.AWS else at).values()) for cloud in Cloud}


def hours(period: Period) -> int:
    """Whole hours; 0 for a period that ends before it starts."""
    return max(0, (period.end - period.start) // _HOUR)


def morals() -> tuple[str, ...]:
    """What the two mistakes have cost, a sentence each."""
    return (
        _moral("The forgotten node on Azure", FORGOTTEN, EVALUATION_PER_HOUR),
        _moral("The node on AWS that nobody ended", LEFT_ON, NODE_PER_HOUR),
    )


def _moral(what: str, used: Period, per_hour: Decimal) -> str:
    time = hours(used)
    return f"{what}: {time} hours x {per_hour} USD = {for_people(time * per_hour, CURRENCY)}."


_NOTES = (
    (
        RUN.start,
        f"GCP: since yesterday {PREPARING_NODES} nodes prepare the data, n1-standard-96 at {PREPARING_PER_HOUR} USD/h.",
    ),
    (RUN.start, f"AWS: the run starts, {hours(RUN)} hours on 8 A100, p4d.24xlarge at {NODE_PER_HOUR} USD/h."),
    (PREPARING.end, "GCP: the data is ready."),
    (
        FORGOTTEN.start,
        f"Azure: a second node for an evaluation, ND96amsr_A100_v4 at {EVALUATION_PER_HOUR} USD/h. It is forgotten.",
    ),
    (BLIND.start, "AWS publishes nothing any more. The nodes run on."),
    (BLIND.end, "AWS publishes again."),
    (FORGOTTEN.end, "Azure: somebody reads it, finds the forgotten node and stops it."),
    (DEAD.start, "The machine dies on which the monitor runs, and the script that would end the run."),
    (RUN.end, "AWS: the run is done, but nothing ends its node."),
    (DEAD.end, "Somebody reads it, stops the node and starts the monitor again."),
)
