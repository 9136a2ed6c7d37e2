"""Sending what is owed: order, retries, other ways, and lanes that hold up nobody. The outbox is the real one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alarms import dispatch
from alarms.dispatch import Dispatcher
from alarms.errors import AccessError, OutboxError, PermanentError, TemporaryError
from alarms.model import Delivery, DeliveryState, Facts, Kind, Notification, Reason, Receipt, Severity
from monitor.clock import FixedClock
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox
from tests.fakes.notifiers import Accepting, Hanging, Refusing
from tests.fakes.outbox import states_of

T = datetime(2026, 11, 23, 18, tzinfo=UTC)
S = timedelta(seconds=1)
LIMIT = timedelta(seconds=20)
FACTS = Facts(Kind.FIRING, Severity.WARNING, Reason.CROSSED, "Budget training is over 80%", budget="training")


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


def message(number: int = 1, receiver: str = "oncall", severity: Severity = Severity.WARNING) -> Notification:
    return Notification(f"e1/l80/{number}", receiver, T, replace(FACTS, severity=severity))


def ids(notifications: list[Notification]) -> list[str]:
    return [one.id for one in notifications]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, "it never happened"
        pause.wait(0.005)


def owed(outbox: StoredOutbox, receiver: str = "oncall") -> Delivery:
    return outbox.owed(receiver)[0]


def test_everything_due_goes_out_in_order(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall, mail = Accepting(), Accepting()
    outbox.add([message(n, receiver) for n in range(5) for receiver in ("oncall", "mail")])
    Dispatcher(outbox, {"oncall": oncall, "mail": mail}, clock.now).run_until_idle(LIMIT)
    assert ids(oncall.taken) == ids(mail.taken) == [f"e1/l80/{n}" for n in range(5)]
    assert {state for _, _, state in states_of(outbox, ["e1/l80/0", "e1/l80/4"])} == {DeliveryState.SENT}


def test_nothing_due_ends_at_once(outbox: StoredOutbox, clock: FixedClock) -> None:
    begun = time.monotonic()
    Dispatcher(outbox, {"oncall": Accepting()}, clock.now).run_until_idle(LIMIT)
    assert time.monotonic() - begun < 5


def test_the_daemon_sends_when_woken(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall = Accepting()
    changes: list[int] = []
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now, on_change=lambda: changes.append(1))
    dispatcher.start()
    try:
        for number in range(3):
            outbox.add([message(number)])
            dispatcher.wake()
            wait_until(lambda expected=number + 1: len(oncall.taken) == expected)  # type: ignore[misc]  # bound now
    finally:
        dispatcher.stop(LIMIT)
    assert len(changes) == 3


def test_the_first_in_line_waits_and_the_others_behind_it(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall = Accepting([TemporaryError("503")])
    outbox.add([message(1), message(2)])
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    dispatcher.run_until_idle(LIMIT)
    assert oncall.taken == []
    assert timedelta(seconds=4) <= owed(outbox).next_attempt_at - T <= timedelta(seconds=5)
    assert owed(outbox).notification == message(1)
    clock.instant += 5 * S
    dispatcher.run_until_idle(LIMIT)
    assert ids(oncall.taken) == ["e1/l80/1", "e1/l80/2"]


def test_waits_double_up_to_a_minute(outbox: StoredOutbox, clock: FixedClock) -> None:
    outbox.add([message()])
    dispatcher = Dispatcher(outbox, {"oncall": Refusing(TemporaryError("503"))}, clock.now)
    waits = []
    for _ in range(7):
        dispatcher.run_until_idle(LIMIT)
        waits.append((owed(outbox).next_attempt_at - clock.instant).total_seconds())
        clock.instant = owed(outbox).next_attempt_at
    expected = [5, 10, 20, 40, 60, 60, 60]
    assert all(0.8 * most <= wait <= most for wait, most in zip(waits, expected, strict=True)), waits
    assert len(set(waits[-3:])) == 3  # jitter


@pytest.mark.parametrize(
    ("asked", "least", "most"), [(60, 60, 66), (3600, 3600, 3960), (1, 4, 5), (0, 4, 5), (10**12, 86400, 95040)]
)
def test_what_the_other_side_asks_is_honoured(
    outbox: StoredOutbox, clock: FixedClock, asked: int, least: int, most: int
) -> None:
    outbox.add([message()])
    error = TemporaryError("429", retry_after=timedelta(seconds=asked))
    Dispatcher(outbox, {"oncall": Refusing(error)}, clock.now).run_until_idle(LIMIT)
    assert least * S <= owed(outbox).next_attempt_at - T <= most * S


def test_a_repeat_is_marked_only_when_the_first_may_have_arrived(outbox: StoredOutbox, clock: FixedClock) -> None:
    failures = [TemporaryError("refused"), TemporaryError("answer lost", uncertain=True), TemporaryError("refused")]
    oncall = Accepting(failures)
    outbox.add([message()])
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    for _ in range(4):
        dispatcher.run_until_idle(LIMIT)
        clock.instant += timedelta(minutes=16)
    assert [one.possible_repeat for one in oncall.attempts] == [False, False, True, True]


def test_after_a_crash_while_sending_it_is_repeated_once_and_marked(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall = Accepting()
    outbox.add([message(1), message(2)])
    outbox.begin(owed(outbox), T)
    assert outbox.recover() == 1
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    dispatcher.run_until_idle(LIMIT)
    dispatcher.run_until_idle(LIMIT)
    assert oncall.taken == [replace(message(1), possible_repeat=True), message(2)]


def test_a_dead_receiver_is_replaced_at_once_and_asked_once_a_day(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall, mail = Refusing(AccessError("no such hook")), Accepting()
    outbox.add([message(1), message(2)])
    dispatcher = Dispatcher(outbox, {"oncall": oncall, "mail": mail}, clock.now)
    dispatcher.run_until_idle(LIMIT)
    assert mail.taken == [replace(message(1), receiver="mail", instead_of="oncall")]
    assert len(oncall.attempts) == 1
    clock.instant += timedelta(hours=23)
    dispatcher.run_until_idle(LIMIT)
    assert len(oncall.attempts) == 1
    assert ids(mail.taken) == ["e1/l80/1", "e1/l80/2"]  # the second had been unheard for long
    clock.instant += timedelta(hours=2)
    dispatcher.run_until_idle(LIMIT)
    assert len(oncall.attempts) == 2
    assert [(one.name, one.state, one.undelivered) for one in outbox.receivers()] == [
        ("mail", "OK", 0),
        ("oncall", "DEAD", 2),
    ]


def test_a_receiver_that_comes_back_gets_what_it_missed(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall = Accepting([PermanentError("archived")])
    outbox.add([message(1), message(2)])
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    dispatcher.run_until_idle(LIMIT)
    clock.instant += timedelta(hours=24)
    dispatcher.run_until_idle(LIMIT)
    assert ids(oncall.taken) == ["e1/l80/1", "e1/l80/2"]
    assert [one.state for one in outbox.receivers()] == ["OK"]


def test_a_message_refused_for_itself_leaves_the_receiver_alive(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall, mail = Accepting([PermanentError("too long", whole_receiver=False)]), Accepting()
    outbox.add([message(1), message(2)])
    Dispatcher(outbox, {"oncall": oncall, "mail": mail}, clock.now).run_until_idle(LIMIT)
    assert ids(oncall.taken) == ["e1/l80/2"]
    assert mail.taken == [replace(message(1), receiver="mail", instead_of="oncall")]
    assert ("e1/l80/1", "oncall", DeliveryState.DEAD) in states_of(outbox, ["e1/l80/1"])
    assert {one.state for one in outbox.receivers()} == {"OK"}


def test_nobody_is_addressed_twice(outbox: StoredOutbox, clock: FixedClock) -> None:
    mail = Accepting()
    outbox.add([message(1), message(1, "mail")])
    Dispatcher(outbox, {"oncall": Refusing(PermanentError("gone")), "mail": mail}, clock.now).run_until_idle(LIMIT)
    assert mail.taken == [message(1, "mail")]


def test_another_way_prefers_those_who_want_to_hear_it(outbox: StoredOutbox, clock: FixedClock) -> None:
    pager, mail = Accepting(), Accepting()
    least = {"pager": Severity.CRITICAL, "mail": Severity.WARNING}
    outbox.add([message(1)])
    notifiers = {"oncall": Refusing(PermanentError("gone")), "pager": pager, "mail": mail}
    Dispatcher(outbox, notifiers, clock.now, min_severity=least).run_until_idle(LIMIT)
    assert (ids(pager.taken), ids(mail.taken)) == ([], ["e1/l80/1"])


def test_another_way_is_found_even_if_nobody_wants_to_hear_it(outbox: StoredOutbox, clock: FixedClock) -> None:
    pager = Accepting()
    outbox.add([message(1)])
    notifiers = {"oncall": Refusing(PermanentError("gone")), "pager": pager}
    Dispatcher(outbox, notifiers, clock.now, min_severity={"pager": Severity.CRITICAL}).run_until_idle(LIMIT)
    assert ids(pager.taken) == ["e1/l80/1"]


def test_one_dead_after_the_other_still_reaches_the_last(outbox: StoredOutbox, clock: FixedClock) -> None:
    last = Accepting()
    outbox.add([message(1)])
    gone = PermanentError("gone")
    least = {"c": Severity.CRITICAL}
    Dispatcher(
        outbox, {"oncall": Refusing(gone), "b": Refusing(gone), "c": last}, clock.now, min_severity=least
    ).run_until_idle(LIMIT)
    assert last.taken == [replace(message(1), receiver="c", instead_of="oncall")]


def test_what_nobody_took_for_a_minute_goes_to_everybody_else(outbox: StoredOutbox, clock: FixedClock) -> None:
    mail, pager = Accepting(), Accepting()
    outbox.add([message(1)])
    notifiers = {"oncall": Refusing(TemporaryError("503")), "mail": mail, "pager": pager}
    dispatcher = Dispatcher(outbox, notifiers, clock.now)
    clock.instant += 60 * S
    dispatcher.run_until_idle(LIMIT)
    assert mail.taken == []
    clock.instant += S
    dispatcher.run_until_idle(LIMIT)
    assert mail.taken == [replace(message(1), receiver="mail", instead_of="oncall")]
    assert ids(pager.taken) == ["e1/l80/1"]


def test_the_daemon_finds_unheard_messages_by_itself(
    outbox: StoredOutbox, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_UNHEARD_EVERY_S", 0.02)
    oncall, mail = Hanging(), Accepting()
    outbox.add([message(1)])
    dispatcher = Dispatcher(outbox, {"oncall": oncall, "mail": mail}, clock.now)
    dispatcher.start()
    try:
        assert oncall.begun.wait(20)
        clock.instant += 61 * S
        wait_until(lambda: len(mail.taken) == 1)
    finally:
        oncall.let_go.set()
        dispatcher.stop(LIMIT)


def test_one_that_hangs_holds_up_nobody(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall, mail = Hanging(), Accepting()
    outbox.add([message(n, receiver) for n in range(3) for receiver in ("oncall", "mail")])
    dispatcher = Dispatcher(outbox, {"oncall": oncall, "mail": mail}, clock.now)
    dispatcher.start()
    try:
        wait_until(lambda: len(mail.taken) == 3)
        assert len(oncall.attempts) == 1
    finally:
        oncall.let_go.set()
        dispatcher.stop(LIMIT)


def test_a_send_that_never_ends_is_left_behind_and_counts_when_it_ends_well(
    outbox: StoredOutbox, clock: FixedClock
) -> None:
    oncall = Hanging()
    outbox.add([message(1)])
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now, send_wall_s=0.05)
    dispatcher.run_until_idle(LIMIT)
    assert owed(outbox).notification.possible_repeat
    assert len(oncall.attempts) == 1
    oncall.let_go.set()
    wait_until(lambda: outbox.owed("oncall") == [])
    assert states_of(outbox, ["e1/l80/1"])[0][2] is DeliveryState.SENT


def test_sends_that_never_end_do_not_pile_up(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall = Hanging()
    outbox.add([message(1)])
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now, send_wall_s=0.02)
    try:
        for _ in range(6):
            dispatcher.run_until_idle(LIMIT)
            clock.instant += timedelta(minutes=16)
        assert len(oncall.attempts) == 3
    finally:
        oncall.let_go.set()


def test_the_limit_ends_a_wait_and_the_message_stays_owed(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall, mail = Hanging(), Accepting()
    outbox.add([message(1), message(1, "mail")])
    begun = time.monotonic()
    try:
        Dispatcher(outbox, {"oncall": oncall, "mail": mail}, clock.now).run_until_idle(timedelta(seconds=0.5))
        assert time.monotonic() - begun < 10
        assert len(mail.taken) == 1
        assert owed(outbox).notification == replace(message(1), possible_repeat=True)
    finally:
        oncall.let_go.set()


def test_stopping_lets_a_send_end(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall = Hanging()
    outbox.add([message(1), message(2)])
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    dispatcher.start()
    assert oncall.begun.wait(20)
    stopper = threading.Thread(target=dispatcher.stop, args=(LIMIT,))
    stopper.start()
    oncall.let_go.set()
    stopper.join(20)
    assert [state for _, _, state in states_of(outbox, ["e1/l80/1", "e1/l80/2"])] == [
        DeliveryState.SENT,
        DeliveryState.DUE,
    ]


def test_a_thread_that_was_not_waited_for_does_not_send_beside_its_successor(
    outbox: StoredOutbox, clock: FixedClock
) -> None:
    oncall = Hanging()
    outbox.add([message(0)])
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now, pace_s=0)
    dispatcher.start()
    assert oncall.begun.wait(20)
    dispatcher.stop(timedelta(0))
    dispatcher.start()
    oncall.let_go.set()
    outbox.add([message(number) for number in range(1, 40)])
    dispatcher.wake()
    wait_until(lambda: outbox.owed("oncall") == [])
    dispatcher.stop(LIMIT)
    assert ids(oncall.attempts).count("e1/l80/0") <= 2
    assert [one for one in ids(oncall.attempts) if one != "e1/l80/0"] == [f"e1/l80/{number}" for number in range(1, 40)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_a_notifier_loses_nothing(outbox: StoredOutbox, clock: FixedClock) -> None:
    oncall = Accepting([ZeroDivisionError()])
    outbox.add([message(1)])
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    dispatcher.run_until_idle(LIMIT)
    assert owed(outbox).notification.possible_repeat
    clock.instant += 5 * S
    dispatcher.run_until_idle(LIMIT)
    assert len(oncall.taken) == 1


class FailingOutbox(StoredOutbox):
    """Cannot write for a while, as on a full disk."""

    failing = frozenset[str]()
    failed = 0

    def begin(self, delivery: Delivery, now: datetime) -> Delivery:
        self._maybe("begin")
        return super().begin(delivery, now)

    def sent(self, delivery: Delivery, receipt: Receipt, now: datetime) -> None:
        self._maybe("sent")
        super().sent(delivery, receipt, now)

    def _maybe(self, name: str) -> None:
        if name in self.failing:
            self.failed += 1
            raise OutboxError("the disk is full")


def test_a_full_disk_keeps_no_breach_from_being_told_and_repeats_nothing(
    store: Store, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_STORE_RETRY_S", 0.01)
    outbox = FailingOutbox(store)
    outbox.add([message(1), message(2)])
    outbox.failing = frozenset({"begin", "sent"})
    oncall = Accepting()
    dispatcher = Dispatcher(outbox, {"oncall": oncall}, clock.now)
    dispatcher.start()
    try:
        wait_until(lambda: outbox.failed > 10)
        assert ids(oncall.attempts) == ["e1/l80/1"]
        outbox.failing = frozenset()
        wait_until(lambda: len(oncall.taken) == 2)
    finally:
        dispatcher.stop(LIMIT)
    assert ids(oncall.taken) == ["e1/l80/1", "e1/l80/2"]
    assert outbox.owed("oncall") == []


@pytest.mark.parametrize(("ahead", "waits"), [(timedelta(days=1, hours=2), True), (timedelta(days=2), False)])
def test_nothing_waits_for_longer_than_anybody_can_have_asked(
    outbox: StoredOutbox, clock: FixedClock, ahead: timedelta, waits: bool
) -> None:
    outbox.add([message()])
    outbox.later(owed(outbox), T + ahead, "planned by a clock that was ahead", uncertain=False)
    oncall = Accepting()
    Dispatcher(outbox, {"oncall": oncall}, clock.now).run_until_idle(LIMIT)
    assert ids(oncall.taken) == ([] if waits else ["e1/l80/1"])


def test_a_lane_that_has_died_shows(outbox: StoredOutbox, clock: FixedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> float:
        raise ZeroDivisionError

    monkeypatch.setattr(threading, "excepthook", lambda died: None)
    dispatcher = Dispatcher(outbox, {"oncall": Accepting()}, clock.now)
    dispatcher.start()
    assert dispatcher.alive
    monkeypatch.setattr(dispatcher, "_serve", defect)
    dispatcher.wake()
    wait_until(lambda: not dispatcher.alive)
    dispatcher.stop(LIMIT)
