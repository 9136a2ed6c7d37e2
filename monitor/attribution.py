"""Whose part of a total is whose: a tree of cumulative counters becomes charges that always add up to the total. Pure.

A counter and those that it is the total of form a group. Each counter is read from its last settled reading (`base`)
on, and a group is continued from its parent's base. When a part brings a charge that starts before that (it is new, or
was late), what remained of the parent there is no longer right: the group has to be read from the month's start again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import TypeAlias

from alarms.model import Period
from monitor.meter import BUCKET, Increment, Point, increments, residual
from monitor.model import UNATTRIBUTED, Charge, MeterReading, Series
from monitor.period import month_of

# (account, service), "" where the counter is that of all of them.
Counter: TypeAlias = tuple[str, str]

TOTAL: Counter = ("", "")
_REMAINDERS = (("", UNATTRIBUTED), (UNATTRIBUTED, ""), (UNATTRIBUTED, UNATTRIBUTED))


@dataclass(frozen=True, slots=True)
class Group:
    """A counter, the parts that it is the total of, and what is left of it without them."""

    parent: Counter
    parts: tuple[Counter, ...]
    rest: Counter


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read of a month: the tree, and from where its counters are continued (`bases`; else from the start).

    `metered` are the counters that were read before, `shown` those of them that have had a reading in this month, and
    `gone` those that are booked but not in the tree any more.
    """

    month: datetime
    until: datetime
    groups: Sequence[Group]
    bases: Mapping[Counter, MeterReading]
    metered: Collection[Counter]
    shown: Collection[Counter]
    gone: Collection[Counter]


@dataclass(frozen=True, slots=True)
class Rest:
    """What is still to be read of a plan that is too much at once: the services of `accounts`.

    `points` are those of the total and of these accounts; `meters` and `missing` what the parts before have brought.
    """

    plan: Plan
    accounts: Sequence[Group]
    points: Mapping[Counter, Sequence[Point]]
    meters: Mapping[str, MeterReading]
    missing: tuple[str, ...]

    def split(self, most: int) -> tuple[Sequence[Group], Sequence[Group]]:
        """As many accounts as have about `most` readings with their services, one at least; and those after them."""
        readings = (len(self.points[TOTAL]) * (1 + len(account.parts)) for account in self.accounts)
        count = max(1, sum(together <= most for together in accumulate(readings)))
        return self.accounts[:count], self.accounts[count:]


def groups(known: Collection[Counter], by: Collection[str]) -> list[Group]:
    """The tree for `by` (of "account", "service"), its root first; without linked accounts, by service alone."""
    both = "account" in by and "service" in by
    accounts = sorted({account for account, _ in known if account}) if "account" in by else []
    if not accounts:
        services = sorted(counter for counter in known if counter[1] and not counter[0]) if "service" in by else []
        return [Group(TOTAL, tuple(services), ("", UNATTRIBUTED))]
    root = Group(TOTAL, tuple((account, "") for account in accounts), (UNATTRIBUTED, UNATTRIBUTED if both else ""))
    if not both:
        return [root]
    services_of: dict[str, list[Counter]] = defaultdict(list)
    for counter in known:
        if counter[0] and counter[1]:
            services_of[counter[0]].append(counter)
    return [root, *(Group((a, ""), tuple(sorted(services_of[a])), (a, UNATTRIBUTED)) for a in accounts)]


def total_base(metered: Mapping[Counter, MeterReading], end: datetime) -> MeterReading | None:
    """From where the total is continued; the start of its month is none, the tail of the month before ends there."""
    base = metered.get(TOTAL)
    return base if base is not None and month_of(base.at).start < base.at <= end else None


def bases_of(
    tree: Sequence[Group], metered: Mapping[Counter, MeterReading], total: MeterReading | None, month: datetime
) -> dict[Counter, MeterReading]:
    """From where counters are continued: never later than their parent."""
    bases = {} if total is None else {TOTAL: total}
    for group in tree:
        parent = bases.get(group.parent)
        for part in group.parts:
            reading = metered.get(part)
            if parent is not None and reading is not None and month < reading.at <= parent.at:
                bases[part] = reading
    return bases


