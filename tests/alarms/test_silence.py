"""What silences and acks hold back, and what they never touch. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alarms.model import (
    Alarm,
    AlarmKey,
    AlarmStatus,
    Budget,
    Facts,
    Kind,
    Limit,
    Notification,
    Period,
    Reading,
    Reason,
    Severity,
    Threshold,
    Transition,
)
from alarms.silence import LONGEST, Silence, SilenceKind, Silences
from alarms.state import Situation, Step, advance

NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
START = datetime(2026, 11, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
WARNING = Threshold("actual", Limit("80%", percent=Decimal(80)), Severity.WARNING)
CRITICAL = Threshold("actual", Limit("100%", percent=Decimal(100)), Severity.CRITICAL)
PAGED = (Kind.FIRING, Kind.REPEAT)


def silence(until: datetime, *, name: str = "training", since: datetime = START, why: str = "") -> Silence:
    return Silence(name, SilenceKind.SILENCE, since, until, "root", why)


@dataclass
class World:
    """Keeps what a store would keep, silences too."""

    budget: Budget = field(
        default_factory=lambda: Budget(
            "training",
            Decimal(1000),
            "USD",
            (WARNING, CRITICAL),
            ("oncall", "mail"),
            {Severity.CRITICAL: 4 * HOUR, Severity.WARNING: 24 * HOUR},
        )
    )
    silences: list[Silence] = field(default_factory=list)
    alarms: dict[AlarmKey, Alarm] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    inbox: list[tuple[datetime, Notification]] = field(default_factory=list)
    told: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    now: datetime = START
    seen: bool = True

    def see(self, spend: str | None, *, after: timedelta = HOUR, current: bool = True) -> Step:
        self.now += after
        present = Silences(self.silences, self.now)
        amount = None if spend is None else Decimal(spend)
        step = advance(
            self.budget,
            Reading("training", NOVEMBER, "USD", amount, billed=amount),
            Situation(
                previous=self.alarms,
                now=self.now,
                told=lambda episode, level: frozenset(self.told[episode, level]),
                first_sight=not self.seen,
                current=current,
                quiet=present.of("training"),
            ),
        )
        self.seen = True
        self.alarms |= {alarm.key: alarm for alarm in step.alarms}
        self.transitions += step.transitions
        self.silences = list(present.still(step.alarms))
        for message in step.notifications:
            self.inbox.append((self.now, message))
            if message.facts.kind in PAGED:
                episode, level, _ = message.id.split("/")
                self.told[episode, level].add(message.receiver)
        return step

    def silence(self, lasting: timedelta, why: str = "") -> None:
        self.silences = [one for one in self.silences if one.kind is SilenceKind.ACK]
        self.silences.append(silence(self.now + lasting, since=self.now, why=why))

    def unsilence(self) -> None:
        ended = [replace(one, until=self.now) for one in self.silences if one.kind is SilenceKind.SILENCE]
        self.silences = ended

    def ack(self) -> None:
        firing = [alarm for alarm in self.alarms.values() if alarm.status is AlarmStatus.FIRING]
        if firing:
            highest = max(firing, key=lambda alarm: alarm.key.severity.rank)
            self.silences = [one for one in self.silences if one.kind is SilenceKind.SILENCE]
            self.silences.append(Silence("training", SilenceKind.ACK, self.now, None, "root", episode=highest.episode))

    def heard(self, receiver: str = "oncall") -> list[tuple[Kind, str, Reason]]:
        return [(m.facts.kind, m.facts.at, m.facts.reason) for _, m in self.inbox if m.receiver == receiver]


def test_a_silence_holds_back_firing_and_its_end_is_one_message_that_says_so() -> None:
    world = World()
    world.see("500")
    world.silence(4 * HOUR, "load test")
    ended = world.now + 4 * HOUR
    for spend in ("810", "900", "1100"):
        world.see(spend)
    assert world.inbox == []
    assert {alarm.status for alarm in world.alarms.values()} == {AlarmStatus.FIRING}
    step = world.see("1150")
    assert world.heard() == world.heard("mail") == [(Kind.FIRING, "100%", Reason.SILENCE_OVER)]
    facts = step.notifications[0].facts
    assert (facts.silenced_until, facts.also_over) == (ended, ("80%",))
    assert facts.detail == "silenced by root: load test"
    for _ in range(3):
        world.see("1150")
    assert len(world.heard()) == 1
    world.see("1150")
    assert world.heard()[1:] == [(Kind.REPEAT, "100%", Reason.STILL_OVER)]


def test_a_higher_level_stays_silent_too_and_the_end_of_a_silence_is_told_once_to_those_who_knew() -> None:
    world = World()
    world.see("850")
    world.silence(4 * HOUR)
    world.see("1100")
    assert world.heard() == [(Kind.FIRING, "80%", Reason.CROSSED)]
    world.see("1100", after=3 * HOUR)
    assert world.heard()[1:] == [(Kind.FIRING, "100%", Reason.SILENCE_OVER)]


def test_repeats_are_held_back_and_what_was_told_before_is_told_at_the_end() -> None:
    world = World(budget=replace(World().budget, repeat={Severity.CRITICAL: HOUR, Severity.WARNING: None}))
    world.see("1100")
    world.silence(5 * HOUR)
    before = len(world.inbox)
    for _ in range(4):
        world.see("1100")
    assert len(world.inbox) == before
    world.see("1100")
    assert world.heard()[-1] == (Kind.REPEAT, "100%", Reason.SILENCE_OVER)
    assert len(world.heard()) == before // 2 + 1


def test_unsilence_ends_it_at_once_and_nothing_is_told_when_nothing_fires() -> None:
    world = World()
    world.silence(100 * HOUR)
    world.see("850")
    world.unsilence()
    world.see("850")
    assert world.heard() == [(Kind.FIRING, "80%", Reason.SILENCE_OVER)]
    world.see("500")
    world.silence(HOUR)
    world.see("500", after=2 * HOUR)
    assert world.heard()[2:] == []
    assert world.silences == []


def test_resolved_goes_to_those_who_got_firing_before_the_silence_and_to_nobody_else() -> None:
    world = World(budget=replace(World().budget, receivers=("oncall",)))
    world.see("850")
    world.budget = replace(world.budget, receivers=("oncall", "newcomer"))
    world.silence(100 * HOUR)
    world.see("1100")
    world.see("500")
    assert world.heard() == [(Kind.FIRING, "80%", Reason.CROSSED), (Kind.RESOLVED, "80%", Reason.RESTATED_BELOW)]
    assert world.heard("newcomer") == []


def test_a_period_that_ends_in_a_silence_is_told_to_those_who_knew_alone() -> None:
    world = World()
    world.see("850")
    world.silence(100 * HOUR)
    world.see("1100")
    world.see("1100", current=False)
    assert world.heard()[1:] == [(Kind.RESOLVED, "80%", Reason.PERIOD_ENDED)]


def test_over_at_first_sight_under_a_silence_is_told_at_its_end() -> None:
    world = World(seen=False)
    world.silence(2 * HOUR)
    world.see("1100")
    assert world.inbox == []
    assert [change.reason for change in world.transitions] == [Reason.ALREADY_OVER] * 2
    world.see("1100")
    assert world.heard() == [(Kind.FIRING, "100%", Reason.SILENCE_OVER)]


def test_what_crosses_when_a_silence_ends_is_the_only_message() -> None:
    world = World()
    world.silence(2 * HOUR)
    world.see("850")
    world.see("1100")
    assert world.heard() == [(Kind.FIRING, "100%", Reason.CROSSED)]


def test_a_raised_limit_is_named_as_the_reason_after_a_silence_too() -> None:
    world = World()
    world.silence(100 * HOUR)
    world.see("850")
    world.budget = replace(world.budget, amount=Decimal(5000))
    step = world.see("850")
    assert step.transitions[0].reason is Reason.LIMIT_RAISED


def test_an_ack_stops_repeats_of_its_level_and_a_higher_one_pages_again() -> None:
    world = World()
    world.see("850")
    world.ack()
    for _ in range(60):
        world.see("850")
    assert len(world.heard()) == 1
    world.see("1100")
    assert world.heard()[1:] == [(Kind.FIRING, "100%", Reason.CROSSED)]
    assert world.silences == []
    world.see("1100", after=4 * HOUR)
    assert world.heard()[2:] == [(Kind.REPEAT, "100%", Reason.STILL_OVER)]


def test_resolved_ends_an_ack_and_a_new_episode_pages_again() -> None:
    world = World()
    world.see("850")
    world.ack()
    world.see("500")
    assert world.heard()[1:] == [(Kind.RESOLVED, "80%", Reason.RESTATED_BELOW)]
    assert world.silences == []
    world.see("850")
    world.see("850", after=24 * HOUR)
    assert [kind for kind, _, _ in world.heard()[2:]] == [Kind.FIRING, Kind.REPEAT]


def test_going_down_a_level_ends_an_ack_as_well() -> None:
    world = World()
    world.see("1100")
    world.ack()
    world.see("850", after=30 * HOUR)
    assert world.heard()[2:] == [
        (Kind.RESOLVED, "100%", Reason.RESTATED_BELOW),
        (Kind.REPEAT, "80%", Reason.STILL_OVER),
    ]


def test_what_was_acknowledged_is_not_told_when_a_silence_ends_unless_nobody_was_told() -> None:
    world = World()
    world.see("850")
    world.ack()
    world.silence(2 * HOUR)
    world.see("850", after=3 * HOUR)
    assert len(world.heard()) == 1
    other = World()
    other.silence(2 * HOUR)
    other.see("850")
    other.ack()
    other.see("850", after=3 * HOUR)
    assert other.heard() == [(Kind.FIRING, "80%", Reason.SILENCE_OVER)]


@pytest.mark.parametrize(
    ("asked", "budget", "covered"),
    [
        ("training", "training", True),
        ("training", "training/123456789012", True),
        ("training/123456789012", "training/123456789012", True),
        ("training/123456789012", "training/999999999999", False),
        ("train", "training", False),
        ("training/123456789012", "training", False),
    ],
)
def test_a_base_name_covers_all_that_each_has_made(asked: str, budget: str, covered: bool) -> None:
    assert Silences([silence(START + HOUR, name=asked)], START).of(budget).silenced is covered


def test_of_two_silences_the_end_of_one_is_no_end() -> None:
    one = silence(START + HOUR, name="training")
    other = silence(START + 3 * HOUR, name="training/1")
    later = START + 2 * HOUR
    assert Silences([one, other], later).of("training/1").silenced
    assert Silences([one, other], later).of("training/1").ended is None
    assert Silences([one, other], later).of("training/2").ended == one


def test_a_silence_of_a_clock_that_was_years_ahead_is_over() -> None:
    wrong = silence(START + 365 * 24 * HOUR, since=START + 364 * 24 * HOUR)
    quiet = Silences([wrong], START).of("training")
    assert (quiet.silenced, quiet.ended) == (False, wrong)
    longest = Silences([silence(START + LONGEST)], START - timedelta(hours=1))
    assert longest.of("training").silenced, "a clock that is set back a little ends none"


def test_messages_that_are_owed_already_are_held_back_by_kind() -> None:
    present = Silences([silence(START + HOUR), Silence("ack", SilenceKind.ACK, START, None, "x", episode="e1")], START)

    def withheld(kind: Kind, budget: str | None, episode: str = "e1") -> bool:
        facts = Facts(kind, Severity.WARNING, Reason.CROSSED, "t", budget=budget)
        return present.withhold(Notification(f"{episode}/level/1", "oncall", START, facts))

    assert withheld(Kind.FIRING, "training")
    assert withheld(Kind.REPEAT, "training")
    assert not withheld(Kind.RESOLVED, "training")
    assert not withheld(Kind.FIRING, None)
    assert not withheld(Kind.FIRING, "other")
    assert withheld(Kind.REPEAT, "ack")
    assert not withheld(Kind.FIRING, "ack")
    assert not withheld(Kind.REPEAT, "ack", "e2")


ACTIONS = st.one_of(
    st.sampled_from(["500", "850", "900", "1100", "1200", "none"]),
    st.tuples(st.just("silence"), st.integers(1, 30)),
    st.sampled_from(["unsilence", "ack"]),
)


@given(st.lists(st.tuples(ACTIONS, st.integers(1, 12)), max_size=40))
def test_quiet_changes_what_is_told_and_never_a_state(history: list[tuple[object, int]]) -> None:
    quiet, loud = World(), World()
    silenced: list[datetime] = []
    for action, hours in history:
        if isinstance(action, tuple):
            quiet.silence(action[1] * HOUR)
        elif action == "unsilence":
            quiet.unsilence()
        elif action == "ack":
            quiet.ack()
        else:
            asleep = [one for one in quiet.silences if one.kind is SilenceKind.SILENCE]
            spend = None if action == "none" else str(action)
            quiet.see(spend, after=hours * HOUR)
            loud.see(spend, after=hours * HOUR)
            if any(one.lasts(quiet.now) for one in asleep):
                silenced.append(quiet.now)
            elif asleep:
                check_told_after(quiet)
    assert states(quiet) == states(loud)
    assert [(t.key, t.from_status, t.to_status, t.reason, t.at) for t in quiet.transitions] == [
        (t.key, t.from_status, t.to_status, t.reason, t.at) for t in loud.transitions
    ]
    assert [message.id for at, message in quiet.inbox if at in silenced and message.facts.kind in PAGED] == []
    check_resolved(quiet)


def states(world: World) -> list[tuple[AlarmKey, AlarmStatus, str]]:
    return [(alarm.key, alarm.status, alarm.episode) for alarm in world.alarms.values()]


def check_told_after(world: World) -> None:
    """A silence has ended: whatever fires was told to everybody, itself or with a higher one."""
    assert all(alarm.last_told is not None for alarm in world.alarms.values() if alarm.status is AlarmStatus.FIRING)
    firing = {alarm.episode: alarm for alarm in world.alarms.values() if alarm.status is AlarmStatus.FIRING}
    if firing:
        highest = max(firing.values(), key=lambda alarm: alarm.key.severity.rank)
        assert world.told[highest.episode, highest.key.level] == {"oncall", "mail"}


def check_resolved(world: World) -> None:
    """RESOLVED goes to each who was told that it fires, once, and to nobody else."""
    paged: dict[str, set[str]] = defaultdict(set)
    resolved: dict[str, list[str]] = defaultdict(list)
    for _, message in world.inbox:
        stay = message.id.rpartition("/")[0]
        if message.facts.kind in PAGED:
            paged[stay].add(message.receiver)
        else:
            resolved[stay].append(message.receiver)
    for stay, receivers in resolved.items():
        assert sorted(receivers) == sorted(paged[stay])
