"""The rules of alarming, one test a rule. No cloud, no clock, no store: readings in, messages out."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from alarms.model import (
    Alarm,
    AlarmKey,
    AlarmStatus,
    Budget,
    DataStatus,
    Facts,
    Kind,
    Limit,
    Period,
    Reading,
    Reason,
    Severity,
    Threshold,
)
from alarms.state import Situation, Step, advance, retire

NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
START = datetime(2026, 11, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def at(text: str) -> Limit:
    if text.endswith("%"):
        return Limit(text, percent=Decimal(text[:-1]))
    return Limit(text, amount=Decimal(text.split(maxsplit=1)[0]))


WARNING = Threshold("actual", at("80%"), Severity.WARNING)
CRITICAL = Threshold("actual", at("100%"), Severity.CRITICAL)


def budget(*thresholds: Threshold, receivers: tuple[str, ...] = ("oncall", "mail")) -> Budget:
    repeat = {Severity.CRITICAL: 4 * HOUR, Severity.WARNING: 24 * HOUR}
    return Budget("training", Decimal(1000), "USD", thresholds or (WARNING, CRITICAL), receivers, dict(repeat))


def reading(spend: str | None, **more: object) -> Reading:
    amount = None if spend is None else Decimal(spend)
    return replace(Reading("training", NOVEMBER, "USD", amount, billed=amount), **more)


@dataclass
class World:
    """Keeps what a store would keep, and remembers every message."""

    budget: Budget = field(default_factory=budget)
    alarms: dict[AlarmKey, Alarm] = field(default_factory=dict)
    inbox: list[tuple[str, Kind, str, Reason]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    said: dict[tuple[str, str], Facts] = field(default_factory=dict)
    told: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    now: datetime = START
    seen: bool = True

    def see(self, spend: str | None, *, after: timedelta = HOUR, current: bool = True, **more: object) -> Step:
        self.now += after
        situation = Situation(
            self.alarms, self.now, lambda e, level: frozenset(self.told[e, level]), not self.seen, current
        )
        step = advance(self.budget, reading(spend, **more), situation)
        self.keep(step)
        return step

    def keep(self, step: Step) -> None:
        self.seen = True
        self.alarms |= {alarm.key: alarm for alarm in step.alarms}
        for message in step.notifications:
            facts = message.facts
            self.inbox.append((message.receiver, facts.kind, facts.at, facts.reason))
            self.ids.append(f"{message.id} {message.receiver}")
            if facts.kind is Kind.FIRING:
                episode, level, _ = message.id.split("/")
                self.told[episode, level].add(message.receiver)
                self.said[episode, level] = facts

    def heard(self, receiver: str = "oncall") -> list[tuple[Kind, str, Reason]]:
        return [(kind, at, reason) for name, kind, at, reason in self.inbox if name == receiver]


def test_each_level_is_told_once_to_each_receiver() -> None:
    world = World()
    for spend in ("500", "810", "820", "990", "1000", "1400"):
        world.see(spend)
    expected = [(Kind.FIRING, "80%", Reason.CROSSED), (Kind.FIRING, "100%", Reason.CROSSED)]
    assert world.heard("oncall") == expected
    assert world.heard("mail") == expected


def test_a_limit_is_crossed_when_it_is_reached_and_not_before() -> None:
    world = World()
    world.see("799.999999")
    assert world.inbox == []
    world.see("800")
    assert world.heard() == [(Kind.FIRING, "80%", Reason.CROSSED)]


def test_a_jump_over_both_levels_tells_both() -> None:
    world = World()
    world.see("500")
    world.see("1100")
    assert {level for _, level, _ in world.heard()} == {"80%", "100%"}


def test_already_over_at_first_sight_is_one_message_that_says_so_and_names_the_other_level() -> None:
    world = World(seen=False)
    step = world.see("1100")
    assert world.heard() == [(Kind.FIRING, "100%", Reason.ALREADY_OVER)]
    assert step.notifications[0].facts.also_over == ("80%",)
    assert len(step.transitions) == 2
    world.see("1150")
    assert len(world.heard()) == 1


def test_at_first_sight_receivers_of_a_lower_level_alone_hear_of_that() -> None:
    world = World(budget(replace(WARNING, receivers=("mail",)), replace(CRITICAL, receivers=("oncall",))), seen=False)
    world.see("1100")
    assert world.heard("mail") == [(Kind.FIRING, "80%", Reason.ALREADY_OVER)]
    assert world.heard("oncall") == [(Kind.FIRING, "100%", Reason.ALREADY_OVER)]


def test_repeats_come_at_their_interval_and_not_while_a_higher_level_fires() -> None:
    world = World()
    world.see("850")
    world.see("850", after=23 * HOUR)
    assert len(world.heard()) == 1
    world.see("850", after=1 * HOUR)
    assert world.heard()[-1] == (Kind.REPEAT, "80%", Reason.STILL_OVER)
    world.see("1000")
    for _ in range(30):
        world.see("1000")
    later = world.heard()[3:]
    assert later == [(Kind.REPEAT, "100%", Reason.STILL_OVER)] * 7
    assert len(set(world.ids)) == len(world.ids)


def test_never_repeats_when_told_so() -> None:
    world = World(replace(budget(), repeat={Severity.CRITICAL: None, Severity.WARNING: None}))
    for _ in range(60):
        world.see("1500")
    assert len(world.heard()) == 2


def test_a_missing_reading_keeps_the_level_and_says_no_data() -> None:
    world = World()
    world.see("850")
    step = world.see(None)
    assert step.transitions == []
    by_level = {alarm.key.at: alarm for alarm in step.alarms}
    assert by_level["80%"].status is AlarmStatus.FIRING
    assert by_level["80%"].data is DataStatus.NO_DATA
    assert by_level["100%"].status is AlarmStatus.OK
    assert by_level["100%"].data is DataStatus.NO_DATA


def test_stale_or_partial_data_can_fire_an_alarm_but_never_end_one() -> None:
    for doubt in ({"stale": ("aws",)}, {"lower_bound": True}):
        world = World()
        world.see("850", **doubt)
        assert world.heard() == [(Kind.FIRING, "80%", Reason.CROSSED)]
        world.see("10", **doubt)
        assert len(world.heard()) == 1
        assert {a.status for a in world.alarms.values() if a.key.at == "80%"} == {AlarmStatus.FIRING}


def test_a_bill_restated_below_the_limit_resolves_for_those_who_were_told() -> None:
    world = World(budget(WARNING, receivers=("oncall",)))
    world.see("850")
    world.budget = budget(WARNING, receivers=("oncall", "newcomer"))
    world.see("790")
    assert world.heard("oncall")[-1] == (Kind.RESOLVED, "80%", Reason.RESTATED_BELOW)
    assert world.heard("newcomer") == []


def test_a_raised_budget_resolves_with_its_own_reason() -> None:
    world = World(budget(WARNING))
    world.see("850")
    world.budget = replace(world.budget, amount=Decimal(5000))
    world.see("850")
    assert world.heard()[-1] == (Kind.RESOLVED, "80%", Reason.LIMIT_RAISED)


def test_a_second_stay_above_the_limit_is_a_new_episode() -> None:
    world = World(budget(WARNING, receivers=("oncall",)))
    for spend in ("850", "790", "850"):
        world.see(spend)
    first, resolved, second = (identity.split("/")[0] for identity in world.ids)
    assert first == resolved != second
    assert [kind for kind, _, _ in world.heard()] == [Kind.FIRING, Kind.RESOLVED, Kind.FIRING]


def test_at_the_end_of_the_period_a_firing_alarm_closes_with_one_resolved() -> None:
    world = World()
    world.see("1100")
    world.now = NOVEMBER.end
    world.see("1100", current=False)
    world.see("1200", current=False)
    assert world.heard()[2:] == [
        (Kind.RESOLVED, "100%", Reason.PERIOD_ENDED),
        (Kind.RESOLVED, "80%", Reason.PERIOD_ENDED),
    ]
    assert {a.status for a in world.alarms.values()} == {AlarmStatus.CLOSED}


def test_charges_that_arrive_after_the_end_of_the_period_still_fire_and_close_once_it_is_settled() -> None:
    world = World(budget(WARNING))
    world.see("700")
    world.now = NOVEMBER.end
    world.see("700", current=False)
    world.see("810", current=False)
    world.see("810", current=False)
    world.see("810", current=False, settled=True)
    world.see("999", current=False, settled=True)
    assert world.heard() == [
        (Kind.FIRING, "80%", Reason.LATE_CHARGES),
        (Kind.RESOLVED, "80%", Reason.PERIOD_ENDED),
    ]


def test_a_quiet_period_closes_without_a_word_when_it_is_settled() -> None:
    world = World()
    world.see("100")
    world.now = NOVEMBER.end
    step = world.see("100", current=False, settled=True)
    assert world.inbox == []
    assert step.transitions == []
    assert {a.status for a in world.alarms.values()} == {AlarmStatus.CLOSED}


def test_removing_a_budget_tells_those_who_were_told_that_it_fires() -> None:
    world = World(budget(WARNING, CRITICAL))
    world.see("850")
    step = retire(
        world.alarms.values(),
        world.now,
        lambda e, level: frozenset(world.told[e, level]),
        lambda e, level: world.said.get((e, level)),
    )
    assert step.notifications[0].facts.spend == Decimal(850)
    assert [(m.receiver, m.facts.kind) for m in step.notifications] == [
        ("mail", Kind.RESOLVED),
        ("oncall", Kind.RESOLVED),
    ]
    assert {alarm.status for alarm in step.alarms} == {AlarmStatus.CLOSED}


def test_an_amount_is_a_limit_too() -> None:
    world = World(budget(Threshold("actual", at("800 USD"), Severity.WARNING)))
    world.see("799")
    world.see("801")
    assert world.heard() == [(Kind.FIRING, "800 USD", Reason.CROSSED)]


spends = st.one_of(st.none(), st.integers(0, 1500).map(str))


@given(st.lists(st.tuples(spends, st.booleans(), st.booleans()), max_size=40))
def test_whatever_is_read_the_promises_hold(history: list[tuple[str | None, bool, bool]]) -> None:
    world = World(budget(receivers=("oncall",)))
    for spend, stale, partial in history:
        before = dict(world.alarms)
        step = world.see(spend, stale=("aws",) if stale else (), lower_bound=partial)
        for alarm in step.alarms:
            was = before.get(alarm.key)
            fell = was is not None and was.status is AlarmStatus.FIRING and alarm.status is not AlarmStatus.FIRING
            assert not (fell and (spend is None or stale or partial)), "missing data turned an alarm off"
            limit = {"80%": 800, "100%": 1000}[alarm.key.at]
            if spend is not None and int(spend) >= limit:
                assert alarm.status is AlarmStatus.FIRING, "a breach was seen and nothing fires"
    assert len(world.ids) == len(set(world.ids)), "an id was used twice"
    for episode_level in world.told:
        kinds = [identity for identity in world.ids if identity.startswith(f"{episode_level[0]}/{episode_level[1]}/1 ")]
        assert len(kinds) <= 1, "a level was announced twice in an episode"
