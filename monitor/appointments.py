"""What has a time of its own and need not wait for the next turn: a silence ends, a digest is due."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from alarms.faults import Fault
from alarms.model import Notification
from alarms.silence import Silences
from monitor.config.model import Config
from monitor.evaluation import Evaluator
from monitor.store import silences
from monitor.store.database import Store
from monitor.store.outbox import StoredOutbox
from monitor.summaries import Summaries


class Appointments:
    """Those of one config; not to be kept while a turn runs, which sees to them itself."""

    def __init__(self, config: Config, store: Store, outbox: StoredOutbox) -> None:
        self._store = store
        self._evaluator = Evaluator(config, outbox)
        self._summaries = Summaries(config, outbox)

    def keep(self, now: datetime, faults: Sequence[Fault]) -> list[Notification] | None:
        """Do what is due, in one transaction; the digests that are owed by it. None: nothing was due.

        `faults`: what is wrong with the monitor, as for a turn. Raises StoreError.
        """
        with self._store.read() as connection:
            over = bool(Silences(silences.load(connection), now).over)
            if not over and not self._summaries.is_due(connection, now):
                return None

        def work() -> list[Notification]:
            with self._store.transaction() as tx:
                if over:
                    self._evaluator.evaluate(tx, now, faults)
                return self._summaries.make(tx, now)

        return self._store.persist(work)
