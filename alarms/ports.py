"""What `alarms` needs from others, as protocols: what sends, where what is owed is kept, alarms inside a cloud."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from alarms.model import Delivery, Notification, Receipt
from alarms.twins import Design, Owned, Step, Twin, Wanted


class Notifier(Protocol):
    """One configured receiver. Made by `create(settings)` of its module."""

    def send(self, notification: Notification) -> Receipt:
        """Make one attempt, over within 30 seconds in all, whatever the other side does.

        Raises TemporaryError (with `retry_after` if the other side named one, `uncertain` if it may have been
        accepted) or PermanentError. No retries inside: the outbox retries.

        A flood comes as one digest (`facts.held`), which `render` knows how to write. A notifier whose other side keeps
        a state for each alarm, and so needs every message for itself, has an attribute `one_by_one = True`.
        """


class Outbox(Protocol):
    """What is owed, kept so that kill -9 at any instant loses nothing. Each method that writes has committed on return.

    What a newer message about the same alarm says as well is replaced by it (`alarms.coalesce`) as long as it is DUE.
    A digest is a delivery with `parts`: what happens to it happens to all of them, in one transaction. Safe to call
    from several threads.
    """

    def recover(self) -> int:
        """At start: deliveries found in SENDING are uncertain; make them DUE, marked as a possible repeat."""

    def owed(self, receiver: str) -> list[Delivery]:
        """What this receiver is owed that is DUE, whenever its next attempt may be, in the order in which it came."""

    def begin(self, delivery: Delivery, now: datetime) -> Delivery | None:
        """Mark as SENDING before the first byte goes out; the result has the attempt counted.

        None: some of it is not DUE any more, so choose again.
        """

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
        """Owe these too. One that is already there (same id and receiver) changes nothing.

        Whoever is owed a FIRING or REPEAT is owed the newer messages about the same stay above the limit as well, also
        those that were made before.
        """


class Native(Protocol):
    """Alarms inside one cloud, as one set of credentials sees it. Made by `create(settings, prefix=...)` of its module.

    Calls to the outside raise OutsideError, and are over within a minute each.
    """

    cloud: str

    def place(self) -> str:
        """Which account this is (network): two sources with the same place share their twins."""

    def design(self, wanted: Wanted, place: str) -> Design:
        """What a budget should have there, and what it cannot have: each threshold is in one of them. Pure."""

    def owned(self) -> Owned:
        """Everything there that is ours, by its name and its tag; nothing else is ever touched."""

    def create(self, twin: Twin) -> None:
        """Make it, with its tags in the same call. Raises PermanentError when its name is taken."""

    def update(self, actual: Twin, wanted: Twin) -> None:
        """Make it as wanted. Whatever it does in several calls can be gone on with by another update."""

    def delete(self, twin: Twin) -> None:
        """Remove it; that it is not there is no error."""

    def drill(self, twins: Sequence[Twin]) -> list[Step]:
        """Let each of them call whom it would call, and look at the way to there. Raises nothing: a step has failed."""
