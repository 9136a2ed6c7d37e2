"""Budgets with `each` of which there is none, because no account was ever seen: nobody watches what they stand for.

They are no budgets yet, so they have no alarms that could fire; but they are never left out of what `status` shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from alarms.evaluate import key_of
from alarms.model import Alarm, DataStatus, Reading
from monitor import judged_periods
from monitor.facts_document import budget_facts
from monitor.never_seen import NeverSeen
from monitor.period import Run, period_of
from monitor.readings import Figures, WatchedBudget

Json = dict[str, Any]


def empty_groups(
    groups: Iterable[WatchedBudget],
    watched: Iterable[WatchedBudget],
    sources: Sequence[Json],
    seen: NeverSeen,
    now: datetime,
) -> Iterator[Json]:
    """An entry of `budgets` in the facts document for each of `groups` that has no member among `watched`.

    `sources`: those of the facts document. `seen`: what the charges tell of accounts.
    """
    with_members = {one.config.name for one in watched}
    known = {source["name"]: source for source in sources}
    for group in groups:
        if group.config.name not in with_members:
            yield {**_facts(group, now), "watches_nothing": _why(group, known, seen)}


def _facts(group: WatchedBudget, now: datetime) -> Json:
    calendar = group.config.period
    since = judged_periods.alarms_since(calendar, now)
    alarms = [Alarm(key_of(group.budget, one, since), data=DataStatus.NO_DATA) for one in group.budget.thresholds]
    reading = Reading(
        budget=group.budget.name,
        period=period_of(calendar, now),
        currency=group.budget.currency,
        spend=None,
        run=isinstance(calendar, Run),
    )
    return budget_facts(group, reading, Figures(None, None, group.sources, (), {}, frozenset()), alarms)


def _why(group: WatchedBudget, sources: Mapping[str, Json], seen: NeverSeen) -> str:
    """A source that was never read may still tell of one; else there is none, and that will stay so."""
    unread = [name for name in group.sources if sources[name]["last_poll"] is None]
    if unread:
        return f"no account is known yet, {_listed(unread, 'and')} {'was' if len(unread) == 1 else 'were'} never read"
    if misspelt := next(seen.of(group.scope, group.sources), None):
        return misspelt
    return (
        f"no account was ever seen by {_listed(group.sources, 'or')}, so nothing is watched by it; "
        "a single account needs no `each`"
    )


def _listed(names: Sequence[str], word: str) -> str:
    return f" {word} ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]]) or "any source"
