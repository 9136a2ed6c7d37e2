"""One send: in a thread of its own, in turn with the others where that costs nothing, and how long to wait after it."""

from __future__ import annotations

import contextlib
import math
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from alarms.errors import PermanentError, TemporaryError
from alarms.model import Delivery, Receipt
from alarms.ports import Notifier

_FIRST_BACKOFF = timedelta(seconds=5)
# Short, since a receiver that is back must hear of the next breach within two minutes; one that wants to be left alone
# says so with Retry-After.
_LONGEST_BACKOFF = timedelta(seconds=60)
# The longest that another side can put us off.
_LONGEST_ASKED = timedelta(days=1)
# How long a send waits for the one before it to be noted. A receiver that hangs costs the others so much, once. With
# 0.25 s the sends of a busy machine overlapped, and one kill then repeated two of them.
_PATIENCE_S = 2.0
# What receivers take without throttling (Slack: one a second, more in short bursts); beyond it a digest gathers.
_BURST = 10
PACE_S = 1.0


class Pace:
    """At most one send per `every_s` seconds over any length of time, but ten at once after a rest."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._rested_at = -math.inf

    def wait_s(self, now_s: float) -> float:
        """How long the next send has to wait; `now_s` is monotonic time."""
        return self._rested_at - now_s - (_BURST - 1) * self._every_s

    def sent(self, now_s: float) -> None:
        """One more went out."""
        self._rested_at = max(self._rested_at, now_s) + self._every_s


@dataclass(slots=True)
class Lane:
    """One receiver. `unnoted`: what came of a send, as long as the outbox does not know it yet.

    `one_by_one`: it takes no digests.
    """

    name: str
    notifier: Notifier
    pace: Pace
    one_by_one: bool = False
    stopping: threading.Event = field(default_factory=threading.Event)
    woken: threading.Event = field(default_factory=threading.Event)
    under_way: Delivery | None = None
    unnoted: tuple[Delivery, Receipt | PermanentError | TemporaryError, datetime] | None = None
    stuck: list[Attempt] = field(default_factory=list)
    store_failed: bool = False

    def anew(self, stopping: threading.Event) -> Lane:
        """The same receiver for another run, with what must not be forgotten."""
        return replace(self, stopping=stopping, woken=threading.Event(), under_way=None, store_failed=False)


class Attempt(threading.Thread):
    """One send in a thread of its own, so that one that never ends can be left behind."""

    def __init__(self, lane: Lane, delivery: Delivery, late: Callable[[Delivery, Receipt], None]) -> None:
        super().__init__(name=f"send {lane.name}", daemon=True)
        self.over = threading.Event()
        # What remains when the notifier fails in a way that it does not know itself.
        self.result: Receipt | PermanentError | TemporaryError = TemporaryError(
            f"the code that sends to {lane.name} failed; see the log", uncertain=True
        )
        self._notifier = lane.notifier
        self._delivery = delivery
        self._late = late
        self._left_behind = False
        self._ending = threading.Lock()

    def run(self) -> None:
        """Send; if that took too long but worked, say so."""
        try:
            self.result = self._notifier.send(self._delivery.notification)
        except (PermanentError, TemporaryError) as error:
            self.result = error
        finally:
            with self._ending:
                self.over.set()
        if self._left_behind and isinstance(self.result, Receipt):
            self._late(self._delivery, self.result)

    def leave_behind(self) -> bool:
        """Wait no longer; False if it has just ended."""
        with self._ending:
            self._left_behind = not self.over.is_set()
            return self._left_behind


def delay(attempts: int, asked: timedelta | None) -> timedelta:
    """How long to wait after so many attempts: never shorter than the other side asked, unless that is days."""
    jitter = random.random()  # noqa: S311  # spreads retries, keeps no secret
    backoff = min(_FIRST_BACKOFF * (1 << min(max(attempts, 1) - 1, 10)), _LONGEST_BACKOFF) * (0.8 + 0.2 * jitter)
    if asked is None:
        return backoff
    return max(backoff, min(asked, _LONGEST_ASKED) * (1 + 0.1 * jitter))


class InTurn:
    """Lets one send at a time be between "accepted" and "noted": a kill then costs one repeat, not one per receiver.

    Only as long as none is slow: whoever has waited for a moment goes ahead, and so does everyone until that one ends.
    """

    def __init__(self, limit_s: float | None = None) -> None:
        self._lock = threading.Lock()
        self._slow = threading.Event()
        # Who has little time in all must not spend it here.
        self._patience_s = _PATIENCE_S if limit_s is None else min(_PATIENCE_S, limit_s / 4)

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Hold the turn, or go ahead without."""
        mine = self._lock.acquire(timeout=0.0 if self._slow.is_set() else self._patience_s)
        if not mine:
            self._slow.set()
        try:
            yield
        finally:
            if mine:
                self._slow.clear()
                self._lock.release()
