"""What one evaluation looks at: where everything stands, read once from the turn's transaction."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alarms.evaluate import key_of
from alarms.model import Alarm, AlarmKey, Budget, Facts
from alarms.silence import Silences
from monitor import facts_document
from monitor.clock import from_text
from monitor.freshness import Freshness, judge
from monitor.model import Progress, Series
from monitor.ports import SourceDefaults
from monitor.readings import SourceState
from monitor.store import alarm_states, facts, known_series, mended, progress
from monitor.store.facts import SourceClock
from monitor.store.mended import Mended
from monitor.store.outbox import last_said, told

Json = dict[str, Any]


@dataclass(slots=True)
class Scene:
    """Read by `look`.

    `series`: of the ledger, by number. `sources`: as the facts document names them. `unread`: sources that may answer
    any moment and are worth waiting for. `open_alarms`: by subject. `seen`: budgets that ever had a reading. `newest`:
    when the newest period began in which each was judged. `stored`: every alarm that was read, open or not.
    """

    tx: sqlite3.Connection
    now: datetime
    series: Mapping[int, Series]
    sources: list[Json]
    states: Mapping[str, SourceState]
    unread: frozenset[str]
    mended: Mended | None
    open_alarms: Mapping[str, list[Alarm]]
    seen: frozenset[str]
    newest: Mapping[str, datetime]
    stored: dict[AlarmKey, Alarm]
    silences: Silences
    progress: Mapping[str, Sequence[Progress]]

    def alarms_of(self, budget: Budget, since: datetime) -> Mapping[AlarmKey, Alarm]:
        """Where its alarms of a period stand. The open ones were read at once; what else there is, is looked up."""
        found = {alarm.key: alarm for alarm in self.open_alarms.get(budget.name, ()) if alarm.key.period_start == since}
        if not all(key_of(budget, threshold, since) in found for threshold in budget.thresholds):
            found = alarm_states.load(self.tx, budget.name, since)
            self.stored |= found
        return found

    def told(self, episode: str, level: str) -> frozenset[str]:
        """Who was sent the FIRING of a level in an episode."""
        return told(self.tx, episode, level)

    def said(self, episode: str, level: str) -> Facts | None:
        """What the last message about a level of an episode said."""
        return last_said(self.tx, episode, level)


def look(
    tx: sqlite3.Connection,
    now: datetime,
    sources: Sequence[SourceDefaults],
    quiet: Silences,
    awaited: Collection[str],
) -> Scene:
    """Read it all. `sources`: of the config; `awaited`: those that may answer any moment; `quiet`: what is silenced."""
    clocks = facts.read_clocks(tx)
    documents = _documents(tx, now, sources, clocks)
    stored = alarm_states.load_open(tx)
    open_alarms: dict[str, list[Alarm]] = defaultdict(list)
    for alarm in stored.values():
        open_alarms[alarm.key.subject].append(alarm)
    states = {document["name"]: _state(document, clocks.get(document["name"]), now) for document in documents}
    was_mended = mended.read(tx)
    return Scene(
        tx=tx,
        now=now,
        series=known_series.numbered(tx),
        sources=documents,
        states=states,
        unread=frozenset(name for name in awaited if was_mended or states[name].freshness is Freshness.NEVER),
        mended=was_mended,
        open_alarms=open_alarms,
        seen=alarm_states.subjects_read(tx),
        newest=alarm_states.newest_periods(tx),
        stored=stored,
        silences=quiet,
        progress=progress.load(tx),
    )


def _documents(
    tx: sqlite3.Connection, now: datetime, sources: Sequence[SourceDefaults], clocks: Mapping[str, SourceClock]
) -> list[Json]:
    month = f"{now:%Y-%m}"
    return [
        facts_document.source_facts(
            settings,
            clocks.get(settings.name) or SourceClock(settings.name),
            facts.read_use(tx, settings.name, month),
        )
        for settings in sources
    ]


def _state(source: Json, clock: SourceClock | None, now: datetime) -> SourceState:
    as_of = source["data_as_of"]
    return SourceState(
        name=source["name"],
        freshness=judge(source, now),
        data_as_of=None if as_of is None else from_text(as_of),
        missing=tuple(source["missing"]),
        filled_since=None if clock is None else clock.filled_since,
    )
