"""What the native alarms of every cloud must do, found by discovery: a new module in alarms/native is held to it.

It does need its cloud on loopback in tests/contract/clouds.py.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alarms import registry
from alarms.errors import PermanentError, TemporaryError
from alarms.model import Limit, On, Period, Severity, Threshold
from alarms.ports import Native
from alarms.reconcile import Op, TwinState, carry_out, compare, standings
from alarms.twins import Address, Design, Wanted, threshold_text
from tests.contract.clouds import CLOUDS, NOW, TOPIC, Cloud

ADDRESSES = {
    "topic": Address("topic", "sns", (TOPIC,)),
    "fifo": Address("fifo", "sns", (f"{TOPIC}.fifo",)),
    "far": Address("far", "sns", (TOPIC.replace("us-east-1", "eu-west-1"),)),
    "mail": Address("mail", "email", ("ml-leads@example.com", "oncall@example.com")),
    "crowd": Address("crowd", "email", tuple(f"p{number}@example.com" for number in range(12))),
    "chat": Address("chat", "slack"),
}


def limit(text: str) -> Limit:
    amount, _, unit = text.partition(" ")
    if text.endswith("%"):
        return Limit(text, percent=Decimal(text[:-1]))
    return Limit(text, amount=Decimal(amount)) if unit else Limit(text, rate=Decimal(text))


def threshold(on: str, at: str, severity: str, *receivers: str) -> Threshold:
    over = (timedelta(hours=6),) if on == On.BURN_RATE else ()
    return Threshold(on, limit(at), Severity(severity), receivers or ("topic", "mail"), over)


WANTED = Wanted(
    budget="training",
    amount=Decimal(1000),
    currency="USD",
    period="month",
    thresholds=(
        threshold("actual", "80%", "warning"),
        threshold("actual", "900.50 USD", "critical"),
        threshold("forecast", "100%", "warning"),
        threshold("burn_rate", "2.0", "critical"),
    ),
    addresses=ADDRESSES,
)

percents = st.decimals(min_value=1, max_value=1000, places=2).map(lambda number: f"{number.normalize():f}%")
amounts = st.decimals(min_value=Decimal("0.01"), max_value=10**9, places=2).map(lambda n: f"{n.normalize():f} USD")
thresholds = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["actual", "forecast"]), st.one_of(percents, amounts)),
        st.tuples(st.just("burn_rate"), st.sampled_from(["2.0", "14.4"])),
        st.tuples(st.sampled_from(["plan", "at_completion"]), percents),
    ).flatmap(
        lambda pair: st.builds(
            threshold,
            st.just(pair[0]),
            st.just(pair[1]),
            st.sampled_from(list(Severity)),
            *[st.sampled_from(list(ADDRESSES))] * 2,
        )
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda one: (one.on, one.at.text, one.severity),
)
periods = st.one_of(
    st.sampled_from(["day", "week", "month", "quarter", "year", "run"]),
    st.integers(1, 400).map(
        lambda days: Period(datetime(2026, 10, 1, tzinfo=UTC), NOW.replace(hour=0) + timedelta(days))
    ),
)
shapes = st.builds(
    Wanted,
    budget=st.text("abcXYZ0189 .:@+-_/éß", min_size=1, max_size=80).map(lambda text: f"b{text.strip()}"),
    amount=st.decimals(min_value=Decimal("0.01"), max_value=10**9, places=2),
    currency=st.just("USD"),
    period=periods,
    thresholds=thresholds.map(tuple),
    addresses=st.just(ADDRESSES),
    accounts=st.lists(st.sampled_from(["1" * 12, "2" * 12]), unique=True, max_size=2).map(tuple),
    services=st.lists(
        st.sampled_from(["AmazonEC2", "AmazonS3", "AmazonUnheardOf", "Amazon Simple Storage Service", "EC2 - Other"]),
        unique=True,
        max_size=2,
    ).map(tuple),
    regions=st.lists(st.sampled_from(["us-east-1", "eu-west-1"]), unique=True, max_size=2).map(tuple),
    runs=st.lists(st.just("run-1"), max_size=1).map(tuple),
    tags=st.lists(st.sampled_from([("team", "research"), ("env", "prod")]), unique=True, max_size=2).map(tuple),
    net=st.booleans(),
    effective=st.booleans(),
    elsewhere=st.sampled_from([(), ("gcp",)]),
    first_day=st.sampled_from([1, 1, 1, 16]),
    zone=st.sampled_from(["UTC", "UTC", "America/Los_Angeles"]),
)


@pytest.fixture(params=registry.natives(), scope="module")
def cloud(request: pytest.FixtureRequest) -> Iterator[Cloud]:
    name: str = request.param
    assert name in CLOUDS, f"alarms/native/{name}.py has no cloud on loopback: add one to tests/contract/clouds.py"
    with CLOUDS[name]() as there:
        yield there


@pytest.fixture
def native(cloud: Cloud) -> Native:
    cloud.reset()
    return cloud.make()


def design(native: Native, *wanted: Wanted) -> Design:
    designs = [native.design(one, native.place()) for one in wanted]
    return Design(
        tuple(twin for one in designs for twin in one.twins), tuple(said for one in designs for said in one.cannot)
    )


def apply(native: Native, *wanted: Wanted) -> None:
    outcomes = carry_out(native, compare(design(native, *wanted).twins, native.owned()))
    assert [str(outcome.error) for outcome in outcomes if outcome.error] == []


def pending(native: Native, *wanted: Wanted) -> list[Any]:
    return list(compare(design(native, *wanted).twins, native.owned()))


@pytest.mark.parametrize("name", registry.natives())
def test_module_has_create(name: str) -> None:
    create = getattr(importlib.import_module(f"alarms.native.{name}"), "create", None)
    assert callable(create), f"alarms/native/{name}.py lacks a function create(settings, *, prefix, now)"
    assert set(inspect.signature(create).parameters) == {"settings", "prefix", "now"}


def test_place_is_the_account(cloud: Cloud, native: Native) -> None:
    assert native.place() == cloud.place


def test_there_is_nothing_in_an_empty_account(native: Native) -> None:
    assert native.owned().twins == ()
    assert native.owned().foreign == {}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=shapes)
def test_plan_is_empty_after_apply_whatever_the_budget(native: Native, wanted: Wanted) -> None:
    apply(native, wanted)
    assert pending(native, wanted) == []
    (standing,) = standings([wanted.budget], *_designed(native, wanted), [])
    assert (standing.state is TwinState.IN_SYNC) == bool(design(native, wanted).twins)
    apply(native)
    assert native.owned().twins == ()


def _designed(native: Native, wanted: Wanted) -> tuple[Any, Any]:
    made = design(native, wanted)
    return made.twins, made.cannot


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=shapes)
def test_what_is_not_in_a_twin_is_said_for_each_threshold(cloud: Cloud, native: Native, wanted: Wanted) -> None:
    made = native.design(wanted, cloud.place)
    assert made == native.design(wanted, cloud.place)
    said = {one.threshold for one in made.cannot}
    for one in wanted.thresholds:
        bare = replace(wanted, thresholds=tuple(other for other in wanted.thresholds if other is not one))
        missing = {(twin.key, *sorted(twin.fields)) for twin in native.design(bare, cloud.place).twins}
        whole = {(twin.key, *sorted(twin.fields)) for twin in made.twins}
        # Taken away it takes something with it, or it was said, or it says the same as another one.
        at = one.at.of(wanted.amount)
        same = any(o is not one and (o.on, o.at.of(wanted.amount)) == (one.on, at) for o in wanted.thresholds)
        assert whole != missing or threshold_text(one) in said or same
    assert all(len(one.what) > 2 and "\n" not in one.reason and len(one.reason) > 10 for one in made.cannot)
    names = [twin.key for twin in made.twins]
    assert len(names) == len(set(names))


def test_two_budgets_whose_names_look_the_same_have_twins_of_their_own(native: Native) -> None:
    names = ["a/b", "a:b", "a-b", "x" * 75 + "1", "x" * 75 + "2", "ein/action/x", "é" * 70]
    wanted = [replace(WANTED, budget=name) for name in names]
    apply(native, *wanted)
    assert pending(native, *wanted) == []
    assert {twin.budget for twin in native.owned().twins} == set(names)


def test_a_budget_that_is_gone_or_renamed_takes_its_twins_with_it(native: Native) -> None:
    apply(native, WANTED, replace(WANTED, budget="old"))
    renamed = replace(WANTED, budget="new")
    changes = pending(native, WANTED, renamed)
    assert {(change.op, change.twin.budget) for change in changes} == {(Op.CREATE, "new"), (Op.DELETE, "old")}
    apply(native, WANTED, renamed)
    assert {twin.budget for twin in native.owned().twins} == {"training", "new"}


def test_a_twin_that_another_state_has_made_is_ours(cloud: Cloud, native: Native) -> None:
    apply(native, WANTED)
    assert pending(cloud.make(), WANTED) == []


def test_what_is_somebody_elses_is_never_touched(cloud: Cloud, native: Native) -> None:
    cloud.plant_others()
    before = cloud.others()
    assert any(before)
    apply(native, WANTED)
    assert pending(native, WANTED) == []
    apply(native)
    assert native.owned().twins == ()
    assert cloud.others() == before


def test_every_change_that_is_cut_off_is_finished_by_the_next_apply(cloud: Cloud, native: Native) -> None:
    """Create, change and delete, each interrupted at each of its calls."""
    changed = replace(
        WANTED,
        amount=Decimal(2000),
        thresholds=(threshold("actual", "80%", "warning", "mail"), threshold("forecast", "120%", "critical")),
    )
    for before, after in (([], [WANTED]), ([WANTED], [changed]), ([WANTED], [])):
        number = 0
        while True:
            number += 1
            apply(native, *before)
            with cloud.failing_at(number) as was_hit:
                carry_out(native, compare(design(native, *after).twins, native.owned()))
                if not was_hit():
                    break
            apply(native, *after)
            assert pending(native, *after) == []
        assert number > cloud.least_calls


def test_deleting_what_is_gone_is_no_error(native: Native) -> None:
    apply(native, WANTED)
    twins = native.owned().twins
    for _ in range(2):
        for twin in twins:
            native.delete(twin)
    assert native.owned().twins == ()


def test_a_name_that_is_taken_is_never_overwritten(cloud: Cloud, native: Native) -> None:
    apply(native, WANTED)
    there, before = native.owned(), cloud.everything()
    others = design(native, replace(WANTED, amount=Decimal(2000))).twins
    assert {twin.key for twin in others} == {twin.key for twin in there.twins}
    assert {twin.key: twin.fields for twin in others} != {twin.key: twin.fields for twin in there.twins}
    for twin in others:
        with pytest.raises(PermanentError):
            native.create(twin)
    assert native.owned() == there
    assert cloud.everything() == before


def test_of_what_cannot_be_expressed_each_one_is_named_in_full(native: Native) -> None:
    chats = [Address(f"{'a-long-name-of-a-team/' * 3}{number}", "slack") for number in range(2)]
    made = design(native, replace(WANTED, addresses={**ADDRESSES, **{one.receiver: one for one in chats}}))
    said = [one.what for one in made.cannot]
    assert [said.count(f"receiver {one.receiver}") for one in chats] == [1, 1]


@pytest.mark.parametrize("wanted", [(replace(WANTED, amount=Decimal(2000)),), ()], ids=["update", "delete"])
def test_what_was_taken_over_since_it_was_seen_is_left_alone(
    cloud: Cloud, native: Native, wanted: tuple[Wanted, ...]
) -> None:
    apply(native, WANTED)
    changes = compare(design(native, *wanted).twins, native.owned())
    assert {change.op for change in changes} == {Op.UPDATE if wanted else Op.DELETE}
    cloud.take_over()
    before = cloud.everything()
    outcomes = carry_out(native, changes)
    assert {type(one.error) for one in outcomes} == {TemporaryError}
    assert all("look at the plan again" in str(one.error) for one in outcomes)
    assert cloud.everything() == before


def test_a_drill_tries_every_twin_and_raises_nothing(native: Native) -> None:
    apply(native, WANTED)
    twins = native.owned().twins
    steps = native.drill(twins)
    assert steps
    assert [step for step in steps if step.ok is False] == []
    assert any(step.ok for step in steps)
    for twin in twins:
        native.delete(twin)
    failed = native.drill(twins)
    assert any(step.ok is False for step in failed)
