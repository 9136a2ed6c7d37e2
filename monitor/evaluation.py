"""Holds every budget and every source against what is stored, inside the turn's transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from alarms.faults import Audience, Fault, advance_faults
from alarms.model import AlarmStatus, Period, Reading, Severity
from alarms.silence import Silence, Silences
from alarms.state import Situation, Step, Told, advance, retire
from monitor import facts_document, judged_periods
from monitor.config.model import Config
from monitor.empty_groups import empty_groups
from monitor.foresight import Foresight
from monitor.model import Series
from monitor.never_seen import NeverSeen
from monitor.outlook import Outlook
from monitor.period import Run, period_of
from monitor.ports import bill_of
from monitor.readings import Figures, WatchedBudget, figures, groups, reading, spread
from monitor.scene import Scene, look
from monitor.source_faults import source_faults
from monitor.store import alarm_states, facts, natives, silences
from monitor.store.mended import Mended
from monitor.store.outbox import StoredOutbox, told
from monitor.store.quieting import hold_back
from monitor.sums import Sums

Json = dict[str, Any]


class Evaluator:
    """Evaluates the budgets and sources of one config.

    `put_off`: the last evaluation left out a budget whose sources had not all answered yet. `restated` is to be called
    when charges have changed that were stored before.
    """

    def __init__(self, config: Config, outbox: StoredOutbox) -> None:
        self._config = config
        self._outbox = outbox
        self._currencies = {source.name: source.currency for source in config.sources}
        self._bills = {source.name: bill_of(source) for source in config.sources}
        self._admitted = {receiver.name: _rank(receiver) for receiver in config.receivers}
        self._series: Mapping[int, Series] | None = None
        self._watched: Sequence[WatchedBudget] = ()
        self._groups = groups(config.budgets, self._currencies, self._hears)
        self._never_seen = NeverSeen(())
        self._sums = Sums()
        self._outlook = Outlook(self._sums)
        self.restated = self._outlook.restated
        self._foresight = Foresight(config)
        self.put_off = False

    def evaluate(
        self,
        tx: sqlite3.Connection,
        now: datetime,
        faults: Sequence[Fault],
        awaited: Collection[str] = (),
        *,
        patient: bool = True,
    ) -> Step:
        """Advance every alarm, store what changed with its messages, and renew the facts document.

        `awaited`: sources that may answer any moment. If `patient`, a budget that was never judged waits for those that
        were never read: what is already over is told once, by the whole figure.
        """
        quiet = Silences(silences.load(tx), now)
        hold_back(tx, self._outbox, quiet)
        scene = look(tx, now, self._config.sources, quiet, awaited if patient else ())
        step, budgets = self._budgets(scene)
        if scene.mended is not None:
            step.notifications = [replace(one, possible_repeat=True) for one in step.notifications]
        mending = _mending_faults(scene.mended)
        faults = [*faults, *mending, *source_faults(scene.sources, scene.stored, now, awaited)]
        step.extend(self._faults(scene, faults))
        changed = [alarm for alarm in step.alarms if scene.stored.get(alarm.key) != alarm]
        alarm_states.save(tx, changed, step.transitions)
        self._outbox.add(step.notifications)
        still = scene.silences.still(step.alarms)
        silences.keep(tx, still)
        facts.write_facts(tx, json.dumps(self._document(scene, budgets, faults, still), ensure_ascii=False))
        return step

    def tell(self, tx: sqlite3.Connection, now: datetime, faults: Sequence[Fault]) -> None:
        """Store the alarms of these faults and owe their messages, whatever else there is to judge."""
        wanted = {fault.key: fault for fault in faults}
        previous = {key: alarm for key, alarm in alarm_states.load_open(tx).items() if key in wanted}
        step = advance_faults(wanted, previous, self._audience(partial(told, tx)), now)
        alarm_states.save(tx, step.alarms, step.transitions)
        self._outbox.add(step.notifications)

    def _budgets(self, scene: Scene) -> tuple[Step, list[Json]]:
        step, documents = Step(), []
        self.put_off = False
        watched = self._spread(scene.series)
        self._sums.prepare(watched, scene.series)
        self._outlook.prepare()
        for one in watched:
            if (scene.mended or one.budget.name not in scene.seen) and scene.unread.intersection(one.sources):
                self.put_off = True
                continue
            mine, document = self._budget(scene, one)
            step.extend(mine)
            documents.append(document)
        documents += empty_groups(self._groups, watched, scene.sources, self._never_seen, scene.now)
        step.extend(self._retired(scene, watched))
        return step, documents

    def _spread(self, series: Mapping[int, Series]) -> Sequence[WatchedBudget]:
        """Made anew when there are new series: `each` is one budget for each account seen."""
        if series is not self._series:
            known = series.values()
            self._watched = spread(self._config.budgets, known, self._currencies, self._hears, self._bills)
            self._series, self._never_seen = series, NeverSeen(known)
        return self._watched

    def _budget(self, scene: Scene, watched: WatchedBudget) -> tuple[Step, Json]:
        """Its present period, and those that are over but not settled."""
        name = watched.budget.name
        calendar = watched.config.period
        open_periods = {judged_periods.period_of_alarm(alarm) for alarm in scene.open_alarms.get(name, [])}
        since = judged_periods.alarms_since(calendar, scene.now)
        step = Step()
        for period in sorted({*open_periods, *judged_periods.skipped(calendar, scene.newest.get(name), scene.now)}):
            if judged_periods.is_over(period, since, scene.now):
                ended = self._reading(scene, watched, period, self._figures(scene, watched, period))
                step.extend(self._advance(scene, watched, period, ended))
        lingering = [alarm for alarm in step.alarms if alarm.status is AlarmStatus.FIRING]
        current = self._current(scene, watched)
        found = self._figures(scene, watched, current)
        present = self._reading(scene, watched, current, found, run=isinstance(calendar, Run))
        # Fixed dates, a run: nothing fires before they begin, nor when they were over before anybody looked.
        if scene.now in current or any(period.start == since for period in open_periods):
            of_now = self._advance(scene, watched, current, present)
            step.extend(of_now)
            alarms = list(reversed(of_now.alarms))
        else:
            alarms = list(alarm_states.load(scene.tx, name, since).values())
        told = self._foresight.newest(watched.config, scene.progress)
        # Beside a spend it only informs: a list may hold the names that two sources have for one thing.
        unseen = [*self._never_seen.of(watched.scope, watched.sources, listed=present.spend is None)]
        return step, facts_document.budget_facts(watched, present, found, [*alarms, *lingering], told, unseen)

    def _current(self, scene: Scene, watched: WatchedBudget) -> Period:
        calendar = watched.config.period
        if not isinstance(calendar, Run):
            return period_of(calendar, scene.now)
        first = self._sums.first_day(scene.tx, watched) if calendar.by_charges else None
        return calendar.period(first, scene.now)

    def _figures(self, scene: Scene, watched: WatchedBudget, period: Period) -> Figures:
        return figures(watched, self._sums.of(scene.tx, watched, period), scene.states)

    def _reading(
        self, scene: Scene, watched: WatchedBudget, period: Period, found: Figures, *, run: bool = False
    ) -> Reading:
        result = reading(watched, period, found, scene.series.values(), scene.states, scene.now)
        spent = partial(self._outlook.spent_until, scene.tx, watched, result, found, scene.states)
        result = self._foresight.extend(result, watched.config, scene.progress, spent)
        if run:  # neither a forecast nor a burn rate: it ends when it ends
            return replace(result, run=True)
        if scene.now not in period:
            return result
        return self._outlook.project(scene.tx, watched, result, found, scene.states)

    def _advance(self, scene: Scene, watched: WatchedBudget, period: Period, result: Reading) -> Step:
        name = watched.budget.name
        situation = Situation(
            previous=scene.alarms_of(watched.budget, result.alarms_since),
            now=scene.now,
            told=scene.told,
            first_sight=name not in scene.seen or scene.mended is not None,
            current=scene.now in period,
            quiet=scene.silences.of(name),
        )
        return advance(watched.budget, result, situation)

    def _retired(self, scene: Scene, watched: Iterable[WatchedBudget]) -> Step:
        """Alarms whose budget, threshold or kind of period is no longer in the config."""
        wanted = {
            (one.budget.name, t.on, t.at.text, t.severity): since
            for one in watched
            for since in [judged_periods.alarms_since(one.config.period, scene.now)]
            for t in one.budget.thresholds
        }
        gone = []
        for alarm in (alarm for alarms in scene.open_alarms.values() for alarm in alarms):
            if alarm.key.period_start is None:
                continue
            current = wanted.get((alarm.key.subject, alarm.key.on, alarm.key.at, alarm.key.severity))
            if current is None or judged_periods.is_gone(judged_periods.period_of_alarm(alarm), current, scene.now):
                gone.append(alarm)
        return retire(gone, scene.now, scene.told, scene.said)

    def _faults(self, scene: Scene, faults: Sequence[Fault]) -> Step:
        previous = {a.key: a for alarms in scene.open_alarms.values() for a in alarms if a.key.period_start is None}
        return advance_faults({fault.key: fault for fault in faults}, previous, self._audience(scene.told), scene.now)

    def _audience(self, told: Told) -> Audience:
        receivers = {s: tuple(r for r in self._config.monitor.receivers if self._hears(r, s)) for s in Severity}
        return Audience(receivers=receivers, told=told)

    def _hears(self, receiver: str, severity: Severity) -> bool:
        return self._admitted[receiver] <= severity.rank

    def _document(self, scene: Scene, budgets: list[Json], faults: Sequence[Fault], still: Iterable[Silence]) -> Json:
        since = alarm_states.load_open(scene.tx) if faults else {}
        owed = {receiver.name: receiver for receiver in self._outbox.receivers()}
        return facts_document.document(
            now=scene.now,
            turn_at=facts.last_turn(scene.tx),
            settings=self._config.monitor,
            sources=scene.sources,
            budgets=budgets,
            health=[facts_document.health_facts(since[fault.key], fault.detail) for fault in faults],
            receivers=[facts_document.receiver_facts(r.name, owed.get(r.name)) for r in self._config.receivers],
            silences=[facts_document.silence_facts(silence) for silence in still],
            native=natives.read(scene.tx),
        )


def _rank(receiver: Any) -> int:
    severity = receiver.min_severity
    return 0 if severity is None else Severity(severity).rank


def _mending_faults(mended: Mended | None) -> list[Fault]:
    if mended is None:
        return []
    return [Fault("store", mended.what.value, Severity.CRITICAL, mended.title, mended.detail)]
