"""The daemon's own look at the twins inside the clouds: it notes how they stand, and mends those that are managed.

It runs in a thread of its own and holds up no turn: what hangs there is given up after minutes, and meanwhile nothing
else waits for it.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from alarms.errors import OutsideError, TemporaryError
from alarms.faults import Fault
from alarms.model import Severity
from alarms.reconcile import Change, Op, Outcome, TwinState
from alarms.terms import twin_advice
from monitor.clock import Clock
from monitor.config.model import Config
from monitor.errors import StoreError
from monitor.facts_document import native_facts
from monitor.natives import Account, Natives, Survey, Unread, carry_out_within
from monitor.readings import WatchedBudget
from monitor.store import facts, known_series, natives
from monitor.store.database import Store
from monitor.store.natives import NativeRow

log = logging.getLogger(__name__)

# After a look that failed, sooner than usual.
_AGAIN_S = 300.0
# What was seen holds for so many looks that fail from something that may pass.
_HOLDS_LOOKS = 3
_BACKSTOP = "no native backstop"


class NativeWatch:
    """Looks when it is due. `changed` is called after every look that stored something."""

    def __init__(self, config: Config, store: Store, clock: Clock, *, changed: Callable[[], None]) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._changed = changed
        self._natives = Natives(config, clock.now)
        self._due_at = -math.inf
        self._seen: tuple[str, ...] = ()
        self._defect: str | None = None
        self._looking = threading.Lock()
        self._stopped = threading.Event()
        self._recording = threading.Lock()

    def look_aside(self) -> None:
        """Look if that is due, in a thread of its own if none is at it: no scheduler waits for it, and no exit."""
        if not self._looking.locked():
            threading.Thread(target=self.look, name="natives", daemon=True).start()

    def stop(self) -> None:
        """Begin no change any more and store nothing: another config holds, or the store will be closed."""
        self._stopped.set()
        with self._recording:
            pass  # what is being stored has a whole store until it is done

    def look(self, *, now: bool = False) -> bool:
        """Look at every account with twins, if an interval has passed since the last look, or `now`; whether it did."""
        if not self._looking.acquire(blocking=False):
            return False
        looked = True
        try:
            looked = self._look(at_once=now)
        except StoreError as error:
            log.warning("How the native alarms stand could not be stored. error=%s", error)
        except Exception as error:  # a defect here must not end a daemon that watches; it is told like any fault
            log.exception("A defect in the native alarms.")
            self._defect = type(error).__name__
        else:
            self._defect = None
        finally:
            self._looking.release()
        return looked

    def faults(self) -> list[Fault]:
        """Twins that are not as they should be, or could not be seen, as of the last look."""
        with self._store.read() as connection:
            rows = natives.read(connection)
        found = [_fault(row) for row in rows if row.state is not TwinState.IN_SYNC]
        if self._defect is not None:
            detail = f"A defect of this program ({self._defect}): see its log. The budgets are watched all the same."
            found.append(
                Fault("native alarms", "not looked at", Severity.WARNING, "Native alarms are not seen", detail)
            )
        return found

    def _look(self, *, at_once: bool) -> bool:
        if self._stopped.is_set():
            return False
        with self._store.read() as connection:
            rows = {row.key: row for row in natives.read(connection)}
            if not self._natives.any and not rows:
                return False
            known = list(known_series.numbered(connection).values())
        watched = self._natives.wanted(known)
        names = tuple(one.budget.name for one in watched)
        if not at_once and names == self._seen and self._clock.monotonic() < self._due_at:
            return False
        survey = self._natives.survey(watched, clouds={row.cloud for row in rows.values()})
        failures = self._mend(survey, watched, rows.values())
        every_s = self._config.monitor.native_every.total_seconds()
        self._due_at = self._clock.monotonic() + (_AGAIN_S if survey.unread else every_s)
        self._seen = names
        with self._recording:
            if not self._stopped.is_set():
                self._store.persist(lambda: self._record(survey, failures))
                self._changed()
        return True

    def _mend(
        self, survey: Survey, watched: Sequence[WatchedBudget], rows: Iterable[NativeRow]
    ) -> dict[tuple[str, str, str], OutsideError]:
        """Make managed twins as they should be; why that failed, by budget, cloud and place."""
        failures: dict[tuple[str, str, str], OutsideError] = {}
        for number, account in enumerate(survey.accounts):
            wanted = [change for change in account.changes if _is_ours_to_do(change, account, rows)]
            if not wanted:
                continue
            for change in wanted:
                if self._stopped.is_set():
                    return failures
                (outcome,) = carry_out_within(account.native, [change])
                _log(account, outcome)
                if outcome.error is not None:
                    failures[change.twin.budget, account.cloud, account.place] = outcome.error
            try:
                survey.accounts[number] = self._natives.look_again(account, watched)
            except OutsideError as error:
                log.warning("What was mended could not be seen. cloud=%s error=%s", account.cloud, error)
        return failures

    def _record(self, survey: Survey, failures: dict[tuple[str, str, str], OutsideError]) -> None:
        now = self._clock.now()
        with self._store.transaction() as tx:
            stored = {row.key: row for row in natives.read(tx)}
            rows = [row for account in survey.accounts for row in _seen(account, stored, failures, now)]
            longest = self._config.monitor.native_every * _HOLDS_LOOKS
            rows += [row for one in survey.unread for row in _unseen(one, stored, longest, now)]
            natives.put(tx, rows)
            natives.forget(tx, stored.keys() - {row.key for row in rows} - _out_of_sight(stored, survey))
            document = facts.read_facts(tx)
            if document is not None:
                every = self._config.monitor.drill_every
                renewed = {**json.loads(document), "native": [native_facts(row, every) for row in natives.read(tx)]}
                facts.write_facts(tx, json.dumps(renewed, ensure_ascii=False))


def _is_ours_to_do(change: Change, account: Account, rows: Iterable[NativeRow]) -> bool:
    """That of a managed budget, or what one has left that this daemon itself has managed until it was gone."""
    name = change.twin.budget
    if change.op is Op.BLOCKED:
        return False
    if name in account.budgets:
        return name in account.managed
    here = (name, account.cloud, account.place)
    return any(row.key == here and row.managed for row in rows)


def _seen(
    account: Account,
    stored: dict[natives.Key, NativeRow],
    failures: dict[tuple[str, str, str], OutsideError],
    now: datetime,
) -> Iterable[NativeRow]:
    for standing in account.standings:
        key = (standing.budget, account.cloud, account.place)
        unplaced = stored.get((standing.budget, account.cloud, ""))
        before = stored.get(key) or unplaced or NativeRow(*key, TwinState.UNKNOWN, "", now, now)
        detail = standing.detail
        if key in failures and standing.state is not TwinState.IN_SYNC:
            detail = f"{failures[key]} ({detail})"
        if standing.state is TwinState.MISSING:
            detail = f"{_BACKSTOP}: {detail}"
        gone = standing.budget not in account.budgets
        managed = before.managed if gone else standing.budget in account.managed
        row = replace(before.stands(standing.state, detail, now), place=account.place, checked_at=now, managed=managed)
        yield row


def _unseen(
    unread: Unread, stored: dict[natives.Key, NativeRow], longest: timedelta, now: datetime
) -> Iterable[NativeRow]:
    for budget in unread.budgets:
        mine = [
            row
            for row in stored.values()
            if (row.budget, row.cloud) == (budget, unread.cloud) and unread.place in ("", row.place)
        ]
        for row in mine or [NativeRow(budget, unread.cloud, unread.place, TwinState.UNKNOWN, "", now, now)]:
            passing = isinstance(unread.error, TemporaryError)
            if passing and row.checked_at is not None and timedelta(0) <= now - row.checked_at < longest:
                yield row
            else:
                yield row.stands(TwinState.UNKNOWN, f"{_BACKSTOP} is known: {unread.error}", now)


def _out_of_sight(stored: dict[natives.Key, NativeRow], survey: Survey) -> set[natives.Key]:
    """Rows of accounts that may be among those that were not seen this time: nothing new is known of them."""
    seen = {(account.cloud, account.place) for account in survey.accounts}
    return {key for key, row in stored.items() if row.cloud in survey.blind and row.place and key[1:] not in seen}


def _fault(row: NativeRow) -> Fault:
    where = f"{row.cloud} {row.place}".strip()
    titles = {
        TwinState.MISSING: f"Budget {row.budget} has no native backstop in {where}",
        TwinState.DRIFTED: f"The native alarms of {row.budget} in {where} were changed",
        TwinState.UNKNOWN: f"The native alarms of {row.budget} in {where} cannot be seen",
    }
    advice = twin_advice(row.state, row.detail)
    detail = f"{row.detail}. {advice[:1].upper()}{advice[1:]}."
    return Fault(_subject(row), row.state.value.lower(), Severity.WARNING, titles[row.state], detail)


def _subject(row: NativeRow) -> str:
    return f"native {row.cloud} {row.budget}" if not row.place else f"native {row.cloud} {row.place} {row.budget}"


def _log(account: Account, outcome: Outcome) -> None:
    change = outcome.change
    said = (change.op.value, account.cloud, change.twin.kind, change.twin.name)
    if outcome.error is None:
        fields = ", ".join(one.field for one in change.differences) if change.op is Op.UPDATE else "-"
        log.info("A native alarm was mended. op=%s cloud=%s kind=%s name=%s fields=%s", *said, fields)
    else:
        log.warning("A native alarm could not be mended. op=%s cloud=%s kind=%s name=%s error=%s", *said, outcome.error)
