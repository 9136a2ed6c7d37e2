"""One turn: collect -> ledger -> readings -> evaluate -> one transaction -> (the dispatcher sends).

Each source's answer is committed as it arrives, together with what it does to the alarms and the messages that follow,
so that a slow source holds up nothing. The last one also does what only time does: periods end, data grows stale.
"""

from __future__ import annotations

import logging
import math
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from alarms.faults import Fault
from alarms.money import EXACT
from monitor import booking
from monitor.attempts import is_due, was_read
from monitor.collect import Collector, Fetched
from monitor.config.model import Config
from monitor.errors import BadDataError
from monitor.evaluation import Evaluator
from monitor.model import ApiUse, Batch, Window
from monitor.ports import BillingSource, RememberingSource
from monitor.store import facts, mended, meters
from monitor.store.database import Store
from monitor.store.facts import SourceClock
from monitor.store.outbox import StoredOutbox
from monitor.turn_report import SourceReport, TurnReport

__all__ = ["Cycle", "Faults", "SourceReport", "TurnReport"]

log = logging.getLogger(__name__)

# A year's messages and a bit, so that this November can be held against the last.
_REMEMBERED = timedelta(days=400)

T = TypeVar("T")
# Asked for in each transaction: what is wrong with the disk may have come to light a moment ago.
Faults = Callable[[], Sequence[Fault]]


