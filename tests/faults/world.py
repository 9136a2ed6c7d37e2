"""What every world of faults has: a store, a cycle over it, a clock that turns move on, and what is owed and shown."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from alarms.model import Kind, Receipt
from monitor.cycle import Cycle, TurnReport
from monitor.store.database import Store
from monitor.store.outbox import StoredOutbox

HOUR = timedelta(hours=1)


class Turns:
    """Part of a world. What it is about has these three."""

    store: Store
    cycle: Cycle
    now: datetime

    def turn(self, after: timedelta = HOUR) -> TurnReport:
        self.now += after
        return self.cycle.turn(self.now)

    @property
    def facts(self) -> dict[str, Any]:
        with self.store.read() as connection:
            ((text,),) = connection.execute("SELECT document FROM facts").fetchall()
        document: dict[str, Any] = json.loads(text)
        return document

    @property
    def source(self) -> dict[str, Any]:
        source: dict[str, Any] = self.facts["sources"][0]
        return source

    def heard(self) -> list[tuple[Kind, str]]:
        """Everything owed since the last look, as though it were delivered."""
        outbox, found = StoredOutbox(self.store), []
        while (delivery := next(iter(outbox.owed("oncall")), None)) is not None:
            said = delivery.notification.facts
            found.append((said.kind, f"{said.title} {said.at}" if said.at else said.title))
            outbox.sent(delivery, Receipt(), self.now)
        return found
