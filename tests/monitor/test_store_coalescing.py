"""What is owed about one alarm while nothing gets through: one message, and nothing is lost or told by halves."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alarms.digest import digest_of
from alarms.model import Delivery, DeliveryState, Facts, Kind, Notification, Reason, Receipt, Severity
from monitor.store.database import Store, open_store
from monitor.store.outbox import StoredOutbox, last_said, told
from tests.fakes.outbox import states_of

T = datetime(2026, 11, 23, 18, tzinfo=UTC)
H = timedelta(hours=1)
FACTS = Facts(Kind.FIRING, Severity.WARNING, Reason.CROSSED, "training", budget="training", first_detected=T)
REASONS = {Kind.FIRING: Reason.CROSSED, Kind.REPEAT: Reason.STILL_OVER, Kind.RESOLVED: Reason.RESTATED_BELOW}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path) as opened:
        yield opened


@pytest.fixture
def outbox(store: Store) -> StoredOutbox:
    return StoredOutbox(store)


def made(number: int, kind: Kind, receiver: str = "oncall", *, episode: str = "e1", **more: str) -> Notification:
    facts = replace(FACTS, kind=kind, reason=REASONS[kind])
    return Notification(f"{episode}/l80/{number}", receiver, T + number * H, facts, **more)


FIRING, REPEAT, RESOLVED = made(1, Kind.FIRING), made(2, Kind.REPEAT), made(3, Kind.RESOLVED)


def begin(outbox: StoredOutbox, receiver: str = "oncall") -> Delivery:
    begun = outbox.begin(outbox.owed(receiver)[0], T)
    assert begun is not None
    return begun


def told_as(outbox: StoredOutbox, receiver: str = "oncall") -> list[tuple[str, str]]:
    """What it is owed: ids, and whether it says that it fires, fires still, is over, or came and went."""
    return [(each.notification.id, saying(each.notification)) for each in outbox.owed(receiver)]


def saying(notification: Notification) -> str:
    if notification.facts.over_until is not None:
        return "CAME AND WENT"
    return notification.facts.kind.value


def test_repeats_take_the_place_of_what_was_not_sent(outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    for number in range(2, 60):
        outbox.add([made(number, Kind.REPEAT)])
    assert told_as(outbox) == [("e1/l80/59", "FIRING")]
    (receiver,) = outbox.receivers()
    assert (receiver.undelivered, receiver.oldest_due) == (1, T + H), "it waits since the first was made"


def test_what_came_and_went_is_one_message(outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    outbox.add([RESOLVED])
    assert told_as(outbox) == [("e1/l80/3", "CAME AND WENT")]


def test_who_was_told_that_it_fires_is_told_that_it_is_over(outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    outbox.sent(begin(outbox), Receipt(), T)
    outbox.add([REPEAT])
    outbox.add([RESOLVED])
    assert told_as(outbox) == [("e1/l80/3", "RESOLVED")]


def test_replacing_is_part_of_the_transaction_around_it(store: Store, outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    around = contextlib.ExitStack()
    around.enter_context(store.transaction())
    outbox.add([REPEAT])
    with pytest.raises(KeyError), around:
        raise KeyError
    assert told_as(outbox) == [("e1/l80/1", "FIRING")]


def test_what_is_under_way_is_not_replaced_before_it_has_failed(outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    begun = begin(outbox)
    outbox.add([REPEAT])
    assert told_as(outbox) == [("e1/l80/2", "REPEAT")]
    outbox.later(begun, T + 9 * H, "503", uncertain=False)
    assert told_as(outbox) == [("e1/l80/2", "FIRING")]
    (owed,) = outbox.owed("oncall")
    assert (owed.attempts, owed.next_attempt_at) == (1, T + 9 * H), "the receiver is not asked earlier for it"
    assert not owed.notification.possible_repeat


def test_what_was_under_way_and_arrived_is_followed_by_a_repeat(outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    begun = begin(outbox)
    outbox.add([REPEAT])
    outbox.sent(begun, Receipt(), T)
    assert told_as(outbox) == [("e1/l80/2", "REPEAT")]


@pytest.mark.parametrize("crash", [True, False])
def test_in_place_of_what_may_have_arrived_it_is_a_possible_repeat(outbox: StoredOutbox, *, crash: bool) -> None:
    outbox.add([FIRING])
    begun = begin(outbox)
    outbox.add([RESOLVED])
    if crash:
        outbox.recover()
    else:
        outbox.later(begun, T, "no answer", uncertain=True)
    assert told_as(outbox) == [("e1/l80/3", "CAME AND WENT")]
    assert outbox.owed("oncall")[0].notification.possible_repeat
    outbox.sent(begun, Receipt(), T)
    assert states_of(outbox, ["e1/l80/1"])[0][2] is DeliveryState.SENT, "it came through after all"


def test_what_was_chosen_and_has_just_been_replaced_is_not_sent(outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    (chosen,) = outbox.owed("oncall")
    outbox.add([REPEAT])
    assert outbox.begin(chosen, T) is None
    (digest,) = outbox.owed("oncall")
    outbox.add([RESOLVED])
    assert outbox.begin(digest_of([digest, digest]), T) is None


def test_a_replaced_message_stands_as_the_one_that_says_it(outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    outbox.add([REPEAT])
    assert states_of(outbox, ["e1/l80/1"]) == [("e1/l80/1", "oncall", DeliveryState.DUE)]
    outbox.add([RESOLVED])
    outbox.sent(begin(outbox), Receipt(), T)
    assert [state for *_, state in states_of(outbox, ["e1/l80/1", "e1/l80/2"])] == [DeliveryState.SENT] * 2


def test_a_stand_in_that_is_told_late_is_told_the_end_as_well(outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    outbox.add([RESOLVED])
    outbox.add([made(1, Kind.FIRING, "mail", instead_of="oncall")])
    assert told_as(outbox, "mail") == [("e1/l80/3", "CAME AND WENT")]
    assert outbox.owed("mail")[0].notification.instead_of == "oncall"
    assert outbox.addressed("e1/l80/1") == {"oncall", "mail"}, "or it would be addressed for ever"


def test_a_stand_in_that_has_got_the_end_is_not_told_the_beginning(outbox: StoredOutbox) -> None:
    outbox.add([FIRING, RESOLVED])
    outbox.add([made(3, Kind.RESOLVED, "mail", instead_of="oncall")])
    outbox.sent(begin(outbox, "mail"), Receipt(), T)
    outbox.add([made(1, Kind.FIRING, "mail", instead_of="oncall")])
    assert told_as(outbox, "mail") == []


def test_stand_ins_that_still_wait_get_the_newer_message(outbox: StoredOutbox, store: Store) -> None:
    outbox.add([FIRING, made(1, Kind.FIRING, "mail", instead_of="oncall")])
    outbox.add([REPEAT])
    assert told_as(outbox, "mail") == [("e1/l80/2", "FIRING")]
    assert outbox.owed("mail")[0].notification.instead_of == "oncall"
    with store.read() as connection:
        assert told(connection, "e1", "l80") == {"oncall", "mail"}
        said = last_said(connection, "e1", "l80")
    assert said is not None
    assert (said.kind, said.reason) == (Kind.REPEAT, Reason.STILL_OVER)


def test_a_copy_for_a_stand_in_is_coalesced_like_the_original(outbox: StoredOutbox) -> None:
    outbox.add([made(1, Kind.FIRING, "mail")])
    begun = begin(outbox, "mail")
    outbox.add([FIRING])
    outbox.add([REPEAT])
    # As oncall is told it: not "still".
    copy = replace(outbox.owed("oncall")[0].notification, receiver="mail", instead_of="oncall")
    outbox.add([copy])
    outbox.later(begun, T, "503", uncertain=False)
    assert told_as(outbox, "mail") == [("e1/l80/2", "FIRING")]


def test_somebody_new_does_not_hear_of_an_end_alone(outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    outbox.sent(begin(outbox), Receipt(), T)
    outbox.add([RESOLVED, made(3, Kind.RESOLVED, "mail", instead_of="oncall")])
    assert told_as(outbox) == [("e1/l80/3", "RESOLVED")]
    assert told_as(outbox, "mail") == [("e1/l80/3", "CAME AND WENT")]


def test_the_end_after_a_refused_beginning_says_both(outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    begun = begin(outbox)
    outbox.add([RESOLVED])
    outbox.dead(begun, "too long")
    assert told_as(outbox) == [("e1/l80/3", "CAME AND WENT")]
    assert states_of(outbox, ["e1/l80/1"])[0][2] is DeliveryState.DEAD


def test_an_alarm_that_fires_again_and_again_unheard_is_one_message(outbox: StoredOutbox) -> None:
    for number in range(20):
        outbox.add([made(2 * number + 1, Kind.FIRING, episode=f"e{number}")])
        outbox.add([made(2 * number + 2, Kind.RESOLVED, episode=f"e{number}")])
    assert told_as(outbox) == [("e19/l80/40", "CAME AND WENT")]
    assert outbox.owed("oncall")[0].notification.facts.missed == 19
    outbox.add([made(50, Kind.FIRING, episode="last")])
    assert told_as(outbox) == [("last/l80/50", "FIRING")]


def test_the_end_of_what_was_heard_is_told_before_anything_newer(outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    outbox.sent(begin(outbox), Receipt(), T)
    outbox.add([RESOLVED])
    for number in range(20):
        outbox.add([made(2 * number + 5, Kind.FIRING, episode=f"f{number}")])
        outbox.add([made(2 * number + 6, Kind.RESOLVED, episode=f"f{number}")])
    assert told_as(outbox) == [("e1/l80/3", "RESOLVED"), ("f19/l80/44", "CAME AND WENT")]


def test_levels_do_not_replace_each_other(outbox: StoredOutbox) -> None:
    critical = replace(FACTS, severity=Severity.CRITICAL)
    outbox.add([FIRING, Notification("e1/l100/1", "oncall", T, critical)])
    outbox.add([Notification("e1/l100/2", "oncall", T, replace(critical, kind=Kind.RESOLVED))])
    assert told_as(outbox) == [("e1/l80/1", "FIRING"), ("e1/l100/2", "CAME AND WENT")]


def test_a_clock_that_went_back_does_not_turn_the_order_round(outbox: StoredOutbox) -> None:
    outbox.add([FIRING])
    outbox.add([replace(REPEAT, created_at=T - 99 * H)])
    outbox.add([replace(RESOLVED, created_at=T - 98 * H)])
    assert told_as(outbox) == [("e1/l80/3", "CAME AND WENT")]


def test_what_a_clock_that_was_ahead_has_made_is_found_when_nobody_hears_it(outbox: StoredOutbox) -> None:
    ahead = T + 99999 * H
    outbox.add([replace(FIRING, created_at=ahead), replace(FIRING, id="e2/l90/1", created_at=ahead)])
    outbox.add([replace(REPEAT, id="e2/l90/2", created_at=ahead + H)])
    outbox.add([REPEAT])
    outbox.forget_the_future(T + 3 * H, T + 9 * H)
    assert {each.id for each in outbox.unheard(T + 4 * H)} == {"e1/l80/2", "e2/l90/2"}
    assert outbox.receivers()[0].oldest_due == T + 2 * H


def test_what_nobody_has_heard_for_long_is_found_however_often_it_was_replaced(outbox: StoredOutbox) -> None:
    outbox.add([FIRING, made(1, Kind.FIRING, "mail")])
    outbox.sent(begin(outbox, "mail"), Receipt(), T)
    outbox.add([REPEAT])
    assert [each.id for each in outbox.unheard(T + 2 * H)] == ["e1/l80/2"], "mail is not told of it: oncall alone was"
    assert outbox.unheard(T + H) == []
    outbox.add([made(2, Kind.REPEAT, "mail")])
    assert outbox.unheard(T + 2 * H) == [], "mail may well take it in a moment"
    assert [each.id for each in outbox.unheard(T + 3 * H)] == ["e1/l80/2"]


def flood(outbox: StoredOutbox, count: int = 12) -> Delivery:
    facts = [replace(FACTS, budget=f"b{number}") for number in range(count)]
    outbox.add(Notification(f"{each.budget}/l80/1", "oncall", T, each) for each in facts)
    return digest_of(outbox.owed("oncall"))


def states(outbox: StoredOutbox) -> set[DeliveryState]:
    return {state for *_, state in states_of(outbox, [f"b{number}/l80/1" for number in range(12)])}


def test_a_digest_is_sent_as_one(outbox: StoredOutbox) -> None:
    digest = outbox.begin(flood(outbox), T)
    assert digest is not None
    assert states(outbox) == {DeliveryState.SENDING}
    assert digest.attempts == 1
    outbox.sent(digest, Receipt("r1"), T)
    assert states(outbox) == {DeliveryState.SENT}
    assert outbox.receivers()[0].undelivered == 0


def test_a_digest_that_may_have_arrived_is_kept_together(outbox: StoredOutbox) -> None:
    first = outbox.begin(flood(outbox), T)
    assert first is not None
    outbox.recover()
    assert {each.digest for each in outbox.owed("oncall")} == {first.notification.id}
    assert digest_of(outbox.owed("oncall")).notification.id == first.notification.id
    again = outbox.begin(digest_of(outbox.owed("oncall")), T)
    assert again is not None
    outbox.later(again, T + H, "503", uncertain=False)
    assert {each.digest for each in outbox.owed("oncall")} == {first.notification.id}, "the first may have arrived"


@pytest.mark.parametrize("dead", [True, False])
def test_a_digest_that_certainly_did_not_arrive_is_made_anew(outbox: StoredOutbox, *, dead: bool) -> None:
    digest = outbox.begin(flood(outbox), T)
    assert digest is not None
    if dead:
        outbox.receiver_dead("oncall", "no such hook", T, T + 24 * H)
    else:
        outbox.later(digest, T + 24 * H, "503", uncertain=False)
    assert {each.digest for each in outbox.owed("oncall")} == {""}
    assert {each.next_attempt_at for each in outbox.owed("oncall")} == {T + 24 * H}
    assert not any(each.notification.possible_repeat for each in outbox.owed("oncall"))


RECEIVERS = ("a", "b", "c")
OUTCOMES = ("sent", "failed", "in doubt", "refused", "crashed")
steps = st.one_of(
    st.sampled_from(("move on", "repeat")),
    st.tuples(st.just("deliver"), st.sampled_from(RECEIVERS), st.sampled_from(OUTCOMES)),
    st.tuples(st.just("begin"), st.sampled_from(RECEIVERS)),
    st.tuples(st.just("end"), st.sampled_from(RECEIVERS), st.sampled_from(OUTCOMES)),
    st.tuples(st.just("another way"), st.sampled_from(RECEIVERS), st.integers(0, 20)),
)


@dataclass
class World:
    """One alarm that comes and goes, two receivers that are to hear of it, and a third that may stand in."""

    store: Store
    outbox: StoredOutbox
    now: datetime = T
    episode: int = 0
    sequence: int = 0
    fires: bool = False
    all: list[Notification] = field(default_factory=list)
    under_way: dict[str, Delivery] = field(default_factory=dict)
    heard: dict[str, list[Notification]] = field(default_factory=lambda: {name: [] for name in RECEIVERS})

    def step(self, step: object) -> None:
        self.now += H
        match step:
            case "move on":
                self.move_on()
            case "repeat":
                if self.fires:
                    self.say(Kind.REPEAT, ("a", "b"))
            case ("deliver", str(receiver), str(outcome)):
                self.begin(receiver)
                self.end(receiver, outcome)
            case ("begin", str(receiver)):
                self.begin(receiver)
            case ("end", str(receiver), str(outcome)):
                self.end(receiver, outcome)
            case ("another way", str(receiver), int(which)) if self.all:
                message = self.all[which % len(self.all)]
                if receiver not in self.outbox.addressed(message.id):
                    self.outbox.add([replace(message, receiver=receiver, instead_of="a")])

    def move_on(self) -> None:
        self.fires = not self.fires
        if self.fires:
            self.episode, self.sequence = self.episode + 1, 0
            self.say(Kind.FIRING, ("a", "b"))
            return
        with self.store.transaction() as tx:
            self.say(Kind.RESOLVED, tuple(told(tx, f"e{self.episode}", "l80")))

    def say(self, kind: Kind, receivers: tuple[str, ...]) -> None:
        self.sequence += 1
        name = f"e{self.episode}"
        made_now = [replace(made(self.sequence, kind, each, episode=name), created_at=self.now) for each in receivers]
        self.all += made_now[:1]
        self.outbox.add(made_now)

    def begin(self, receiver: str) -> None:
        owed = self.outbox.owed(receiver)
        if owed and receiver not in self.under_way:
            begun = self.outbox.begin(owed[0], self.now)
            assert begun is not None
            self.under_way[receiver] = begun

    def end(self, receiver: str, outcome: str) -> None:
        delivery = self.under_way.pop(receiver, None)
        if delivery is None:
            return
        if outcome in ("sent", "crashed"):
            self.heard[receiver].append(delivery.notification)
        match outcome:
            case "sent":
                self.outbox.sent(delivery, Receipt(), self.now)
            case "refused":
                self.outbox.dead(delivery, "too long")
            case "crashed":
                # Everybody's is in doubt then.
                self.under_way.clear()
                self.outbox.recover()
            case _:
                self.outbox.later(delivery, self.now, "503", uncertain=outcome == "in doubt")

    def refused(self, receiver: str) -> bool:
        rows = states_of(self.outbox, {each.id for each in self.all})
        return any(who == receiver and state is DeliveryState.DEAD for _, who, state in rows)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(steps, max_size=40))
@example(history=["move on", ("deliver", "a", "crashed"), "move on", "move on"])
def test_whatever_happens_everybody_hears_how_it_stands_and_no_end_without_a_beginning(
    history: list[object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_store(tmp_path_factory.mktemp("state") / "state") as store:
        world = World(store, StoredOutbox(store))
        for step in history:
            world.step(step)
            for receiver in RECEIVERS:
                under_way = int(receiver in world.under_way)
                assert len(world.outbox.owed(receiver)) + under_way <= 3
        for receiver in RECEIVERS:
            while world.outbox.owed(receiver) or receiver in world.under_way:
                world.begin(receiver)
                world.end(receiver, "sent")
        for receiver, heard in world.heard.items():
            check(world, receiver, heard)


def check(world: World, receiver: str, heard: list[Notification]) -> None:
    firing: set[str] = set()
    known: set[str] = set()
    for message in heard:
        if message.facts.kind is not Kind.RESOLVED:
            firing.add(message.stay)
            known.add(message.stay)
        else:
            assert message.stay in known or message.facts.over_until is not None, "an end without a beginning"
            firing.discard(message.stay)
    present = {f"e{world.episode}/l80"} if world.fires else set()
    if not world.refused(receiver):
        assert firing <= present, "a beginning without an end"
        if receiver != "c":
            assert present <= firing, "it was not told how things stand"