class Tree:
    """What was read of the counters of `groups`: from the base on, or (without one) from `month`, a month's start.

    `points` are oldest first and may reach further back, for the tail of the month before.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        points: Mapping[Counter, Sequence[Point]],
        *,
        bases: Mapping[Counter, MeterReading],
        month: datetime,
    ) -> None:
        self._groups = groups
        self._bases = bases
        self._month = month
        # Parents whose groups are booked from the month's start on, and every counter that was read again for that.
        self._again: set[Counter] = set()
        self._reread: set[Counter] = set()
        self._read = dict(points)
        self._points = _up_to_parents(groups, self._read)
        self._increments = {each: increments(self._points[each], bases.get(each)) for each in self._points}

    @property
    def newest(self) -> datetime:
        """When the total was read last."""
        return self._points[TOTAL][-1][0]

    def to_read_again(self) -> set[Counter]:
        """The counters of groups that cannot be continued from their base; these are booked from `month` on now.

        To be asked again after `read_again`, until there are none.
        """
        open_parents = self._bases.keys() - self._again
        late = [group for group in self._groups if group.parent in open_parents and self._is_late(group)]
        self._again |= {group.parent for group in late}
        return {counter for group in late for counter in (group.parent, *group.parts)}

    def read_again(self, points: Mapping[Counter, Sequence[Point]]) -> None:
        """Take in what was read from `month` on of those of `to_read_again`."""
        self._reread |= points.keys()
        self._read |= points
        before = self._points
        self._points = _up_to_parents(self._groups, self._read)
        # Of a part that brought nothing all is in the remainder now: nothing may stay booked below it.
        self._again |= {counter for counter in points if not self._points[counter]}
        for counter, found in self._points.items():
            if found is not before[counter]:
                base = None if counter in self._reread else self._bases.get(counter)
                self._increments[counter] = increments(found, base)

    def charges(
        self, source: str, currency: str, end: datetime, only: Collection[Counter] | None = None
    ) -> tuple[list[Charge], dict[Series, Period]]:
        """The charges that start before `end`, and from where to where they replace what is stored of their series.

        `only`: the parents of the groups to book, None for all.
        """
        charges: list[Charge] = []
        replaces: dict[Series, Period] = {}

        def book(counter: Counter, window: Period, found: Sequence[Increment]) -> None:
            series = Series(source, currency, *counter)
            replaces[series] = window
            charges.extend([Charge(series, period, value) for period, value in found])

        parents = {group.parent for group in self._groups}
        booked = parents if only is None else only
        if TOTAL in booked:
            for other in _REMAINDERS:  # of the total, while the tree had another shape
                book(other, Period(self.since(TOTAL), end), ())
        for group in (group for group in self._groups if group.parent in booked):
            window = Period(self.since(group.parent), end)
            whole = self._starting_in(window, group.parent)
            # A counter that has parts is not booked itself, one that has none leaves no remainder; it may have been so.
            if not group.parts:
                book(group.parent, window, whole)
                book(group.rest, window, ())
                continue
            parts = {part: self._starting_in(window, part) for part in group.parts}
            for part in group.parts:
                if part not in parents:
                    book(part, window, parts[part])
                    if not part[1]:
                        book((part[0], UNATTRIBUTED), window, ())
            book(group.parent, window, ())
            book(group.rest, window, residual(whole, parts.values(), self._known(group.parent)))
        return charges, replaces

    def since(self, parent: Counter) -> datetime:
        """From where on the group of this parent is booked."""
        return self._month if parent in self._again or parent not in self._bases else self._bases[parent].at

    def settled(self, age: timedelta) -> dict[Counter, MeterReading]:
        """The readings to continue from next time: those at least `age` older than the total's newest.

        A counter that has no such reading yet gets its month's start, where it showed 0: read it from there.
        """
        result = {TOTAL: self._last(TOTAL, self.newest - age, self._month) or MeterReading(self._month, _ZERO)}
        for group in self._groups:
            parent = result.get(group.parent)
            if parent is None:
                continue
            month = month_of(parent.at).start
            for part in group.parts:
                reading = self._last(part, parent.at, month)
                if reading is None and self._shown_since(part, month):
                    reading = MeterReading(month, _ZERO)
                if reading is not None:
                    result[part] = reading
        return result

    def _is_late(self, group: Group) -> bool:
        """Whether a part brings, or may have, a charge that starts before the group's base."""
        cut = self._bases[group.parent].at
        for part in group.parts:
            if part in self._again and not self._points[part]:
                return True
            if part not in self._reread and self._first_start(part, cut) < cut:
                return True
        return False

    def _first_start(self, counter: Counter, none: datetime) -> datetime:
        """Where its first charge of the month starts; `none` if it has none."""
        return next((period.start for period, _ in self._increments[counter] if period.start >= self._month), none)

    def _starting_in(self, window: Period, counter: Counter) -> list[Increment]:
        start, end = window.start, window.end
        return [increment for increment in self._increments[counter] if start <= increment[0].start < end]

    def _known(self, parent: Counter) -> Period:
        """From where to where the parent's part of the total is known."""
        since, points = self.since(parent), self._points[parent]
        return Period(since, points[-1][0] + BUCKET if points else since)

    def _last(self, counter: Counter, until: datetime, month: datetime) -> MeterReading | None:
        """The last settled reading of `month` or later; none on a 1st, where a value may belong to either month."""
        for instant, value in reversed(self._points[counter]):
            if month < instant <= until and instant.day != 1:
                return MeterReading(instant, value)
        base = None if counter in self._reread else self._bases.get(counter)
        return base if base is not None and month < base.at else None

    def _shown_since(self, counter: Counter, month: datetime) -> bool:
        points = self._points[counter]
        return bool(points) and points[-1][0] >= month


def _up_to_parents(
    groups: Sequence[Group], points: Mapping[Counter, Sequence[Point]]
) -> dict[Counter, Sequence[Point]]:
    """Without the readings of parts that are newer than their parent's newest: those wait for the next time."""
    result = dict(points)
    for group in groups:
        newest = result[group.parent][-1][0] if result[group.parent] else None
        for part in group.parts:
            known = result[part]
            if known and (newest is None or known[-1][0] > newest):
                result[part] = [] if newest is None else [point for point in known if point[0] <= newest]
    return result


_ZERO = Decimal(0)
