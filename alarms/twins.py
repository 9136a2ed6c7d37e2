"""The words of native alarms: what a budget should have inside a cloud, what is there, and what cannot be said there.

A twin is one thing inside a cloud (an alarm, a budget) that fires while this process is dead. It is described by plain
text fields, named as the cloud names them, so that two of them can be compared, shown and mended field by field.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from alarms.model import Period, Threshold
from alarms.money import plain

# Both are on every twin, where the cloud has tags: which daemon keeps it (its prefix), and for which budget.
OWNER_TAG = "cloud-budget-monitor:owner"
BUDGET_TAG = "cloud-budget-monitor:budget"
PREFIX = "cloud-budget-monitor"
_UNUSUAL = re.compile(r"[^A-Za-z0-9 _.@+-]+", re.ASCII)
_HASH = 8

# A text, or a sorted set of texts (the subscribers of a notification, say); "" and () stand for nothing.
Value: TypeAlias = "str | tuple[str, ...]"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a receiver of the config is, in a form that a cloud may know.

    `to`: of type `sns` the ARN of its topic, of type `email` its addresses, of others nothing.
    """

    receiver: str
    type: str
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """A budget that is to have twins, in words that every cloud can look at.

    `period`: "day", "week", "month", "quarter", "year", "run", or fixed dates. The receivers of each threshold are
    those that hear it. `addresses`: of every receiver that is named. `net`: credits and refunds count. `effective`:
    commitments are spread over their time. `elsewhere`: sources in other places that it counts as well. `first_day`,
    `zone`: on which day, and at whose midnight, its months begin.
    """

    budget: str
    amount: Decimal
    currency: str
    period: str | Period
    thresholds: tuple[Threshold, ...]
    addresses: Mapping[str, Address]
    accounts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    net: bool = False
    effective: bool = False
    elsewhere: tuple[str, ...] = ()
    first_day: int = 1
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Twin:
    """One thing inside a cloud. `kind` is the cloud's word for it; `name` is unique among its kind."""

    kind: str
    name: str
    budget: str
    fields: Mapping[str, Value]

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same thing."""
        return (self.kind, self.name)


@dataclass(frozen=True, slots=True)
class Cannot:
    """What a cloud cannot express. `threshold` "": of the whole budget. `what`: by which of its means."""

    budget: str
    threshold: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Design:
    """What a budget should have in one place, and what it cannot have there."""

    twins: tuple[Twin, ...] = ()
    cannot: tuple[Cannot, ...] = ()


@dataclass(frozen=True, slots=True)
class Owned:
    """What is there of ours. `foreign`: things with a name of ours that do not bear our tag, and why they are not."""

    twins: tuple[Twin, ...] = ()
    foreign: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a drill. `ok` None: it cannot be tried, and `detail` says why."""

    what: str
    ok: bool | None
    detail: str


def slug(text: str, room: int) -> str:
    """The text as a part of a name, of at most `room` characters; what had to be changed bears a mark of its own."""
    usual = _UNUSUAL.sub("-", text)
    if usual == text and len(text) <= room:
        return text
    mark = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:_HASH]
    return f"{usual[: room - _HASH - 1]}~{mark}"


def threshold_text(threshold: Threshold) -> str:
    """`actual 80%`: how a threshold is named where people read of it."""
    return f"{threshold.on} {threshold.at.text}"


def money_text(amount: Decimal, currency: str) -> str:
    """`1000 USD`, exact."""
    return f"{plain(amount)} {currency}"


def value_text(value: Value) -> str:
    """One line."""
    return value if isinstance(value, str) else ", ".join(value)
