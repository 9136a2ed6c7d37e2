"""What `alarms` needs from others, as protocols: something that sends, and a place where what is owed is kept."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from alarms.model import Delivery, Notification, Receipt


class Notifier(Protocol):
    """One configured receiver. Made by `create(settings)` of its module."""

    def send(self, notification: Notification) -> Receipt:
        """Make one attempt, over within 30 seconds in all, whatever the other side does.

        Raises TemporaryError (with `retry_after` if the other side named one, `uncertain` if it may have been
        accepted) or PermanentError. No retries inside: the outbox retries.
        """


class Outbox(Protocol):
    """What is owed, kept so that kill -9 at any instant loses nothing. Each method that writes has committed on return.

    Safe to call from several threads.
    """

    def recover(self) -> int:
        """At start: deliveries found in SENDING are uncertain; make them DUE, marked as a possible repeat."""

    def oldest_owed(self, receiver: str) -> Delivery | None:
        """The oldest delivery of this receiver that is DUE, whenever its next attempt may be."""

    def begin(self, delivery: Delivery, now: datetime) -> Delivery:
        """Mark as SENDING before the first byte goes out; the result has the attempt counted."""

    def sent(self, delivery: Delivery, receipt: Receipt, now: datetime) -> None:
        """The other side has accepted it. Also brings a DEAD receiver back to OK."""

    def later(self, delivery: Delivery, at: datetime, error: str, *, uncertain: bool) -> None:
        """Owed again from `at` on; `uncertain` marks it as a possible repeat."""

    def dead(self, delivery: Delivery, error: str) -> None:
        """The other side refuses this message for good; the receiver itself stays as it is."""

    def receiver_dead(self, receiver: str, error: str, now: datetime, retry_at: datetime) -> None:
        """The receiver refuses everything: it is DEAD, what it is owed is tried again from `retry_at`."""

    def unheard(self, before: datetime) -> list[Notification]:
        """Messages created before then that nobody has accepted, each once, for each a receiver that should have."""

    def addressed(self, notification_id: str) -> frozenset[str]:
        """Every receiver that a message was meant for so far."""

    def add(self, notifications: Iterable[Notification]) -> None:
        """Owe these too. One that is already there (same id and receiver) changes nothing."""