class Cycle:
    """Does turns. `changed` is called after every commit that owes a message; `progressed` after every step."""

    def __init__(
        self,
        config: Config,
        sources: Sequence[BillingSource],
        store: Store,
        outbox: StoredOutbox,
        *,
        changed: Callable[[], None] = lambda: None,
        progressed: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._sources = {source.name: source for source in sources}
        self._settings = {settings.name: settings for settings in config.sources}
        self._store = store
        self._outbox = outbox
        self._changed = changed
        self._progressed = progressed
        self._collector = Collector()
        self._evaluator = Evaluator(config, outbox)
        self._patient = True
        # Something is booked that no budget was held against yet: more answers were there already.
        self._unjudged = False

    def stop(self) -> None:
        """Let a running turn end without waiting for sources; from another thread."""
        self._collector.stop()

    def tell(self, now: datetime, faults: Sequence[Fault]) -> None:
        """Tell of faults without a turn, which may be what fails. Raises StoreError."""

        def work() -> None:
            with self._store.transaction() as tx:
                self._evaluator.tell(tx, now, faults)

        self._store.persist(work)
        self._changed()

    def log_failing(self) -> None:
        """Say once, at a start, which sources fail since before it: that they go on failing is no news later."""
        with self._store.read() as connection:
            clocks = facts.read_clocks(connection)
        for clock in (clocks[name] for name in self._sources if name in clocks):
            if clock.failures:
                log.warning(
                    "A source has been failing. source=%s failures=%d error=%s", clock.name, clock.failures, clock.error
                )

    def turn(self, now: datetime, faults: Faults = tuple, *, everything: bool = False, read: bool = True) -> TurnReport:
        """Do one turn as of `now`. `everything`: read sources that are not due yet too, and wait for all of them.

        `read`: False judges again by what is known, because something else is new.
        Otherwise a turn is over after one poll: what hangs holds up no other source's next read, and is heard in a
        later turn. `faults`: what else is wrong with the monitor (a broken config, a dead receiver). Raises StoreError.
        """
        report = TurnReport(now)
        work = self._work(now, everything=everything) if read else {}
        awaited = {source.name for source in work} | self._collector.awaited
        limit_s = math.inf if everything else self._config.monitor.poll.total_seconds()
        halfway: set[str] = set()
        self._patient = True
        for fetched in self._collector.collect(work, limit_s):
            if fetched is None:
                self._lose_patience(report, now, faults)
                continue
            if fetched.last:
                awaited.discard(fetched.source)
            (halfway.add if fetched.halfway else halfway.discard)(fetched.source)
            # With the last answer the turn is over: evaluating a second time would tell nothing new.
            self._take_in(fetched, report, now, faults, awaited=awaited, whole=not halfway)
            self._progressed()
        if awaited or not report.sources:
            self._commit(report, partial(self._finish, report=report, now=now, faults=faults))
            self._changed()
            self._progressed()
        return report

    def _work(self, now: datetime, *, everything: bool) -> dict[BillingSource, Sequence[Window]]:
        work: dict[BillingSource, Sequence[Window]] = {}
        with self._store.read() as tx:
            clocks = facts.read_clocks(tx)
            for name, source in self._sources.items():
                clock = clocks.get(name) or SourceClock(name)
                # While it is being read it is asked nothing: what it does by `now` is to stay one read.
                if (everything or is_due(clock, now)) and name not in self._collector.awaited:
                    known = meters.read(tx, name) if clock.is_of(self._settings[name].type) else {}
                    windows = source.windows(now, known, clock.filled_since)
                    work[source] = [one for one in windows if clock.lacks(one.period.start, one.period.end)]
        return work

    def _commit(self, report: TurnReport, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` in one transaction; once more on what the store goes on with when the disk refuses it."""
        transitions, notifications = len(report.transitions), len(report.notifications)

        def attempt() -> T:
            del report.transitions[transitions:], report.notifications[notifications:]
            with self._store.transaction() as tx:
                return work(tx)

        return self._store.persist(attempt)

    def _take_in(
        self,
        fetched: Fetched,
        report: TurnReport,
        now: datetime,
        faults: Faults,
        *,
        awaited: Collection[str],
        whole: bool,
    ) -> None:
        """Commit what one source brought and everything that follows from it; with the last one the turn's end too.

        `awaited`: the sources that are still to answer. `whole`: no running window is there in part only, from which
        nothing may be concluded yet.
        """
        is_news = fetched.running or self._unjudged

        def book(tx: sqlite3.Connection) -> tuple[SourceClock, SourceClock, bool]:
            clocks = self._book(tx, fetched, now)
            judged = not awaited or (whole and is_news and not self._collector.more_is_there())
            if not awaited:
                self._finish(tx, report, now, faults)
            elif judged:
                self._evaluate(tx, report, now, faults, awaited)
            return *clocks, judged

        try:
            before, after, judged = self._commit(report, book)
        except BadDataError as error:
            # The batch contradicts itself: nothing of it was kept. It is a failure like one of the network, and what
            # would come after it is not asked for: the past is filled in without holes.
            fetched.refused.set()
            failed = replace(fetched, batch=None, error=error, remembered=self._remembered(fetched))
            return self._take_in(failed, report, now, faults, awaited=awaited, whole=whole)
        self._unjudged = is_news and not judged
        _log_change(before, after)
        report.of(fetched.source).add(fetched.batch, fetched.error)
        self._changed()
        return None

    def _book(self, tx: sqlite3.Connection, fetched: Fetched, now: datetime) -> tuple[SourceClock, SourceClock]:
        """The source's clock before and after."""
        before = facts.read_clocks(tx).get(fetched.source) or SourceClock(fetched.source)
        settings, poll = self._settings[fetched.source], self._config.monitor.poll
        after, restated = booking.book(tx, before, fetched, settings, poll=poll, now=now)
        facts.write_clock(tx, after)
        if restated:
            self._evaluator.restated()
        return before, after

    def _remembered(self, fetched: Fetched) -> Batch | None:
        """What is kept of an answer that the ledger refused: what it has cost."""
        source, batch = self._sources[fetched.source], fetched.batch
        if batch is None or not isinstance(source, RememberingSource):
            return fetched.remembered
        # The batch had told it, beside what it says of the bill: nothing else of it is kept.
        kept = source.remembered()
        use = ApiUse(kept.use.calls + batch.use.calls, EXACT.add(kept.use.cost_usd, batch.use.cost_usd))
        return replace(kept, use=use)

    def _finish(self, tx: sqlite3.Connection, report: TurnReport, now: datetime, faults: Faults) -> None:
        """What only time does: periods end, data grows stale, old messages are forgotten."""
        last = facts.last_turn(tx)
        if last is not None and last.date() != now.date():
            self._outbox.forget(now - _REMEMBERED)
        facts.write_turn(tx, now)
        self._evaluate(tx, report, now, faults)
        clocks, late = facts.read_clocks(tx), self._collector.awaited
        report.unread = tuple(name for name in self._sources if not was_read(clocks.get(name), now, late))
        if not report.unread:
            mended.forget(tx)

    def _lose_patience(self, report: TurnReport, now: datetime, faults: Faults) -> None:
        """Judge the budgets that were put off until all their sources had answered by those that have."""
        self._patient = False
        if self._evaluator.put_off:
            awaited = self._collector.awaited
            self._commit(report, partial(self._evaluate, report=report, now=now, faults=faults, awaited=awaited))
            self._changed()

    def _evaluate(
        self,
        tx: sqlite3.Connection,
        report: TurnReport,
        now: datetime,
        faults: Faults,
        awaited: Collection[str] = (),
    ) -> None:
        step = self._evaluator.evaluate(tx, now, faults(), awaited, patient=self._patient)
        report.transitions += step.transitions
        report.notifications += [(message.id, message.receiver) for message in step.notifications]


def _log_change(before: SourceClock, after: SourceClock) -> None:
    """A failure and its end are news; every retry in between is not."""
    if after.failures == 1:
        log.warning("A source failed. source=%s error=%s", after.name, after.error)
    elif before.failures and not after.failures:
        log.info("A source is read again. source=%s failures=%d", after.name, before.failures)
