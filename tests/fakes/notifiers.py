"""Hand-written notifiers: each does exactly what a test tells it to."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from alarms.model import Notification, Receipt


class Accepting:
    """Takes everything, after the failures that it was given."""

    def __init__(self, failures: Iterable[Exception] = ()) -> None:
        self.taken: list[Notification] = []
        self.attempts: list[Notification] = []
        self._failures = list(failures)

    def send(self, notification: Notification) -> Receipt:
        self.attempts.append(notification)
        if self._failures:
            raise self._failures.pop(0)
        self.taken.append(notification)
        return Receipt(remote_id=f"r{len(self.taken)}")


class Refusing:
    """Fails in the same way each time."""

    def __init__(self, error: Exception) -> None:
        self.attempts: list[Notification] = []
        self._error = error

    def send(self, notification: Notification) -> Receipt:
        self.attempts.append(notification)
        raise self._error


class Hanging:
    """Does not return until it is let go, then accepts."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.let_go = threading.Event()
        self.attempts: list[Notification] = []

    def send(self, notification: Notification) -> Receipt:
        self.attempts.append(notification)
        self.begun.set()
        self.let_go.wait(30)
        return Receipt()
