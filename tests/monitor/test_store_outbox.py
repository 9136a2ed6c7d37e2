"""What is owed, kept in the store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.model import Delivery, DeliveryState, Facts, Kind, Notification, Period, Reason, Receipt, Severity
from alarms.ports import Outbox
from monitor.errors import StoreError
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox, told
from monitor.store.payload import from_payload, to_payload
from monitor.store.receivers import ReceiverState, nobody_hears
from tests.fakes.outbox import states_of

T = datetime(2026, 11, 23, 18, tzinfo=UTC)
S = timedelta(seconds=1)
FACTS = Facts(Kind.FIRING, Severity.WARNING, Reason.CROSSED, "Budget training is over 80%", budget="training")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def outbox(store: Store) -> StoredOutbox:
    return StoredOutbox(store)


def message(number: int = 1, receiver: str = "oncall", kind: Kind = Kind.FIRING, level: str = "l80") -> Notification:
    return Notification(f"e1/{level}/{number}", receiver, T + number * S, replace(FACTS, kind=kind))


def oldest_owed(outbox: StoredOutbox, receiver: str) -> Delivery | None:
    return next(iter(outbox.owed(receiver)), None)


def begin(outbox: StoredOutbox, delivery: Delivery) -> Delivery:
    begun = outbox.begin(delivery, T)
    assert begun is not None
    return begun


def test_it_is_the_port(outbox: StoredOutbox) -> None:
    port: Outbox = outbox
    assert port.recover() == 0


def test_messages_come_in_the_order_in_which_they_were_owed(outbox: StoredOutbox) -> None:
    outbox.add([message(2), message(1), message(1, "mail")])
    first = oldest_owed(outbox, "oncall")
    assert first is not None
    assert first.notification == message(2)
    assert (first.state, first.attempts, first.next_attempt_at) == (DeliveryState.DUE, 0, T + 2 * S)
    outbox.sent(begin(outbox, first), Receipt(), T)
    second = oldest_owed(outbox, "oncall")
    assert second is not None
    assert second.notification == message(1)
    assert oldest_owed(outbox, "nobody") is None


def test_owing_twice_is_owing_once(outbox: StoredOutbox) -> None:
    outbox.add([message(), message()])
    delivery = oldest_owed(outbox, "oncall")
    assert delivery is not None
    outbox.sent(begin(outbox, delivery), Receipt("remote-7", ("a@example.com",)), T + S)
    outbox.add([message()])
    assert oldest_owed(outbox, "oncall") is None
    assert states_of(outbox, ["e1/l80/1"]) == [("e1/l80/1", "oncall", DeliveryState.SENT)]


def test_adding_is_part_of_the_transaction_around_it(store: Store, outbox: StoredOutbox) -> None:
    around = contextlib.ExitStack()
    around.enter_context(store.transaction())
    outbox.add([message()])
    with pytest.raises(KeyError), around:
        raise KeyError
    assert oldest_owed(outbox, "oncall") is None


def test_what_was_under_way_at_the_crash_is_owed_again_and_marked(outbox: StoredOutbox) -> None:
    outbox.add([message(1), message(2)])
    delivery = oldest_owed(outbox, "oncall")
    assert delivery is not None
    assert begin(outbox, delivery).attempts == 1
    assert oldest_owed(outbox, "oncall") != delivery
    assert outbox.recover() == 1
    again = oldest_owed(outbox, "oncall")
    assert again is not None
    assert again.notification == replace(message(1), possible_repeat=True)
    assert again.attempts == 1
    assert outbox.recover() == 0


def test_later_waits_and_remembers_whether_it_may_have_arrived(outbox: StoredOutbox) -> None:
    outbox.add([message()])
    for uncertain, marked in ((False, False), (True, True), (False, True)):
        delivery = oldest_owed(outbox, "oncall")
        assert delivery is not None
        outbox.later(begin(outbox, delivery), T + 5 * S, "no answer", uncertain=uncertain)
        delivery = oldest_owed(outbox, "oncall")
        assert delivery is not None
        assert delivery.next_attempt_at == T + 5 * S
        assert delivery.notification.possible_repeat is marked
    assert outbox.receivers()[0].undelivered == 1


def test_what_was_accepted_is_never_owed_again(outbox: StoredOutbox) -> None:
    outbox.add([message()])
    delivery = oldest_owed(outbox, "oncall")
    assert delivery is not None
    outbox.sent(delivery, Receipt(), T)
    outbox.later(delivery, T, "given up, before it came through after all", uncertain=True)
    outbox.dead(delivery, "the same")
    assert states_of(outbox, ["e1/l80/1"]) == [("e1/l80/1", "oncall", DeliveryState.SENT)]


def test_who_was_dead_is_tried_at_once_after_a_start(outbox: StoredOutbox) -> None:
    outbox.add([message(1)])
    outbox.receiver_dead("oncall", "no such hook", T, T + timedelta(days=1))
    outbox.revive(T + S)
    owed = oldest_owed(outbox, "oncall")
    assert owed is not None
    assert owed.next_attempt_at == T + S


def test_a_dead_receiver_is_told_of_once_and_comes_back_with_a_delivery(outbox: StoredOutbox) -> None:
    outbox.add([message(1), message(2)])
    outbox.receiver_dead("oncall", "no such hook", T, T + timedelta(days=1))
    outbox.receiver_dead("oncall", "no such hook", T + S, T + timedelta(days=1))
    assert outbox.receivers() == [ReceiverState("oncall", "DEAD", T, "no such hook", None, 2, T + S)]
    delivery = oldest_owed(outbox, "oncall")
    assert delivery is not None
    assert delivery.next_attempt_at == T + timedelta(days=1)
    outbox.sent(delivery, Receipt(), T + 9 * S)
    assert outbox.receivers() == [ReceiverState("oncall", "OK", T + 9 * S, None, T + 9 * S, 1, T + 2 * S)]


def test_a_message_under_way_when_its_receiver_dies_stays_owed(outbox: StoredOutbox) -> None:
    outbox.add([message()])
    delivery = oldest_owed(outbox, "oncall")
    assert delivery is not None
    begin(outbox, delivery)
    outbox.receiver_dead("oncall", "no such hook", T, T + S)
    assert oldest_owed(outbox, "oncall") is not None


def test_unheard_is_what_nobody_took(outbox: StoredOutbox) -> None:
    outbox.add([message(1), message(1, "mail"), message(2), message(2, "mail"), message(3)])
    taken = oldest_owed(outbox, "oncall")
    assert taken is not None
    outbox.sent(taken, Receipt(), T)
    assert outbox.unheard(T + 3 * S) == [message(2)]
    refused = oldest_owed(outbox, "oncall")
    assert refused is not None
    outbox.dead(refused, "too long")
    assert [one.id for one in outbox.unheard(T + 3 * S)] == ["e1/l80/2"]
    assert outbox.addressed("e1/l80/2") == {"oncall", "mail"}


def test_told_are_those_who_heard_or_will_hear_that_it_fires(store: Store, outbox: StoredOutbox) -> None:
    outbox.add([message(1), message(1, "mail"), message(2, "pager", Kind.REPEAT), message(3, "late", Kind.RESOLVED)])
    outbox.add([message(1, "other", level="l80.5"), message(1, "third", level="l8")])
    delivery = oldest_owed(outbox, "mail")
    assert delivery is not None
    outbox.dead(delivery, "too long")
    with store.read() as connection:
        assert told(connection, "e1", "l80") == {"oncall", "pager"}
        assert told(connection, "e1", "l100") == frozenset()


def test_a_receiver_that_is_gone_from_the_config_owes_nothing(outbox: StoredOutbox) -> None:
    outbox.add([message(1), message(1, "mail")])
    outbox.retire({"mail"})
    assert [receiver.name for receiver in outbox.receivers()] == ["mail"]
    assert oldest_owed(outbox, "oncall") is None
    assert oldest_owed(outbox, "mail") is not None


def test_forgetting_leaves_what_somebody_waits_for(outbox: StoredOutbox) -> None:
    outbox.add([message(1), message(2), message(2, "mail"), message(3)])
    for _ in range(3):
        delivery = oldest_owed(outbox, "oncall")
        assert delivery is not None
        outbox.sent(delivery, Receipt(), T)
    assert outbox.forget(T + 3 * S) == 1
    assert outbox.addressed("e1/l80/1") == frozenset()
    assert outbox.addressed("e1/l80/2") == {"oncall", "mail"}
    assert outbox.addressed("e1/l80/3") == {"oncall"}
    assert outbox.unheard(T + 9 * S) == []


def test_a_damaged_message_is_not_sent(store: Store, outbox: StoredOutbox) -> None:
    outbox.add([message()])
    with store.read() as connection:
        connection.execute("UPDATE outbox SET payload = replace(payload, '80%', '90%')")
    with pytest.raises(StoreError, match="row seq=1, id=e1/l80/1, receiver=oncall of table outbox"):
        oldest_owed(outbox, "oncall")


_MONEY = st.none() | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20)
_INSTANT = st.none() | st.datetimes(timezones=st.just(UTC))
_TEXT = st.text(max_size=20)


@given(
    st.builds(
        Facts,
        kind=st.sampled_from(Kind), severity=st.sampled_from(Severity), reason=st.sampled_from(Reason),
        title=_TEXT, detail=_TEXT, budget=st.none() | _TEXT, currency=_TEXT, on=_TEXT, at=_TEXT,
        period=st.none() | st.just(Period(T, T + S)), lower_bound=st.booleans(),
        stale=st.lists(_TEXT, max_size=3).map(tuple), also_over=st.lists(_TEXT, max_size=3).map(tuple),
        amount=_MONEY, limit=_MONEY, spend=_MONEY, billed=_MONEY, accrued=_MONEY, previous_spend=_MONEY,
        as_of=_INSTANT, previous_told=_INSTANT, first_detected=_INSTANT, silenced_until=_INSTANT,
        sections=st.lists(st.tuples(_TEXT, st.lists(_TEXT, max_size=3).map(tuple)), max_size=3).map(tuple),
    )
)  # fmt: skip
def test_facts_come_back_as_they_were(facts: Facts) -> None:
    assert from_payload(to_payload(facts)) == facts


def test_every_fact_is_stored() -> None:
    for name, value in (("amount", Decimal(1)), ("also_over", ("100%",)), ("previous_told", T), ("lower_bound", True)):
        changed = replace(FACTS, **{name: value})
        assert to_payload(changed) != to_payload(FACTS)


def test_a_message_of_another_format_is_refused() -> None:
    with pytest.raises(StoreError, match="format 2"):
        from_payload(to_payload(FACTS).replace('"version":1', '"version":2'))


def test_nobody_hears_when_each_receiver_is_dead_or_has_waited_too_long() -> None:
    fine = ReceiverState("mail", "OK", T, None, T, 0, None)
    dead = ReceiverState("oncall", "DEAD", T, "no such hook", None, 2, T)
    waiting = ReceiverState("topic", "OK", T, None, None, 1, T)
    soon, late = T + timedelta(minutes=15), T + timedelta(minutes=16)
    assert nobody_hears(["oncall", "topic"], [dead, waiting], late)
    assert not nobody_hears(["oncall", "topic"], [dead, waiting], soon)
    assert not nobody_hears(["oncall", "topic", "mail"], [dead, waiting, fine], late)
    assert not nobody_hears(["oncall", "mail"], [dead], late), "mail was never owed anything"
    assert not nobody_hears([], [dead], late)
