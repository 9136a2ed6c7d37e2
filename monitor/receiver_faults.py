"""What the daemon says of receivers that take no messages. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from alarms.faults import Fault
from alarms.model import Severity
from monitor.store.receivers import ReceiverState


def dead_receivers(states: Iterable[ReceiverState]) -> list[Fault]:
    """A fault for each receiver that is DEAD."""
    return [
        Fault(
            subject=f"receiver {receiver.name}",
            what="dead",
            severity=Severity.CRITICAL,
            title=f"Receiver {receiver.name} takes no messages",
            detail=f"{receiver.error}. What it misses goes to the others; it is tried again once a day.",
        )
        for receiver in states
        if receiver.state == "DEAD"
    ]
