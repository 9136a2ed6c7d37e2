"""Sends what the outbox owes: one lane per receiver, so that one that hangs holds up nobody else.

Within a receiver `alarms.digest` says what comes next. A message that its receivers do not take goes to the others too.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from alarms import digest
from alarms.errors import OutboxError, PermanentError, TemporaryError
from alarms.model import Delivery, Kind, Notification, Receipt, Severity
from alarms.ports import Notifier, Outbox
from alarms.sending import PACE_S, Attempt, InTurn, Lane, Pace, delay

log = logging.getLogger(__name__)

# A breach has to reach somebody within 120 s of being seen: half of that for the receivers that were meant to hear.
UNHEARD_AFTER = timedelta(seconds=60)
_UNHEARD_EVERY_S = 5.0
# A receiver that refuses everything needs a person; it is asked again once a day.
_ONCE_A_DAY = timedelta(days=1)
_LONGEST_WAIT = timedelta(days=2)
# A notifier has 30 s in all; whoever overstays that is left behind.
_SEND_WALL_S = 40.0
# Sends that never came back, per receiver, before no more are begun.
_MOST_STUCK = 3
_STORE_RETRY_S = 5.0
# The longest a lane sleeps: the wall clock may be set meanwhile.
_LONGEST_SLEEP_S = 30.0


class Dispatcher:
    """Sends for a fixed set of receivers. `min_severity`: what a receiver wants to hear at least.

    `on_change()` is called after every delivery that was tried, from the lane's thread. Before the first start the
    outbox must have been recovered.
    """

    def __init__(
        self,
        outbox: Outbox,
        notifiers: Mapping[str, Notifier],
        now: Callable[[], datetime],
        *,
        min_severity: Mapping[str, Severity] | None = None,
        on_change: Callable[[], None] = lambda: None,
        send_wall_s: float = _SEND_WALL_S,
        pace_s: float = PACE_S,
    ) -> None:
        self._outbox = outbox
        self._lanes = {
            name: Lane(name, notifier, Pace(pace_s), one_by_one=getattr(notifier, "one_by_one", False))
            for name, notifier in notifiers.items()
        }
        self._now = now
        self._min_severity = dict(min_severity or {})
        self._on_change = on_change
        self._send_wall_s = send_wall_s
        self._stopping = threading.Event()
        self._in_turn = InTurn()
        self._unheard = False
        # Guards the choice of the next delivery, so that "nothing is due and nothing under way" can be said for sure.
        self._choosing = threading.Condition()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin to send, in threads of its own."""
        # Anew, so that a thread that an earlier stop did not wait for takes no part.
        self._stopping = threading.Event()
        self._lanes = {name: lane.anew(self._stopping) for name, lane in self._lanes.items()}
        jobs = {f"lane {name}": partial(self._run_lane, lane) for name, lane in self._lanes.items()}
        jobs["unheard"] = partial(self._run_unheard, self._stopping)
        self._threads = [threading.Thread(target=job, name=name, daemon=True) for name, job in jobs.items()]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something new is owed."""
        for lane in self._lanes.values():
            lane.woken.set()

    @property
    def alive(self) -> bool:
        """Whether none of its threads has died from a bug."""
        return all(thread.is_alive() for thread in self._threads)

    def stop(self, limit: timedelta) -> None:
        """Begin nothing new and wait for what is under way; what is not over by then is owed again, as uncertain."""
        end = time.monotonic() + limit.total_seconds()
        self._stopping.set()
        self.wake()
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._threads = []
        for lane in self._lanes.values():
            delivery = lane.under_way
            if delivery is not None:
                # Should that fail, it stays marked as being sent: the next start knows what that means.
                with contextlib.suppress(OutboxError):
                    self._outbox.later(delivery, self._now(), "the monitor stopped while sending", uncertain=True)

    def run_until_idle(self, limit: timedelta) -> None:
        """Send what is due now, all receivers at once; over when nothing is due any more or after `limit`."""
        end = time.monotonic() + limit.total_seconds()
        self._in_turn = InTurn(limit.total_seconds())
        self._spread()
        self.start()
        with self._choosing:
            while not self._idle() and time.monotonic() < end:
                self._choosing.wait(end - time.monotonic())
        self.stop(timedelta(seconds=max(0.0, end - time.monotonic())))

    def _idle(self) -> bool:
        if any(lane.under_way is not None for lane in self._lanes.values()):
            return False
        return all(self._wait_s(self._next(lane)) > 0 for lane in self._lanes.values())

    def _run_lane(self, lane: Lane) -> None:
        while not lane.stopping.is_set():
            lane.woken.clear()
            try:
                wait = self._serve(lane)
                lane.store_failed = False
            except (OutboxError, RuntimeError) as error:  # RuntimeError: no thread could be started
                if not lane.store_failed and not lane.stopping.is_set():
                    log.error("Cannot send now, trying on. receiver=%s error=%s", lane.name, error)  # noqa: TRY400  # one sentence for people, no traceback
                lane.store_failed = True
                wait = _STORE_RETRY_S
            if wait > 0:
                lane.woken.wait(wait)

    def _serve(self, lane: Lane) -> float:
        """Send one delivery if one is due; how many seconds there is nothing to do."""
        self._note(lane)
        with self._choosing:
            delivery = self._next(lane)
            wait = max(self._wait_s(delivery), lane.pace.wait_s(time.monotonic()))
            if delivery is None or wait > 0 or lane.stopping.is_set():
                self._choosing.notify_all()
                return wait
            lane.under_way = delivery
        try:
            self._deliver(lane, delivery)
        finally:
            with self._choosing:
                lane.under_way = None
                self._choosing.notify_all()
        self._on_change()
        return 0.0

    def _next(self, lane: Lane) -> Delivery | None:
        return digest.next_up(self._outbox.owed(lane.name), one_by_one=lane.one_by_one)

    def _wait_s(self, delivery: Delivery | None) -> float:
        if delivery is None:
            return _LONGEST_SLEEP_S
        wait = delivery.next_attempt_at - self._now()
        # Nobody is left alone for longer: what was planned beyond was planned by a clock that was wrong.
        return min(wait.total_seconds(), _LONGEST_SLEEP_S) if wait < _LONGEST_WAIT else 0.0

    def _deliver(self, lane: Lane, delivery: Delivery) -> None:
        with self._in_turn():
            self._send(lane, delivery)

    def _send(self, lane: Lane, delivery: Delivery) -> None:
        try:
            begun = self._outbox.begin(delivery, self._now())
        except OutboxError as error:
            # People hear of a breach even when the disk is full; at worst they hear of it twice.
            log.warning("Sending without a note of it. receiver=%s error=%s", lane.name, error)
            begun = delivery
        if begun is None:  # a newer message has just taken its place
            return
        delivery = begun
        lane.pace.sent(time.monotonic())
        lane.unnoted = (delivery, self._attempt(lane, delivery), self._now())
        self._note(lane)

    def _note(self, lane: Lane) -> None:
        """Note what came of a send; kept in mind until that works, so that it is neither sent again nor forgotten."""
        if lane.unnoted is None:
            return
        delivery, result, at = lane.unnoted
        match result:
            case Receipt():
                self._outbox.sent(delivery, result, at)
                log.info(
                    "Delivered. id=%s receiver=%s attempts=%d", delivery.notification.id, lane.name, delivery.attempts
                )
                if result.refused:
                    log.warning("Some recipients were refused. receiver=%s count=%d", lane.name, len(result.refused))
            case PermanentError():
                self._refused(lane, delivery, result)
            case TemporaryError():
                again = at + delay(delivery.attempts, result.retry_after)
                log.warning("Not delivered, trying on. receiver=%s at=%s error=%s", lane.name, again, result)
                self._outbox.later(delivery, again, str(result), uncertain=result.uncertain)
        lane.unnoted = None

    def _attempt(self, lane: Lane, delivery: Delivery) -> Receipt | PermanentError | TemporaryError:
        lane.stuck = [attempt for attempt in lane.stuck if attempt.is_alive()]
        if len(lane.stuck) >= _MOST_STUCK:
            return TemporaryError(f"{len(lane.stuck)} earlier sends to {lane.name} have never come back")
        attempt = Attempt(lane, delivery, self._arrived_late)
        attempt.start()
        if not attempt.over.wait(self._send_wall_s) and attempt.leave_behind():
            lane.stuck.append(attempt)
            return TemporaryError(f"{lane.name} did not answer within {self._send_wall_s:.0f} s", uncertain=True)
        return attempt.result

    def _arrived_late(self, delivery: Delivery, receipt: Receipt) -> None:
        """A send that was given up has been accepted after all."""
        try:
            self._outbox.sent(delivery, receipt, self._now())
        except OutboxError as error:
            log.warning("A late delivery could not be noted. id=%s error=%s", delivery.notification.id, error)

    def _refused(self, lane: Lane, delivery: Delivery, error: PermanentError) -> None:
        now = self._now()
        log.error("Refused for good. receiver=%s whole_receiver=%s error=%s", lane.name, error.whole_receiver, error)
        if error.whole_receiver:
            self._outbox.receiver_dead(lane.name, str(error), now, now + _ONCE_A_DAY)
        elif delivery.parts:
            # It is the digest that it does not like, not what is in it.
            lane.one_by_one = True
            self._outbox.later(delivery, now, str(error), uncertain=False)
            return
        else:
            self._outbox.dead(delivery, str(error))
        self._address((part.notification, self._wanting(part.notification)) for part in delivery.members)

    def _run_unheard(self, stopping: threading.Event) -> None:
        while not stopping.wait(_UNHEARD_EVERY_S):
            try:
                self._spread()
            except OutboxError as error:
                log.warning("Cannot look for unheard messages now. error=%s", error)

    def _spread(self) -> None:
        """Address what nobody has accepted for a while to everybody else."""
        now = self._now()
        unheard = [
            notification
            for notification in self._outbox.unheard(now - UNHEARD_AFTER)
            if now - notification.created_at < _ONCE_A_DAY  # older ones are no news for a receiver that is new
        ]
        if unheard and not self._unheard:
            log.critical("Nobody has accepted a message for a minute. messages=%d", len(unheard))
        self._unheard = bool(unheard)
        self._address((notification, self._not_addressed(notification)) for notification in unheard)

    def _wanting(self, notification: Notification) -> list[str]:
        """The others who want to hear it; if there are none, all the others."""
        others = self._not_addressed(notification)
        return [name for name in others if self._wants(name, notification.facts.severity)] or others

    def _not_addressed(self, notification: Notification) -> list[str]:
        if notification.facts.kind is Kind.SUMMARY:
            return []  # the others have their own, or want none
        return sorted(self._lanes.keys() - self._outbox.addressed(notification.id))

    def _wants(self, receiver: str, severity: Severity) -> bool:
        least = self._min_severity.get(receiver)
        return least is None or severity.rank >= least.rank

    def _address(self, ways: Iterable[tuple[Notification, list[str]]]) -> None:
        """Owe each notification to these receivers as well; all in one transaction, so that a flood stays one."""
        others = [
            replace(
                notification,
                receiver=name,
                instead_of=notification.instead_of or notification.receiver,
                possible_repeat=False,
            )
            for notification, names in ways
            for name in names
        ]
        if not others:
            return
        self._outbox.add(others)
        for other in others:
            log.warning("Sent another way. id=%s from=%s to=%s", other.id, other.instead_of, other.receiver)
            self._lanes[other.receiver].woken.set()
