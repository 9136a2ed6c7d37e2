"""Twins in Google Cloud: what is expressed how, and drift of every field of a budget, found and mended."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from alarms.clients import gcp_calls
from alarms.clients import gcp_twins as forms
from alarms.clients.gcp_names import Names
from alarms.errors import AccessError, BadDataError, MissingExtraError, PermanentError, TemporaryError, UnreachableError
from alarms.model import Limit, Period, Severity, Threshold
from alarms.native import gcp
from alarms.native.gcp import GcpNative
from alarms.reconcile import Op, carry_out, compare
from alarms.twins import Address, Twin, Wanted
from monitor.simulation.gcp import GoogleCloud, RefusedError
from monitor.simulation.gcp_budgets import ACCOUNT, SERVICES, BudgetService
from monitor.simulation.gcp_topics import Topics
from tests.contract.clouds import GCP_CHANNELS, GCP_TOPIC, NOW, PREFIX, GcpSettings
from tests.fakes import fault_server
from tests.fakes.fault_server import FaultServer

NAME = f"{PREFIX}/training #cef8f170"
TRAIN, SERVE = "projects/111111111111", "projects/222222222222"
RULE = forms.RULE
SPENT = "CURRENT_SPEND"


def threshold(on: str = "actual", at: str = "80%", severity: str = "warning") -> Threshold:
    percent = Decimal(at[:-1]) if at.endswith("%") else None
    amount = Decimal(at.partition(" ")[0]) if at.endswith(" USD") else None
    return Threshold(on, Limit(at, percent=percent, amount=amount), Severity(severity), ("mail",))


WANTED = Wanted(
    budget="training",
    amount=Decimal(1000),
    currency="USD",
    period="month",
    thresholds=(threshold(), threshold("forecast", "100%", "critical")),
    addresses={"mail": Address("mail", "email", ("ml-leads@example.com",))},
    accounts=("train", "serve"),
    services=("Compute Engine", "Vertex AI"),
    tags=(("team", "research"),),
    zone="America/Los_Angeles",
)


@dataclass
class World:
    """A Google Cloud with budgets and a topic."""

    cloud: GoogleCloud
    budgets: BudgetService
    topics: Topics

    def native(self, prefix: str = PREFIX, **more: Any) -> GcpNative:
        told = {"native_topic": GCP_TOPIC, "native_channels": GCP_CHANNELS}
        described = GcpSettings.model_validate({"native_endpoint": self.cloud.url, **told, **more})
        return GcpNative(described, prefix)

    @cached_property
    def two(self) -> tuple[GcpNative, GcpNative]:
        """That know the names of everything already."""
        return self.native(), self.native()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with GoogleCloud() as cloud, Topics(GCP_TOPIC) as topics:
        environment = cloud.environment(tmp_path_factory.mktemp("gcp")) | topics.environment
        with mock.patch.dict(os.environ, environment):
            for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
                os.environ.pop(name, None)
            yield World(cloud, BudgetService(cloud), topics)


@pytest.fixture
def world(place: World) -> Iterator[World]:
    place.budgets.clear()
    place.cloud.calls.clear()
    yield place
    place.cloud.denied.clear()
    place.topics.denied.clear()
    place.cloud.script.clear()
    place.cloud.always = None
    place.budgets.changed = lambda: None
    place.budgets.listed = lambda answer: answer
    place.topics.next_page = ""
    place.topics.publishers = Topics(GCP_TOPIC).publishers
    place.topics.subscriptions = ["projects/bill-proj/subscriptions/pager"]


@pytest.fixture
def native(world: World) -> GcpNative:
    return world.native()


@pytest.fixture
def applied(native: GcpNative) -> GcpNative:
    apply(native)
    return native


def apply(native: GcpNative, *wanted: Wanted) -> None:
    assert [str(one.error) for one in carry_out(native, changes(native, *wanted)) if one.error] == []


def changes(native: GcpNative, *wanted: Wanted) -> Any:
    return compare([twin for one in wanted or (WANTED,) for twin in native.design(one, ACCOUNT).twins], native.owned())


def drift(native: GcpNative) -> dict[str, list[str]]:
    """By the name of the twin the fields that differ."""
    return {change.twin.name: [one.field for one in change.differences] for change in changes(native)}


def twin(native: GcpNative, **change: Any) -> Twin:
    (found,) = native.design(replace(WANTED, **change), ACCOUNT).twins
    return found


def said(native: GcpNative, what: str, **change: Any) -> str:
    found = native.design(replace(WANTED, **change), ACCOUNT).cannot
    return " | ".join(one.reason for one in found if one.what == what)


# --- What is expressed how ------------------------------------------------------------------------------------------


def test_a_budget_of_cloud_billing(native: GcpNative) -> None:
    made = twin(native)
    assert (made.kind, made.name, made.budget) == ("budget", NAME, "training")
    assert made.fields == {
        "amount": "1000 USD",
        "calendarPeriod": "MONTH",
        "creditTypesTreatment": "EXCLUDE_ALL_CREDITS",
        "projects": (TRAIN, SERVE),
        "services": ("services/6F81-5844-456A", "services/C7E2-9256-1C43"),
        "label team": ("research",),
        "pubsubTopic": GCP_TOPIC,
        "schemaVersion": "1.0",
        "monitoringNotificationChannels": tuple(sorted(GCP_CHANNELS)),
        "disableDefaultIamRecipients": "false",
        "enableProjectLevelRecipients": "false",
        "thresholdRule CURRENT_SPEND 0.8": "yes",
        "thresholdRule FORECASTED_SPEND 1": "yes",
    }


def test_what_google_keeps_of_it(world: World, applied: GcpNative) -> None:
    (kept,) = world.budgets.budgets
    assert kept["displayName"] == NAME
    assert kept["amount"] == {"specifiedAmount": {"currencyCode": "USD", "units": "1000"}}
    assert kept["budgetFilter"]["labels"] == {"team": ["research"]}
    assert [(one["spendBasis"], one["thresholdPercent"]) for one in kept["thresholdRules"]] == [
        (SPENT, 0.8),
        ("FORECASTED_SPEND", 1.0),
    ]
    assert drift(applied) == {}


def test_names_are_asked_for_once(world: World, applied: GcpNative) -> None:
    asked = [call.path for call in world.cloud.calls if "budgets" not in call.path]
    assert sorted(asked) == ["/v1/services", "/v1/services", "/v3/projects/serve", "/v3/projects/train"]
    world.cloud.calls.clear()
    changes(applied)
    assert [call.path for call in world.cloud.calls] == [f"/v1/billingAccounts/{ACCOUNT}/budgets"]


@pytest.mark.parametrize(("period", "word"), [("month", "MONTH"), ("quarter", "QUARTER"), ("year", "YEAR")])
def test_periods(native: GcpNative, period: str, word: str) -> None:
    assert twin(native, period=period).fields["calendarPeriod"] == word


def test_fixed_dates_know_no_forecast_and_leave_out_no_day(world: World, native: GcpNative) -> None:
    dates = Period(datetime(2026, 11, 3, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC))
    wanted = replace(WANTED, period=dates)
    fields = twin(native, period=dates).fields
    assert (fields["startDate"], fields["endDate"], fields.get("calendarPeriod")) == ("2026-11-03", "2027-02-01", None)
    assert "no forecast for fixed dates" in said(native, "GCP budget", period=dates)
    apply(native, wanted)
    assert changes(native, wanted) == ()
    (kept,) = world.budgets.budgets
    assert kept["budgetFilter"]["customPeriod"]["endDate"] == {"year": 2027, "month": 2, "day": 1}
    apply(native)
    assert drift(native) == {}


@pytest.mark.parametrize(
    ("amount", "units", "nanos"), [("0.01", "0", 10_000_000), ("1234.5", "1234", 500_000_000), ("1000", "1000", 0)]
)
def test_amounts_are_exact(world: World, native: GcpNative, amount: str, units: str, nanos: int) -> None:
    wanted = replace(WANTED, amount=Decimal(amount))
    apply(native, wanted)
    money = world.budgets.budgets[0]["amount"]["specifiedAmount"]
    assert (money.get("units", "0"), money.get("nanos", 0)) == (units, nanos)
    assert changes(native, wanted) == ()


def test_a_limit_that_is_no_round_part_of_the_amount_rings_no_later(native: GcpNative) -> None:
    fields = twin(native, amount=Decimal(3), thresholds=(threshold(at="1 USD"), threshold(at="33.33%"))).fields
    assert [name for name in fields if name.startswith(RULE)] == [
        f"{RULE}{SPENT} 0.333333333333333",
        f"{RULE}{SPENT} 0.3333",
    ]


def test_net_counts_credits(native: GcpNative) -> None:
    assert twin(native, net=True).fields["creditTypesTreatment"] == "INCLUDE_ALL_CREDITS"


def test_whom_it_tells_is_said_and_can_be_chosen(world: World) -> None:
    told = "all of its thresholds tell the same: "
    assert said(world.native(), "receivers") == (
        f"{told}the billing account's administrators and users by e-mail, 2 notification channels, topic {GCP_TOPIC}"
    )
    alone = world.native(native_topic=None, native_channels=[])
    assert said(alone, "receivers") == f"{told}the billing account's administrators and users by e-mail"
    apply(alone)
    assert drift(alone) == {}
    quiet = world.native(native_admins=False)
    assert twin(quiet).fields["disableDefaultIamRecipients"] == "true"
    apply(quiet)
    assert drift(quiet) == {}


def test_somebody_has_to_get_mail() -> None:
    with pytest.raises(ValidationError, match="leaves nobody who gets e-mail: name native_channels"):
        GcpSettings(native_admins=False, native_topic=GCP_TOPIC)


@pytest.mark.parametrize(
    "keys",
    [{"native_topic": "budgets"}, {"native_channels": ["projects/p/x/1"]}, {"native_channels": GCP_CHANNELS * 3}],
)
def test_keys_of_another_form(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GcpSettings.model_validate(keys)


TWO = (("a", "b"), ("c", "d"))
NOT_EXPRESSED: list[tuple[dict[str, Any], str, str]] = [
    ({"period": "day"}, "GCP budget", "and no day"),
    ({"period": "week"}, "GCP budget", "and no week"),
    ({"period": "run"}, "GCP budget", "and no run"),
    (
        {"period": Period(datetime(2016, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))},
        "GCP budget",
        "begins before 2017",
    ),
    ({"first_day": 16}, "GCP budget", "begin on the 1st"),
    ({"zone": "UTC"}, "calendar", "midnight in California, and those of this budget in UTC"),
    ({"regions": ("us-east1",)}, "GCP budget", "cannot tell regions apart"),
    ({"runs": ("r1",)}, "GCP budget", "cannot tell a run's spend"),
    ({"tags": TWO}, "GCP budget", "one label at most"),
    ({"effective": True}, "GCP budget", "spreads commitments"),
    ({"amount": Decimal("0.0000000001")}, "GCP budget", "9 decimal places at most"),
    ({"services": ("Compute Engine", "Unheard Of")}, "GCP budget", "no service named Unheard Of"),
    ({"thresholds": (threshold("burn_rate"),)}, "GCP budget", "nothing of burn_rate"),
    ({"thresholds": (threshold("plan"),)}, "GCP budget", "nothing of plan"),
    ({"thresholds": (threshold("at_completion"),)}, "GCP budget", "nothing of at_completion"),
    ({"elsewhere": ("aws",)}, "other sources", "what aws bills does not count inside GCP"),
    ({}, "receiver mail", "nothing inside GCP calls a receiver of type email"),
]


@pytest.mark.parametrize(("change", "what", "words"), NOT_EXPRESSED)
def test_what_gcp_cannot_express_is_said(native: GcpNative, change: dict[str, Any], what: str, words: str) -> None:
    assert words in said(native, what, **change)


shapes = st.builds(
    Wanted,
    budget=st.text(min_size=1, max_size=80),
    amount=st.decimals(min_value=Decimal("0.000000001"), max_value=10**12, places=9),
    currency=st.just("USD"),
    period=st.one_of(
        st.sampled_from(["month", "quarter", "year"]),
        st.integers(1, 400).map(lambda days: Period(datetime(2026, 10, 1, tzinfo=UTC), NOW + timedelta(days))),
    ),
    thresholds=st.lists(
        st.builds(
            threshold,
            st.sampled_from(["actual", "forecast"]),
            st.decimals(min_value=Decimal("0.01"), max_value=10**6, places=7).flatmap(
                lambda n: st.sampled_from([f"{n:f}%", f"{n:f} USD"])
            ),
        ),
        min_size=1,
        max_size=8,
    ).map(tuple),
    addresses=st.just({}),
    accounts=st.lists(st.sampled_from(["train", "serve", "333333333333", "old"]), unique=True).map(tuple),
    services=st.lists(st.sampled_from([*SERVICES, *SERVICES.values()]), unique=True).map(tuple),
    tags=st.sampled_from([(), (("team", "research"),), (("ümlaut", ""),)]),
    net=st.booleans(),
    zone=st.sampled_from(["UTC", "America/Los_Angeles"]),
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shapes=st.lists(shapes, min_size=1, max_size=4, unique_by=lambda one: one.budget))
def test_the_plan_is_empty_after_apply_whatever_the_budgets(world: World, shapes: list[Wanted]) -> None:
    world.budgets.clear()
    first, second = world.two
    apply(first, *shapes)
    assert changes(second, *shapes) == ()
    assert len(world.budgets.budgets) == sum(len(second.design(one, ACCOUNT).twins) for one in shapes)


# --- Drift: each field, one by one ----------------------------------------------------------------------------------


def amount(budget: dict[str, Any], **change: Any) -> None:
    budget["amount"]["specifiedAmount"] |= change


def last_period(budget: dict[str, Any]) -> None:
    budget["amount"] = {"lastPeriodAmount": {}}


def custom(budget: dict[str, Any], **more: Any) -> None:
    del budget["budgetFilter"]["calendarPeriod"]
    budget["budgetFilter"]["customPeriod"] = {"startDate": {"year": 2026, "month": 1, "day": 1}, **more}


def count(**change: Any) -> Callable[[dict[str, Any]], None]:
    return lambda budget: budget["budgetFilter"].update(change)


def tell(**change: Any) -> Callable[[dict[str, Any]], None]:
    return lambda budget: budget["notificationsRule"].update(change)


def rule(number: int, **change: Any) -> Callable[[dict[str, Any]], None]:
    return lambda budget: budget["thresholdRules"][number].update(change)


EIGHTY, FORECAST = f"{RULE}{SPENT} 0.8", f"{RULE}FORECASTED_SPEND 1"
END = {"endDate": {"year": 2026, "month": 12, "day": 31}}
DRIFT: list[tuple[Callable[[dict[str, Any]], Any], set[str]]] = [
    (lambda budget: amount(budget, units="10000"), {"amount"}),
    (lambda budget: amount(budget, nanos=1), {"amount"}),
    (last_period, {"amount"}),
    (count(projects=[TRAIN]), {"projects"}),
    (count(projects=[]), {"projects"}),
    (count(resourceAncestors=["folders/1"]), {"resourceAncestors"}),
    (count(services=[]), {"services"}),
    (count(subaccounts=["billingAccounts/000000-000000-000000"]), {"subaccounts"}),
    (count(creditTypes=["PROMOTION"], creditTypesTreatment="INCLUDE_SPECIFIED_CREDITS"), {
        "creditTypes", "creditTypesTreatment",
    }),
    (count(creditTypesTreatment="INCLUDE_ALL_CREDITS"), {"creditTypesTreatment"}),
    (count(labels={}), {"label team"}),
    (count(labels={"team": ["x"]}), {"label team"}),
    (count(labels={"env": ["x"]}), {"label env", "label team"}),
    (count(calendarPeriod="YEAR"), {"calendarPeriod"}),
    (custom, {"calendarPeriod", "startDate"}),
    (lambda budget: custom(budget, **END), {"calendarPeriod", "startDate", "endDate"}),
    (rule(0, thresholdPercent=8), {EIGHTY, f"{RULE}{SPENT} 8"}),
    (rule(0, thresholdPercent=0.8000000000000002), {EIGHTY, f"{RULE}{SPENT} 0.8000000000000002"}),
    (rule(1, spendBasis=SPENT), {FORECAST, f"{RULE}{SPENT} 1"}),
    (lambda budget: budget["thresholdRules"].clear(), {EIGHTY, FORECAST}),
    (lambda budget: budget["thresholdRules"].append({"thresholdPercent": 9.0, "spendBasis": SPENT}), {
        f"{RULE}{SPENT} 9",
    }),
    (tell(pubsubTopic="", schemaVersion=""), {"pubsubTopic", "schemaVersion"}),
    (tell(pubsubTopic="projects/p/topics/other"), {"pubsubTopic"}),
    (tell(schemaVersion="2.0"), {"schemaVersion"}),
    (tell(monitoringNotificationChannels=[]), {"monitoringNotificationChannels"}),
    (tell(disableDefaultIamRecipients=True), {"disableDefaultIamRecipients"}),
    (tell(enableProjectLevelRecipients=True), {"enableProjectLevelRecipients"}),
]  # fmt: skip


@pytest.mark.parametrize(("change", "fields"), DRIFT)
def test_a_field_that_was_changed_is_found_and_mended(
    world: World, applied: GcpNative, change: Callable[[dict[str, Any]], Any], fields: set[str]
) -> None:
    world.budgets.spoil(NAME, change)
    found = drift(applied)
    assert {name: set(differing) for name, differing in found.items()} == {NAME: fields}
    apply(applied)
    assert drift(applied) == {}
    assert len(world.budgets.budgets) == 1


def test_no_field_of_a_budget_is_left_out() -> None:
    """A newer package that knows more of a budget has to be looked at."""
    from google.cloud.billing import budgets_v1

    known = {
        "Budget": {
            *("name", "display_name", "budget_filter", "amount", "threshold_rules", "notifications_rule", "etag"),
        },
        "BudgetAmount": {"specified_amount", "last_period_amount"},
        "LastPeriodAmount": set[str](),
        "ThresholdRule": {"threshold_percent", "spend_basis"},
        "NotificationsRule": {
            *("pubsub_topic", "schema_version", "monitoring_notification_channels"),
            *("disable_default_iam_recipients", "enable_project_level_recipients"),
        },
        "Filter": {
            *("projects", "resource_ancestors", "credit_types", "credit_types_treatment", "services", "subaccounts"),
            *("labels", "calendar_period", "custom_period"),
        },
        "CustomPeriod": {"start_date", "end_date"},
    }
    assert {name: set(getattr(budgets_v1, name).meta.fields) for name in known} == known
    touched = {field for _, fields in DRIFT for field in fields}
    for field in ("projects", "resourceAncestors", "services", "subaccounts", "creditTypes", "creditTypesTreatment"):
        assert field in touched


def test_words_that_are_newer_than_our_package_differ(world: World, applied: GcpNative) -> None:
    def newer(answer: dict[str, Any]) -> dict[str, Any]:
        answer["budgets"][0]["budgetFilter"]["calendarPeriod"] = 77
        answer["budgets"][0]["thresholdRules"][0]["spendBasis"] = 78
        return answer

    world.budgets.listed = newer
    assert drift(applied)[NAME] == ["calendarPeriod", EIGHTY, f"{RULE}78 0.8"]


# --- Whose it is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", [PREFIX, "p", "x" * 40])
def test_names_are_short_enough_and_lead_back(prefix: str) -> None:
    for budget in ("training", "a/b", "team/" + "p" * 30, "x" * 200, "é", "a~b", " a", "a ", "\n", "x #cef8f170"):
        name = forms.budget_name(prefix, budget)
        assert len(name) <= 60
        assert name.isascii()
        shown = forms.shown_in(prefix, name)
        assert shown is not None
        assert shown == budget or "~" in shown
        assert forms.shown_in(f"{prefix}2", name) is None
        assert forms.shown_in(prefix, f"{name} (copy)") is None
        assert forms.shown_in(prefix, name.replace("training", "trainings").replace("~", "~0")) in (None, shown)


def test_who_renames_a_twin_has_taken_it_over(world: World, applied: GcpNative) -> None:
    world.budgets.spoil(NAME, lambda budget: budget.update(displayName="mine now"))
    assert [(change.op, change.twin.name) for change in changes(applied)] == [(Op.CREATE, NAME)]
    apply(applied)
    apply(applied, replace(WANTED, budget="other"))
    assert sorted(one["displayName"].partition(" #")[0] for one in world.budgets.budgets) == [
        f"{PREFIX}/other",
        "mine now",
    ]


def test_a_second_budget_of_the_same_name_is_left_over(world: World, applied: GcpNative) -> None:
    (kept,) = world.budgets.budgets
    world.budgets.plant({**kept, "name": ""})
    found = changes(applied)
    assert [(change.op, change.twin.budget) for change in found] == [(Op.DELETE, "training")]
    apply(applied)
    assert len(world.budgets.budgets) == 1
    assert drift(applied) == {}


@pytest.mark.parametrize("step", [1, -1])
def test_of_many_with_one_name_that_are_left_over_all_are_removed(world: World, applied: GcpNative, step: int) -> None:
    (kept,) = world.budgets.budgets
    world.budgets.plant({**kept, "name": ""})
    world.budgets.plant({**kept, "name": ""})
    found = compare((), applied.owned())
    assert [change.op for change in found] == [Op.DELETE] * 3
    assert [one.error for one in carry_out(applied, found[::step])] == [None] * 3
    assert world.budgets.budgets == []


def test_what_was_made_can_be_removed_without_another_look(world: World, applied: GcpNative) -> None:
    (old,) = applied.owned().twins
    applied.delete(old)
    applied.create(old)
    applied.delete(old)
    assert world.budgets.budgets == []


def test_a_change_is_of_the_budget_that_was_seen(world: World, applied: GcpNative) -> None:
    """Of two with one name the other one takes the place of the first when that is gone."""
    (kept,) = world.budgets.budgets
    world.budgets.plant({**kept, "name": ""})
    changed = applied.design(replace(WANTED, amount=Decimal(7)), ACCOUNT).twins
    update = next(one for one in compare(changed, applied.owned()) if one.op is Op.UPDATE)
    first, other = world.budgets.budgets
    del world.budgets._budgets[first["name"]]
    (done,) = carry_out(applied, [update])
    assert "is not there any more" in str(done.error)
    assert world.budgets.budgets == [other]


def test_a_budget_of_one_of_many_projects_keeps_the_name_that_they_share(world: World, native: GcpNative) -> None:
    wanted = [replace(WANTED, budget=f"training/{'p' * 30}-{number}") for number in range(2)]
    apply(native, *wanted)
    found = [one.budget for one in native.owned().twins]
    assert sorted(found) == [one.budget for one in wanted]
    assert all(one.budget.startswith("training/ppp") for one in world.native().owned().twins), "and to another state"


def test_a_name_that_was_shortened_is_known_while_it_is_described(world: World, native: GcpNative) -> None:
    long = replace(WANTED, budget="x" * 100)
    apply(native, long)
    assert [one.budget for one in native.owned().twins] == ["x" * 100]
    (unknown,) = world.native().owned().twins
    assert unknown.budget.startswith("xxxx")
    assert changes(world.native(), long) == ()


# --- What goes wrong ------------------------------------------------------------------------------------------------


def test_a_change_by_somebody_else_in_between_is_not_written_over(world: World, applied: GcpNative) -> None:
    world.budgets.spoil(NAME, lambda budget: amount(budget, units="1"))
    (change,) = changes(applied)
    real = world.cloud.always

    def meddle(call: Any) -> RefusedError | None:
        if call.method == "PATCH":
            world.cloud.always = real
            world.budgets.spoil(NAME, lambda budget: amount(budget, units="2"))
        return None

    world.cloud.always = meddle
    with pytest.raises(TemporaryError, match="somebody else has changed this budget: look at the plan again"):
        applied.update(change.actual, change.wanted)
    assert world.budgets.budgets[0]["amount"]["specifiedAmount"]["units"] == "2"
    apply(applied)
    assert drift(applied) == {}


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_an_answer_that_is_lost_leaves_nothing_behind(world: World, native: GcpNative, method: str) -> None:
    if method != "POST":
        apply(native)
        world.budgets.spoil(NAME, lambda budget: amount(budget, units="1"))
    wanted = () if method == "DELETE" else native.design(WANTED, ACCOUNT).twins

    def lose() -> None:
        world.budgets.changed = lambda: None
        raise RefusedError(503, "UNAVAILABLE", Retry_After="30")

    world.budgets.changed = lose
    (outcome,) = carry_out(native, compare(wanted, native.owned()))
    assert isinstance(outcome.error, TemporaryError)
    assert outcome.error.retry_after == timedelta(seconds=30)
    apply(native, *([] if method == "DELETE" else [WANTED])) if wanted else None
    assert compare(wanted, native.owned()) == ()
    assert len(world.budgets.budgets) == len(wanted)


def test_a_making_is_never_sent_twice(world: World, native: GcpNative) -> None:
    world.cloud.always = lambda call: RefusedError(503, "UNAVAILABLE") if call.method == "POST" else None
    (outcome,) = carry_out(native, changes(native))
    assert isinstance(outcome.error, TemporaryError)
    assert [call.method for call in world.cloud.calls].count("POST") == 1


def test_a_passing_failure_is_tried_again(world: World, applied: GcpNative) -> None:
    world.cloud.script.extend([RefusedError(503, "UNAVAILABLE"), RefusedError(429, "RESOURCE_EXHAUSTED")])
    assert drift(applied) == {}


def test_throttled_with_a_time_to_wait(world: World, applied: GcpNative) -> None:
    world.cloud.script.append(RefusedError(429, "RESOURCE_EXHAUSTED", Retry_After="90"))
    with pytest.raises(TemporaryError) as caught:
        applied.owned()
    assert caught.value.retry_after == timedelta(seconds=90)


REFUSED = [
    ("billing.budgets.list", "owned"),
    ("billing.budgets.create", "create"),
    ("billing.budgets.update", "update"),
    ("billing.budgets.delete", "delete"),
    ("pubsub.topics.setIamPolicy", "update"),
]


@pytest.mark.parametrize(("permission", "how"), REFUSED)
def test_a_refusal_names_the_permission(world: World, native: GcpNative, permission: str, how: str) -> None:
    made = twin(native)
    if how in ("update", "delete"):
        native.create(made)
    world.cloud.denied.add(permission)
    acts: dict[str, Callable[[], object]] = {
        "owned": native.owned,
        "create": lambda: native.create(made),
        "update": lambda: native.update(made, made),
        "delete": lambda: native.delete(made),
    }
    with pytest.raises(AccessError, match=permission.replace(".", r"\.")):
        acts[how]()


def test_what_google_refuses_says_what_to_look_at(world: World) -> None:
    wrong = world.native(native_topic="projects/bill-proj/topics/nowhere")
    with pytest.raises(PermanentError, match=r"the topic \(native_topic\) and the channels .* are there"):
        wrong.create(twin(wrong))
    euros = replace(WANTED, currency="EUR")
    (outcome,) = carry_out(world.native(), changes(world.native(), euros))
    assert "check that the account is billed in this currency" in str(outcome.error)


def test_a_project_that_may_not_be_seen_harms_its_own_budget_alone(world: World, native: GcpNative) -> None:
    gone = replace(WANTED, budget="gone", accounts=("gone",))
    outcomes = carry_out(native, changes(native, WANTED, gone))
    assert [(one.change.twin.budget, one.error is None) for one in outcomes] == [("gone", False), ("training", True)]
    reason = said(native, "project gone", accounts=("gone",))
    assert "allow resourcemanager.projects.get on project gone" in reason
    world.cloud.denied.add("resourcemanager.projects.get")
    blind = world.native()
    assert [(change.op, [one.field for one in change.differences]) for change in changes(blind)] == [
        (Op.UPDATE, ["projects"])
    ]
    world.cloud.denied.clear()
    assert changes(blind) == (), "it is asked again at the next look"


def test_an_account_that_is_not_named_is_said() -> None:
    class Nameless(GcpSettings):
        @property
        def budgets_account(self) -> str | None:
            return None

    with pytest.raises(PermanentError, match="say which one in billing_account"):
        gcp.create(Nameless(), prefix=PREFIX, now=lambda: NOW).place()


@pytest.mark.parametrize("what", ["owned", "services", "projects"])
@pytest.mark.parametrize(
    "fault",
    [fault_server.hang, fault_server.reset_after(0), fault_server.answer(b"HTTP/1.1 200 OK\r\n\r\n<html>busy</html>")],
)
def test_nobody_there_is_an_error_in_time(world: World, monkeypatch: pytest.MonkeyPatch, fault: Any, what: str) -> None:
    monkeypatch.setattr(gcp_calls, "CALL_S", 1.0)
    monkeypatch.setattr("alarms.clients.gcp_names.CALL_S", 1.0)
    with FaultServer(fault) as server:
        native = world.native(native_endpoint=f"http://127.0.0.1:{server.port}")
        scope: dict[str, Any] = {"services": (), "accounts": (), what: ("Compute Engine",)}
        scope["accounts"] = scope.pop("projects", ())
        scope.pop("owned", None)
        with pytest.raises(TemporaryError) as caught:
            native.owned() if what == "owned" else native.design(replace(WANTED, **scope), ACCOUNT)
    assert "html" not in str(caught.value)
    assert isinstance(caught.value, UnreachableError) or fault is not fault_server.hang


def test_a_package_that_is_not_installed_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.cloud.billing.budgets_v1", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cloud-budget-monitor\[gcp\]'"):
        world.native().owned()


# --- The drill ------------------------------------------------------------------------------------------------------


def test_a_drill_says_what_it_proves_and_what_not(applied: GcpNative) -> None:
    steps = applied.drill(applied.owned().twins)
    assert [(step.what, step.ok) for step in steps] == [
        (f"budget {NAME}", True),
        (f"topic {GCP_TOPIC}", True),
        ("e-mail of Cloud Billing", None),
    ]
    assert "that it sends cannot be tried" in steps[0].detail
    assert "Cloud Billing may publish to it" in steps[1].detail


def test_a_drill_finds_what_keeps_a_message_from_a_topic(world: World, applied: GcpNative) -> None:
    def topic() -> tuple[bool | None, str]:
        (step,) = (one for one in applied.drill(applied.owned().twins) if one.what.startswith("topic"))
        return step.ok, step.detail

    world.topics.publishers = ["allUsers"]
    assert topic()[0] is None
    assert "does not let billing-budget-alert@system.gserviceaccount.com publish" in topic()[1]
    world.topics.subscriptions = []
    assert topic() == (False, "nobody has subscribed to it")
    for permission in ("pubsub.topics.get", "pubsub.topics.getIamPolicy"):
        world.topics.subscriptions = ["projects/bill-proj/subscriptions/pager"]
        world.topics.denied = {permission}
        ok, detail = topic()
        assert (ok, permission in detail) == (False, True)


def test_a_topic_that_is_gone(world: World, applied: GcpNative) -> None:
    twins = [replace(one, fields={**one.fields, "pubsubTopic": f"{GCP_TOPIC}-2"}) for one in applied.owned().twins]
    assert [step.ok for step in applied.drill(twins)] == [True, False, None]


@pytest.mark.parametrize(
    "damage", [{"budgets": 7}, {"budgets": [{"amount": 7}]}, {"budgets": [{"thresholdRules": [{"x": []}]}, 3]}]
)
def test_a_damaged_page_is_an_error_of_the_outside(world: World, native: GcpNative, damage: Any) -> None:
    world.budgets.listed = lambda _: damage
    with pytest.raises(BadDataError, match="was not Cloud Billing budgets, or its answer is damaged"):
        native.owned()


@pytest.mark.parametrize("tokens", [itertools.repeat("1"), map(str, itertools.count(1))], ids=["same", "new"])
def test_empty_pages_without_end_are_an_error(
    world: World, native: GcpNative, monkeypatch: pytest.MonkeyPatch, tokens: Iterator[str]
) -> None:
    monkeypatch.setattr(gcp_calls, "MOST_PAGES", 5)
    world.budgets.listed = lambda _: {"budgets": [], "nextPageToken": next(tokens)}
    with pytest.raises(PermanentError, match=r"Cloud Billing budgets answered .* with pages without end"):
        native.owned()
    assert len(world.cloud.calls) <= 6


def test_names_of_services_without_end_are_an_error(world: World) -> None:
    page = json.dumps({"services": [], "nextPageToken": "again"}).encode()
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n"
    with FaultServer(fault_server.answer(head + page)) as server:
        names = Names(gcp_calls.Apis(f"http://127.0.0.1:{server.port}", "bill-proj"))
        with pytest.raises(PermanentError, match=r"Cloud Billing answered .* with pages without end"):
            names.service("Compute Engine")


def test_subscriptions_without_end_fail_the_drill(world: World, applied: GcpNative) -> None:
    world.topics.subscriptions, world.topics.next_page = [], "again"
    (step,) = (one for one in applied.drill(applied.owned().twins) if one.what.startswith("topic"))
    assert step.ok is False
    assert "Pub/Sub answered the question for subscriptions with pages without end" in step.detail


def test_the_key_file_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nowhere.json"))
    with pytest.raises(AccessError, match="credentials could not be found or read"):
        world.native().owned()
