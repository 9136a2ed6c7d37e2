"""What goes out next, and many alarms as one message."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from alarms.digest import MOST_ALONE, next_up
from alarms.model import Delivery, DeliveryState, Kind, Notification, Reason, Severity
from alarms.render import render
from tests.fakes.messages import FACTS, NOW, OWN

HOUR = timedelta(hours=1)


def due(
    name: str, kind: Kind = Kind.FIRING, severity: Severity = Severity.WARNING, *, hours: int = 0, number: int = 1
) -> Delivery:
    facts = replace(FACTS, budget=name, kind=kind, severity=severity, first_detected=NOW - 3 * HOUR)
    if kind is Kind.RESOLVED:
        facts = replace(facts, reason=Reason.RESTATED_BELOW)
    created_at = NOW + hours * HOUR
    notification = Notification(f"{name}/actual-100pct-{severity}/{number}", "oncall", created_at, facts)
    return Delivery(notification, DeliveryState.DUE, 0, created_at)


def up(owed: list[Delivery], *, one_by_one: bool = False) -> Delivery:
    delivery = next_up(owed, one_by_one=one_by_one)
    assert delivery is not None
    return delivery


def in_line(owed: list[Delivery]) -> list[str]:
    left, names = list(owed), []
    while left:
        chosen = up(left).notification
        names.append(chosen.facts.budget or "")
        left = [each for each in left if each.notification != chosen]
    return names


def flood(count: int = 30) -> list[Delivery]:
    severities = [Severity.WARNING, Severity.CRITICAL]
    some = [due(f"b{n}", severity=severities[n % 3 == 0], hours=n % 5) for n in range(count - 5)]
    return [*some, *(due(f"over{n}", Kind.RESOLVED, Severity.CRITICAL) for n in range(5))]


def test_nothing_owed_is_nothing_next() -> None:
    assert next_up([]) is None


def test_messages_of_one_turn_keep_their_order() -> None:
    assert in_line([due("a"), due("b"), due("c")]) == ["a", "b", "c"]


def test_after_an_outage_what_burns_comes_first_critical_before_warning_the_newest_before_the_old() -> None:
    owed = [
        due("over", Kind.RESOLVED, Severity.CRITICAL, hours=9),
        due("warned", hours=1),
        due("old", severity=Severity.CRITICAL),
        due("new", Kind.REPEAT, Severity.CRITICAL, hours=4),
        due("warned lately", hours=8),
    ]
    assert in_line(owed) == ["new", "old", "warned lately", "warned", "over"]


def test_an_alarm_that_fires_again_is_first_told_to_be_over() -> None:
    owed = [due("a", Kind.RESOLVED), due("a", hours=2), due("b", hours=1)]
    assert [up(owed[n:]).notification.facts.kind for n in range(2)] == [Kind.RESOLVED, Kind.FIRING]
    assert in_line(owed) == ["a", "a", "b"]


def test_a_receiver_that_asked_to_wait_is_left_alone_by_all_of_them() -> None:
    waiting = replace(due("a"), next_attempt_at=NOW + HOUR)
    assert up([waiting, due("b", severity=Severity.CRITICAL)]).next_attempt_at == NOW + HOUR


def test_a_few_alarms_get_a_message_each_and_more_of_them_one() -> None:
    owed = [due(f"b{n}") for n in range(MOST_ALONE)]
    assert up(owed).parts == ()
    # However many messages about one of these: they are no more alarms.
    assert up([*owed, *(due("b1", number=n) for n in range(2, 9))]).parts == ()
    more = [*owed, due("one more")]
    assert up(more).parts == tuple(more)
    assert up(more, one_by_one=True).parts == ()


def test_the_same_messages_make_the_same_digest() -> None:
    owed = flood()
    again = owed.copy()
    random.Random(1).shuffle(again)  # noqa: S311 - the same order each time
    first, second = up(owed).notification, up(again).notification
    assert first.id == second.id
    assert first.id.endswith("/digest/30")
    assert first.id != up(flood(31)).notification.id
    assert [each.id for each in first.facts.held] != [each.notification.id for each in owed]


def used(delivery: Delivery, percent: int | None) -> Delivery:
    spend = None if percent is None else Decimal(percent) * 10
    facts = replace(delivery.notification.facts, spend=spend)
    return replace(delivery, notification=replace(delivery.notification, facts=facts))


def test_in_a_digest_what_has_used_most_of_its_budget_comes_first_of_its_severity() -> None:
    owed = [used(due(f"b{n:03}", severity=Severity.CRITICAL, hours=n % 3), 100 + n % 7) for n in range(300)]
    owed += [used(due("not known", severity=Severity.CRITICAL), None), used(due("warned"), 5000)]
    owed += [used(due("over", Kind.RESOLVED, Severity.CRITICAL), 9000)]
    owed.insert(150, used(due("hot", severity=Severity.CRITICAL), 1000))
    fault = Notification(
        "4f2a9c01d7be/health/1", "oncall", NOW, replace(OWN, severity=Severity.CRITICAL, subject="store")
    )
    owed.append(Delivery(fault, DeliveryState.DUE, 0, NOW))
    held = [each.facts.budget for each in up(owed).notification.facts.held]
    assert held[:2] == [None, "hot"]
    assert held[-3:] == ["not known", "warned", "over"]
    assert "hot" in render(up(owed).notification, now=NOW).entries[1]


def test_a_digest_that_may_have_arrived_stays_by_itself() -> None:
    doubtful = [replace(each, digest="d") for each in flood(12)]
    doubtful = [replace(each, notification=replace(each.notification, possible_repeat=True)) for each in doubtful]
    fresh = [due(f"fresh{n}", hours=n) for n in range(11)]
    both = [*doubtful, *fresh]
    first = up(both)
    assert first.parts == tuple(doubtful), "it holds what is critical"
    assert first.notification.possible_repeat
    second = up(fresh)
    assert second.parts == tuple(fresh)
    assert not second.notification.possible_repeat
    # Two of twelve were replaced by newer messages: the rest is no flood, and still one repeat.
    assert up(doubtful[:7]).parts == tuple(doubtful[:7])
    assert up(doubtful[:1]).parts == ()
    assert up(doubtful, one_by_one=True).parts == ()


def test_a_digest_lists_the_loudest_first() -> None:
    notification = up(flood()).notification
    message = render(notification, now=NOW + HOUR)
    assert message.subject == "CRITICAL: 30 alarms: 9 critical, 16 warning, 5 ended"
    leads = [entry.split()[0] for entry in message.entries]
    assert leads == ["CRITICAL"] * 9 + ["WARNING"] * 16 + ["RESOLVED"] * 5
    assert message.entries[0] == (
        "CRITICAL b9: 1,004.20 of 1,000.00 USD spent, over 100%; first detected at 23 Nov 2026 15:00 UTC"
    )
    assert message.see == ("monitor status",)
    assert all(entry in message.text for entry in message.entries)


def test_what_is_over_is_told_as_such() -> None:
    notification = up([due(f"over{n}", Kind.RESOLVED) for n in range(11)]).notification
    assert render(notification, now=NOW).subject == "RESOLVED: 11 alarms: 11 ended"


def test_a_digest_says_what_may_be_a_repeat_and_what_was_meant_for_others() -> None:
    owed = flood()
    marked = replace(owed[0], notification=replace(owed[0].notification, possible_repeat=True, instead_of="mail"))
    message = render(up([marked, *owed[1:]]).notification, now=NOW)
    assert message.notes == ()
    (entry,) = (entry for entry in message.entries if "repeat" in entry)
    assert entry.startswith("CRITICAL b0: 1,004.20 of 1,000.00 USD spent, over 100%; first detected at 23 Nov 2026")
    assert entry.endswith("15:00 UTC; mail did not accept it (possible repeat)")


def test_a_long_list_is_cut_and_says_so() -> None:
    message = render(up(flood(500)).notification, now=NOW)
    shown = message.listed(3000)
    assert len("\n".join(shown)) <= 3000
    assert shown[-1] == f"and {500 - len(shown) + 1} more: monitor status"
    assert len(shown) > 25
    assert message.listed(3000, lambda text: len(text) * 5)[-1].startswith("and 49")
    assert len(message.text) < 21_000
    assert "\nand " in message.text
    assert message.listed(10**6) == list(message.entries)


def test_faults_of_the_monitor_are_listed_too() -> None:
    fault = Delivery(Notification("h/health-dead-critical/1", "oncall", NOW, OWN), DeliveryState.DUE, 0, NOW)
    message = render(up([fault, *flood()]).notification, now=NOW)
    assert "WARNING: Source aws has given no data for 26 h" in message.entries
