"""What receivers are told after an outage, and in a flood: everything, shortly. The outbox is the real one."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alarms import dispatch
from alarms.digest import MOST_ALONE
from alarms.dispatch import Dispatcher
from alarms.errors import AccessError, PermanentError, TemporaryError
from alarms.model import Delivery, DeliveryState, Facts, Kind, Notification, Reason, Receipt, Severity
from alarms.sending import Pace
from monitor.clock import FixedClock
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox, told
from tests.fakes.notifiers import Accepting, Hanging, Refusing
from tests.fakes.outbox import states_of

T = datetime(2026, 11, 23, 18, tzinfo=UTC)
S = timedelta(seconds=1)
H = timedelta(hours=1)
LIMIT = timedelta(seconds=60)
REASONS = {Kind.FIRING: Reason.CROSSED, Kind.REPEAT: Reason.STILL_OVER, Kind.RESOLVED: Reason.RESTATED_BELOW}
ALL = ("oncall", "mail", "topic", "pager")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def outbox(store: Store) -> StoredOutbox:
    return StoredOutbox(store)


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(T)


def made(
    number: int, kind: Kind, at: datetime, receiver: str = "oncall", *, budget: str = "b", critical: bool = True
) -> Notification:
    severity = Severity.CRITICAL if critical else Severity.WARNING
    facts = Facts(kind, severity, REASONS[kind], budget, budget=budget, first_detected=T)
    return Notification(f"{budget}/l100/{number}", receiver, at, facts)


def ids(notifications: list[Notification]) -> list[str]:
    return [one.id for one in notifications]


def said(notifications: list[Notification]) -> list[tuple[str, Kind, bool]]:
    return [(one.id, one.facts.kind, one.facts.over_until is not None) for one in notifications]


def owed(outbox: StoredOutbox) -> int:
    return sum(receiver.undelivered for receiver in outbox.receivers())


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, "it never happened"
        pause.wait(0.002)


class Down(Accepting):
    """Answers 503, or as told, until it is back."""

    error: Exception | None = TemporaryError("503")

    def send(self, notification: Notification) -> Receipt:
        if self.error is not None:
            self.attempts.append(notification)
            raise self.error
        return super().send(notification)


@pytest.mark.parametrize("error", [TemporaryError("503"), AccessError("the key has expired")])
def test_weeks_of_repeats_are_one_message_when_a_receiver_is_back(
    outbox: StoredOutbox, clock: FixedClock, error: Exception
) -> None:
    oncall = Down()
    oncall.error = error
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now, pace_s=0)
    outbox.add([made(1, Kind.FIRING, clock.instant)])
    dispatcher.run_until_idle(LIMIT)
    for number in range(2, 92):
        clock.instant += 4 * H
        outbox.add([made(number, Kind.REPEAT, clock.instant)])
        dispatcher.run_until_idle(LIMIT)
    oncall.error = None
    clock.instant += 25 * H
    dispatcher.run_until_idle(LIMIT)
    assert said(oncall.taken) == [("b/l100/91", Kind.FIRING, False)]
    assert oncall.taken[0].facts.first_detected == T


def test_what_fired_and_ended_during_an_outage_is_one_message(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall = Down()
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    outbox.add([made(1, Kind.FIRING, clock.instant)])
    dispatcher.run_until_idle(LIMIT)
    clock.instant += H
    outbox.add([made(2, Kind.RESOLVED, clock.instant)])
    oncall.error = None
    dispatcher.run_until_idle(LIMIT)
    assert said(oncall.taken) == [("b/l100/2", Kind.RESOLVED, True)]
    assert oncall.taken[0].facts.over_until == T + H


def test_a_stand_in_that_hears_late_hears_the_end_too(store: Store, outbox: StoredOutbox, clock: FixedClock) -> None:
    mail = Accepting()

    class RefusingLate(Accepting):
        """While it ponders over the message, the alarm ends."""

        def send(self, notification: Notification) -> Receipt:
            if not self.attempts:
                self.attempts.append(notification)
                with store.transaction() as tx:
                    whom = told(tx, "b", "l100")
                    outbox.add([made(2, Kind.RESOLVED, clock.instant, receiver) for receiver in whom])
                raise PermanentError("too long", whole_receiver=False)
            return super().send(notification)

    oncall = RefusingLate()
    outbox.add([made(1, Kind.FIRING, clock.instant)])
    Dispatcher(outbox, {"oncall": oncall, "mail": mail}, clock.now).run_until_idle(LIMIT)
    assert said(mail.taken) == [("b/l100/2", Kind.RESOLVED, True)]
    assert said(oncall.taken) == [("b/l100/2", Kind.RESOLVED, True)], "it has refused the beginning"


def test_a_receiver_that_is_back_hears_first_how_things_stand(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall = Down()
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    outbox.add([made(1, Kind.FIRING, clock.instant, budget="over"), made(1, Kind.FIRING, clock.instant, budget="old")])
    dispatcher.run_until_idle(LIMIT)
    for name, critical in (("warned", False), ("new", True)):
        clock.instant += H
        outbox.add([made(1, Kind.FIRING, clock.instant, budget=name, critical=critical)])
        outbox.add([made(2, Kind.RESOLVED, clock.instant, budget="over")])
        dispatcher.run_until_idle(LIMIT)
    oncall.error = None
    clock.instant += H
    dispatcher.run_until_idle(LIMIT)
    assert [one.facts.budget for one in oncall.taken] == ["new", "old", "warned", "over"]


def test_new_messages_do_not_hurry_a_receiver_that_asked_to_wait(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall = Down()
    oncall.error = TemporaryError("429", retry_after=60 * S)
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    for number in range(30):
        outbox.add([made(1, Kind.FIRING, clock.instant, budget=f"b{number}")])
        dispatcher.run_until_idle(LIMIT)
        clock.instant += S
    assert len(oncall.attempts) == 1
    oncall.error = None
    clock.instant = T + 67 * S
    dispatcher.run_until_idle(LIMIT)
    assert [len(one.facts.held) for one in oncall.taken] == [30]


def test_a_clock_that_was_wrong_for_a_while_keeps_nothing_back(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall = Down()
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    clock.instant = T + timedelta(days=3650)
    outbox.add([made(1, Kind.FIRING, clock.instant, budget="tried then")])
    dispatcher.run_until_idle(LIMIT)
    outbox.add([made(1, Kind.FIRING, clock.instant, budget="made then"), made(1, Kind.FIRING, clock.instant)])
    clock.instant = T
    outbox.add([made(2, Kind.REPEAT, clock.instant), made(1, Kind.FIRING, clock.instant, budget="now")])
    oncall.error = None
    dispatcher.run_until_idle(LIMIT)
    assert len(oncall.attempts) == 5
    assert {one.facts.budget for one in oncall.taken} == {"tried then", "made then", "b", "now"}
    assert outbox.owed("oncall") == []


@pytest.mark.parametrize("days", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_a_month_without_any_receiver_owes_one_message_for_each_alarm(
    store: Store, outbox: StoredOutbox, clock: FixedClock, days: int
) -> None:
    alarms, receivers = 50, ALL[:3]
    notifiers = {name: Down() for name in receivers}
    dispatcher = Dispatcher(outbox, notifiers, clock.now, pace_s=0)
    for turn in range(days * 6):
        kind = Kind.FIRING if turn == 0 else Kind.REPEAT
        with store.transaction():
            outbox.add(
                made(turn + 1, kind, clock.instant, receiver, budget=f"b{number}")
                for number in range(alarms)
                for receiver in receivers
            )
        assert owed(outbox) == alarms * len(receivers)
        if turn % 18 == 0:
            dispatcher.run_until_idle(LIMIT)
        clock.instant += 4 * H
    notifiers["mail"].error = None
    dispatcher.run_until_idle(LIMIT)
    (message,) = notifiers["mail"].taken
    assert sorted(ids(list(message.facts.held))) == sorted(f"b{number}/l100/{days * 6}" for number in range(alarms))
    assert {one.facts.kind for one in message.facts.held} == {Kind.FIRING}, "the first that it hears"
    assert {one.facts.first_detected for one in message.facts.held} == {T}
    assert owed(outbox) == alarms * 2


def flood(outbox: StoredOutbox, count: int, *receivers: str, start: int = 0) -> list[str]:
    names = [f"b{number}" for number in range(start, start + count)]
    outbox.add(
        made(1, Kind.FIRING, T, receiver, budget=name, critical=name.endswith("0"))
        for name in names
        for receiver in receivers
    )
    return [f"{name}/l100/1" for name in names]


def test_five_hundred_breaches_are_one_message_for_each_receiver_and_none_is_lost(
    outbox: StoredOutbox, clock: FixedClock
) -> None:
    notifiers = {name: Accepting() for name in ALL}
    names = flood(outbox, 500, *ALL)
    Dispatcher(outbox, notifiers, clock.now).run_until_idle(LIMIT)
    for notifier in notifiers.values():
        (message,) = notifier.taken
        assert sorted(ids(list(message.facts.held))) == sorted(names)
        assert message.facts.severity is Severity.CRITICAL
    assert {state for *_, state in states_of(outbox, names)} == {DeliveryState.SENT}


def test_a_few_breaches_get_a_message_each(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall = Accepting()
    names = flood(outbox, MOST_ALONE, "oncall")
    Dispatcher(outbox, {"oncall": oncall}, clock.now).run_until_idle(LIMIT)
    assert sorted(ids(oncall.taken)) == sorted(names)
    assert oncall.taken[0].facts.severity is Severity.CRITICAL


def test_a_digest_that_was_under_way_at_the_crash_comes_once_more_the_same_and_marked(
    outbox: StoredOutbox, clock: FixedClock
) -> None:
    oncall = Accepting()
    flood(outbox, 40, "oncall")
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)

    def crash(notification: Notification) -> Receipt:
        oncall.taken.append(notification)
        raise KeyboardInterrupt

    working, oncall.send = oncall.send, crash  # type: ignore[method-assign]  # the process dies in the middle
    delivery = dispatcher._next(dispatcher._lanes["oncall"])
    assert delivery is not None
    begun = outbox.begin(delivery, T)
    assert begun is not None
    with pytest.raises(KeyboardInterrupt):
        oncall.send(begun.notification)
    oncall.send = working  # type: ignore[method-assign]  # the next process
    outbox.recover()
    later = flood(outbox, 30, "oncall", start=40)
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    dispatcher.run_until_idle(LIMIT)
    first, *others = oncall.taken
    (again,) = (one for one in others if one.id == first.id)
    (fresh,) = (one for one in others if one.id != first.id)
    assert again == replace(first, possible_repeat=True, facts=replace(again.facts))
    assert set(ids(list(again.facts.held))) == set(ids(list(first.facts.held)))
    assert sorted(ids(list(fresh.facts.held))) == sorted(later)
    assert not fresh.possible_repeat


def test_a_digest_that_is_refused_is_taken_apart(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall, mail = Accepting([PermanentError("too large", whole_receiver=False)]), Accepting()
    names = flood(outbox, 12, "oncall")
    Dispatcher(outbox, {"oncall": oncall, "mail": mail}, clock.now, pace_s=0).run_until_idle(LIMIT)
    assert sorted(ids(oncall.taken)) == sorted(names)
    assert mail.taken == []


def test_what_a_dead_receiver_was_to_get_in_a_digest_goes_to_the_others(
    outbox: StoredOutbox, clock: FixedClock
) -> None:
    oncall, mail = Refusing(PermanentError("no such hook")), Accepting()
    names = flood(outbox, 12, "oncall")
    Dispatcher(outbox, {"oncall": oncall, "mail": mail}, clock.now).run_until_idle(LIMIT)
    (message,) = mail.taken
    assert sorted(ids(list(message.facts.held))) == sorted(names)
    assert {one.instead_of for one in message.facts.held} == {"oncall"}


def test_a_receiver_that_keeps_a_state_for_each_alarm_gets_each_message(
    outbox: StoredOutbox, clock: FixedClock
) -> None:
    class Pager(Accepting):
        one_by_one = True

    pager = Pager()
    names = flood(outbox, 12, "pager")
    Dispatcher(outbox, {"pager": pager}, clock.now, pace_s=0).run_until_idle(LIMIT)
    assert sorted(ids(pager.taken)) == sorted(names)


def test_ten_at_once_then_one_a_second() -> None:
    pace = Pace(1.0)
    for _ in range(10):
        assert pace.wait_s(100.0) <= 0
        pace.sent(100.0)
    assert pace.wait_s(100.0) == 1.0
    assert pace.wait_s(101.0) == 0
    pace.sent(101.0)
    assert pace.wait_s(101.5) == 0.5
    assert pace.wait_s(500.0) <= 0
    for _ in range(10):
        pace.sent(500.0)
    assert pace.wait_s(500.0) == 1.0, "a long rest allows no longer burst"


def test_a_stream_of_alarms_is_paced_and_gathers_in_digests(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall, every_s = Accepting(), 0.25
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now, pace_s=every_s)
    dispatcher.start()
    begun = time.monotonic()
    try:
        names: list[str] = []
        for number in range(40):
            names += flood(outbox, 3, "oncall", start=3 * number)
            dispatcher.wake()
        wait_until(lambda: outbox.owed("oncall") == [])
    finally:
        dispatcher.stop(LIMIT)
    assert len(oncall.taken) <= 11 + (time.monotonic() - begun) / every_s
    heard = [each.id for one in oncall.taken for each in (one.facts.held or (one,))]
    assert sorted(heard) == sorted(names), "each once"


def test_one_of_four_that_hangs_delays_the_others_by_no_more_than_a_turn(
    outbox: StoredOutbox, clock: FixedClock
) -> None:
    hung = Hanging()
    working = {name: Accepting() for name in ALL[1:]}
    dispatcher = Dispatcher(outbox, {"oncall": hung, **working}, clock.now, pace_s=0)
    dispatcher.start()
    waits: list[float] = []
    try:
        for number in range(20):
            begun = time.monotonic()
            flood(outbox, 1, *ALL, start=number)
            dispatcher.wake()
            wait_until(lambda expected=number + 1: all(len(w.taken) == expected for w in working.values()))  # type: ignore[misc]  # bound now
            waits.append(time.monotonic() - begun)
    finally:
        hung.let_go.set()
        dispatcher.stop(LIMIT)
    assert max(waits) < 5, waits


FAILURES: dict[str, Exception] = {
    "refuses for now": TemporaryError("503"),
    "answers late or never": TemporaryError("no answer", uncertain=True),
    "asks to wait for a day": TemporaryError("429", retry_after=24 * H),
    "is gone": PermanentError("no such hook"),
    "refuses the message": PermanentError("too long", whole_receiver=False),
    "lets nobody in": AccessError("expired"),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("working", [one for n in range(1, 5) for one in itertools.combinations(ALL, n)], ids="+".join)
def test_as_long_as_one_works_a_breach_is_accepted_within_two_minutes(
    outbox: StoredOutbox, clock: FixedClock, working: tuple[str, ...], failure: str
) -> None:
    notifiers = {name: Accepting() if name in working else Refusing(FAILURES[failure]) for name in ALL}
    dispatcher = Dispatcher(outbox, notifiers, clock.now, pace_s=0)
    for addressed in ALL:
        clock.instant += H
        seen = clock.instant
        outbox.add([made(1, Kind.FIRING, seen, addressed, budget=addressed)])
        dispatcher.run_until_idle(LIMIT)
        # The daemon looks every five seconds.
        clock.instant += dispatch.UNHEARD_AFTER + 5 * S
        dispatcher.run_until_idle(LIMIT)
        assert clock.instant - seen <= 120 * S
        assert DeliveryState.SENT in [state for *_, state in states_of(outbox, [f"{addressed}/l100/1"])]


def test_repeats_however_frequent_do_not_keep_a_breach_from_being_told_another_way(
    outbox: StoredOutbox, clock: FixedClock
) -> None:
    mail = Accepting()
    dispatcher = Dispatcher(outbox, {"oncall": Refusing(TemporaryError("503")), "mail": mail}, clock.now)
    outbox.add([made(1, Kind.FIRING, clock.instant)])
    for number in range(2, 7):
        dispatcher.run_until_idle(LIMIT)
        clock.instant += 20 * S
        outbox.add([made(number, Kind.REPEAT, clock.instant)])
    assert said(mail.taken)[0] == ("b/l100/5", Kind.FIRING, False)


def test_that_nobody_accepts_anything_is_said_once(
    outbox: StoredOutbox, clock: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    oncall = Down()
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    for _ in range(2):
        oncall.error = TemporaryError("503")
        outbox.add([made(1, Kind.FIRING, clock.instant, budget=f"{clock.instant}")])
        for _ in range(4):
            clock.instant += 61 * S
            dispatcher.run_until_idle(LIMIT)
        oncall.error = None
        clock.instant += 61 * S
        dispatcher.run_until_idle(LIMIT)
        dispatcher.run_until_idle(LIMIT)
    critical = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert critical == ["Nobody has accepted a message for a minute. messages=1"] * 2


def test_what_was_replaced_while_its_turn_came_is_not_sent(outbox: StoredOutbox, clock: FixedClock) -> None:
    class Racing(StoredOutbox):
        """A turn commits between the choice and the note that it is being sent."""

        raced = False

        def begin(self, delivery: Delivery, now: datetime) -> Delivery | None:
            if not self.raced:
                self.raced = True
                self.add([made(2, Kind.RESOLVED, clock.instant + S)])
            return super().begin(delivery, now)

    oncall = Accepting()
    racing = Racing(outbox._store)
    racing.add([made(1, Kind.FIRING, clock.instant)])
    dispatcher = Dispatcher(racing, {"oncall": oncall}, clock.now)
    dispatcher.run_until_idle(LIMIT)
    clock.instant += S
    dispatcher.run_until_idle(LIMIT)
    assert said(oncall.attempts) == [("b/l100/2", Kind.RESOLVED, True)]
