"""What a day cost, divided further by answers that each tell two things apart. Pure.

Nothing is added and nothing lost: what goes to a run is taken off the same place without a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import NamedTuple, TypeAlias

from alarms.money import EXACT
from monitor.model import UNATTRIBUTED

USAGE, TAX = "Usage", "Tax"


class Place(NamedTuple):
    """What a cost belongs to; `category` is FOCUS ChargeCategory."""

    day: date
    account: str = ""
    service: str = ""
    run: str = ""
    category: str = USAGE


Cells: TypeAlias = dict[Place, Decimal]
# (day, run) -> "account" or "service" -> what of it the run cost by which
Runs: TypeAlias = dict[tuple[date, str], dict[str, dict[str, Decimal]]]


def category_of(service: str) -> str:
    """Where the kind of charge is not told: AWS bills taxes as a service of that name."""
    return TAX if service == TAX else USAGE


def divide(cells: Cells, runs: Runs) -> None:
    """Move what runs cost to places of their own. What it leaves without a run may be below zero, if answers differ."""
    for (day, run), parts in runs.items():
        for place, cost in _pieces(day, parts):
            theirs = place._replace(run=run)
            cells[theirs] = EXACT.add(cells.get(theirs, _ZERO), cost)
            left = EXACT.subtract(cells.get(place, _ZERO), cost)
            if left or place not in cells:
                cells[place] = left
            else:
                del cells[place]


_ZERO = Decimal(0)


def _pieces(day: date, parts: Mapping[str, Mapping[str, Decimal]]) -> Iterator[tuple[Place, Decimal]]:
    """What a run cost on a day, without the run. A run in one account, or of one service, is known by both.

    One of several services in several accounts is known by each, but not by both together: the account is kept.
    """
    accounts, services = parts.get("account", {"": _ZERO}), parts.get("service", {"": _ZERO})
    if len(accounts) == 1 and "service" in parts:
        (account,) = accounts
        found = [(account, service, cost) for service, cost in services.items()]
    else:
        service = next(iter(services)) if len(services) == 1 else UNATTRIBUTED
        found = [(account, service, cost) for account, cost in accounts.items()]
    for account, service, cost in found:
        yield Place(day, account, service, category=category_of(service)), cost
