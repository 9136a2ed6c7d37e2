"""When an answer about cumulative counters is not to be believed: better nothing new than a figure that falls. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC

from alarms.money import plain
from alarms.words import instant_text
from monitor.attribution import Counter, Plan
from monitor.errors import BadDataError
from monitor.meter import Point
from monitor.model import MeterReading

# CloudWatch's word for what these credentials may not see.
FORBIDDEN = "Forbidden"


def was_corrected(base: MeterReading, total: Sequence[Point]) -> bool:
    """Whether the settled reading that the total is continued from is a higher one now: its month is read anew then.

    A lower one, or none, is no correction: a counter that only grows is another account's then, and going on would book
    the difference of two accounts as a (negative) charge. Raises BadDataError.
    """
    shown = next((value for instant, value in total if instant == base.at), None)
    if shown is None or shown < base.value:
        raise BadDataError(
            f"CloudWatch shows {'nothing' if shown is None else plain(shown)} at {instant_text(base.at, UTC)}, where "
            f"this source had read {plain(base.value)}: it reads another account now. Give the source a new name, so "
            "that it starts anew, or give it its former access again"
        )
    return shown > base.value


def check_read(failed: Mapping[Counter, str], known: Collection[Counter]) -> None:
    """A part that could not be read fails the whole: one that is booked already would seem to cost nothing.

    `failed`: CloudWatch's word for why. Only what was forbidden from the first may stay in the remainder. Raises
    BadDataError.
    """
    for counter, status in failed.items():
        if status != FORBIDDEN or counter in known:
            raise BadDataError(f"CloudWatch could not give all readings of {named(counter)} ({status})")


def check_shown(plan: Plan, points: Mapping[Counter, Sequence[Point]], failed: Collection[Counter]) -> None:
    """What has shown something this month still does: its spend would move to what is nobody's. Raises BadDataError."""
    for counter in plan.shown:
        found = points.get(counter)
        if found is not None and counter not in failed and not (found and found[-1][0] >= plan.month):
            raise BadDataError(f"CloudWatch gave no reading of {named(counter)}, of which it had published some")


def named(counter: Counter) -> str:
    """A counter for people: `account 1 service AmazonEC2`."""
    account, service = counter
    return " ".join(filter(None, (account and f"account {account}", service and f"service {service}")))
