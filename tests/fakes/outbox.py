"""What tests ask of an outbox: how its messages stand, in short."""

from __future__ import annotations

from collections.abc import Collection

from alarms.model import DeliveryState
from monitor.store.outbox import StoredOutbox


def states_of(outbox: StoredOutbox, ids: Collection[str]) -> list[tuple[str, str, DeliveryState]]:
    """(id, receiver, state) of these messages, in the order in which they were owed."""
    return [(one.id, one.receiver, one.state) for one in outbox.standings(ids)]
