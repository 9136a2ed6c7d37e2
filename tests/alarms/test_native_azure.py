"""Twins in Azure: what is expressed how, and drift of every field of every one of them, found and mended."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from azure.mgmt.costmanagement import models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alarms.clients import azure_twins as forms
from alarms.clients.azure import ScopedSettings
from alarms.clients.azure_names import budget_in, name_of
from alarms.clients.azure_twins import Moment
from alarms.errors import AccessError, OutsideError, PermanentError, TemporaryError, UnreachableError
from alarms.model import Limit, Period, Severity, Threshold
from alarms.native.azure import AzureNative
from alarms.reconcile import Op, carry_out, compare
from alarms.twins import Address, Cannot, Twin, Wanted
from monitor.simulation.azure import (
    READ_BUDGETS,
    SUBSCRIPTION,
    WRITE_BUDGETS,
    AzureCloud,
    Reply,
    refusal,
    throttled,
)
from tests.contract.clouds import ACTION_GROUP, AZURE_SCOPE, NOW, PREFIX, azure_native, azure_world

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")

NAME = name_of(PREFIX, "training")
MAIL = "ml-leads@example.com"
OTHER = "/subscriptions/00000000-0000-0000-0000-000000000002"
GROUP = "/providers/Microsoft.Management/managementGroups/research"
BILLING = "/providers/Microsoft.Billing/billingAccounts/123456"
ON_ACTUAL = "notification Actual GreaterThanOrEqualTo 80%"
ON_FORECAST = "notification Forecasted GreaterThanOrEqualTo 100%"


def threshold(on: str = "actual", at: str = "80%", severity: str = "warning", *to: str) -> Threshold:
    number = Decimal(at.removesuffix("%").removesuffix(" USD"))
    limit = Limit(at, percent=number) if at.endswith("%") else Limit(at, amount=number)
    return Threshold(on, limit, Severity(severity), to or ("mail",))


WANTED = Wanted(
    budget="training",
    amount=Decimal("1000.50"),
    currency="USD",
    period="month",
    thresholds=(threshold(), threshold("forecast", "100%")),
    addresses={"mail": Address("mail", "email", (MAIL,)), "chat": Address("chat", "slack")},
    services=("Virtual Machines", "Storage"),
    regions=("EastUS",),
    tags=(("team", "research"),),
    net=True,
)


@pytest.fixture(scope="module")
def world() -> Iterator[AzureCloud]:
    with azure_world() as azure:
        yield azure


@pytest.fixture
def azure(world: AzureCloud) -> AzureCloud:
    world.budgets.held.clear()
    world.budgets.groups.clear()
    world.budgets.sent.clear()
    world.budgets.now = lambda: NOW
    world.budgets.unit = "USD"
    world.forbidden.clear()
    world.spoil = lambda operation: None
    return world


@pytest.fixture
def native(azure: AzureCloud) -> AzureNative:
    return azure_native(azure, native_action_groups=[ACTION_GROUP])


@pytest.fixture
def applied(native: AzureNative) -> AzureNative:
    apply(native)
    return native


def apply(native: AzureNative, *wanted: Wanted) -> None:
    twins = [twin for one in wanted or (WANTED,) for twin in native.design(one, "").twins]
    outcomes = carry_out(native, compare(twins, native.owned()))
    assert [str(outcome.error) for outcome in outcomes if outcome.error] == []


def drift(native: AzureNative, wanted: Wanted = WANTED) -> dict[str, list[str]]:
    """By the name of the twin the fields that differ."""
    changes = compare(native.design(wanted, "").twins, native.owned())
    return {change.twin.name: [one.field for one in change.differences] for change in changes}


def failures(native: AzureNative, *wanted: Wanted) -> list[OutsideError]:
    twins = [twin for one in wanted or (WANTED,) for twin in native.design(one, "").twins]
    return [done.error for done in carry_out(native, compare(twins, native.owned())) if done.error]


def unconnected(scope: Any = AZURE_SCOPE, now: datetime = NOW, **more: Any) -> AzureNative:
    return AzureNative(ScopedSettings(scope=scope, **more), PREFIX, lambda: now)


def twin(wanted: Wanted = WANTED, native: AzureNative | None = None) -> Twin:
    (found,) = (native or unconnected()).design(wanted, "").twins
    return found


def cannot(wanted: Wanted, native: AzureNative | None = None) -> list[Cannot]:
    return list((native or unconnected()).design(wanted, "").cannot)


def held(azure: AzureCloud) -> dict[str, Any]:
    (budget,) = azure.budgets.held.values()
    return budget


# --- What is expressed how ------------------------------------------------------------------------------------------


def test_a_budget_of_azure() -> None:
    found = twin(native=unconnected(native_action_groups=[ACTION_GROUP]))
    assert found.name == NAME
    heard = (f"email {MAIL}", f"group {ACTION_GROUP.lower()}")
    assert found.fields == {
        "category": "Cost",
        "amount": "1000.5",
        "timeGrain": "Monthly",
        "startDate": "in the past",
        "endDate": "open",
        "filter ServiceName": ("Storage", "Virtual Machines"),
        "filter ResourceLocation": ("eastus",),
        "filter tag team": ("research",),
        ON_ACTUAL: heard,
        ON_FORECAST: heard,
    }


def test_what_goes_over_the_wire_is_exact(azure: AzureCloud, native: AzureNative) -> None:
    exact = replace(WANTED, amount=Decimal("123456789012.07"), thresholds=(threshold(at="33.33%"),))
    apply(native, exact)
    (sent,) = azure.budgets.sent
    assert b'"amount":123456789012.07,' in sent
    assert b'"threshold":33.33,' in sent
    assert json.loads(sent)["properties"] == {
        "category": "Cost",
        "amount": 123456789012.07,
        "timeGrain": "Monthly",
        "timePeriod": {"startDate": "2026-11-01T00:00:00Z", "endDate": "2036-11-01T00:00:00Z"},
        "notifications": {
            "Actual_GreaterThanOrEqualTo_33_33_Percent": {
                "enabled": True,
                "operator": "GreaterThanOrEqualTo",
                "threshold": 33.33,
                "thresholdType": "Actual",
                "contactEmails": [MAIL],
                "contactGroups": [ACTION_GROUP.lower()],
            }
        },
        "filter": {
            "and": [
                {
                    "dimensions": {
                        "name": "ServiceName",
                        "operator": "In",
                        "values": ["Storage", "Virtual Machines"],
                    }
                },
                {"dimensions": {"name": "ResourceLocation", "operator": "In", "values": ["eastus"]}},
                {"tags": {"name": "team", "operator": "In", "values": ["research"]}},
            ]
        },
    }
    assert drift(native, exact) == {}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    amount=st.decimals(min_value=Decimal("0.01"), max_value=Decimal("9999999999999.99"), places=2),
    percent=st.decimals(min_value=Decimal("0.01"), max_value=1000, places=2),
)
def test_every_amount_comes_back_as_it_was_sent(native: AzureNative, amount: Decimal, percent: Decimal) -> None:
    wanted = replace(WANTED, amount=amount, thresholds=(threshold(at=f"{percent}%"),))
    apply(native, wanted)
    assert drift(native, wanted) == {}


@pytest.mark.parametrize(
    ("period", "first_day", "grain", "start"),
    [
        ("month", 1, "Monthly", "2026-11-01"),
        ("quarter", 1, "Quarterly", "2026-10-01"),
        ("year", 1, "Annually", "2026-01-01"),
        ("month", 16, "BillingMonth", "2026-11-16"),
        ("month", 25, "BillingMonth", "2026-10-25"),
        ("quarter", 16, "BillingQuarter", "2026-10-16"),
        ("year", 16, "BillingAnnual", "2026-01-16"),
    ],
)
def test_periods_of_a_budget(azure: AzureCloud, period: str, first_day: int, grain: str, start: str) -> None:
    native = azure_native(azure, billing_period_starts=first_day)
    wanted = replace(WANTED, period=period, first_day=first_day)
    apply(native, wanted)
    kept = held(azure)["properties"]
    assert (kept["timeGrain"], kept["timePeriod"]["startDate"]) == (grain, f"{start}T00:00:00Z")
    assert drift(native, wanted) == {}


DATES = [
    ((2026, 11), (2026, 12), "Monthly", "in the past", "2026-11-30"),
    ((2027, 2), (2027, 3), "Monthly", "2027-02-01", "2027-02-28"),
    ((2027, 1), (2027, 4), "Quarterly", "2027-01-01", "2027-03-31"),
    ((2027, 1), (2028, 1), "Annually", "2027-01-01", "2027-12-31"),
]


@pytest.mark.parametrize(("start", "end", "grain", "starts", "ends"), DATES)
def test_fixed_dates(native: AzureNative, start: Any, end: Any, grain: str, starts: str, ends: str) -> None:
    dates = Period(datetime(*start, 1, tzinfo=UTC), datetime(*end, 1, tzinfo=UTC))
    wanted = replace(WANTED, period=dates)
    fields = twin(wanted).fields
    assert (fields["timeGrain"], fields["startDate"], fields["endDate"]) == (grain, starts, ends)
    apply(native, wanted)
    assert drift(native, wanted) == {}


def dates(start: tuple[int, int, int], end: tuple[int, int, int]) -> dict[str, Any]:
    return {"period": Period(datetime(*start, tzinfo=UTC), datetime(*end, tzinfo=UTC))}


MANY = tuple(threshold(at=f"{n}%") for n in range(10, 70, 10))
NOT_EXPRESSED = [
    ({"period": "week"}, "no week"),
    ({"period": "day"}, "no day"),
    ({"period": "run"}, "no run"),
    (dates((2026, 11, 3), (2026, 12, 3)), "no other dates"),
    (dates((2026, 11, 1), (2027, 1, 1)), "no other dates"),
    (dates((2026, 11, 1), (2027, 2, 1)), "no other dates"),
    (dates((2028, 1, 1), (2028, 2, 1)), "within a year"),
    ({"zone": "America/Los_Angeles"}, "days of UTC"),
    ({"effective": True}, "actual cost, and not"),
    ({"runs": ("llama",)}, "no run_tag"),
    ({"tags": (("team", "a"), ("team", "b"))}, "one filter by a tag"),
    ({"amount": Decimal("12345678901234.56")}, "15 digits"),
    ({"accounts": ("00000000-0000-0000-0000-000000000009",)}, f"nothing that it counts is in {AZURE_SCOPE}"),
    ({"thresholds": (threshold("burn_rate", "2"),)}, "nothing of burn_rate"),
    ({"thresholds": (threshold("plan"),)}, "nothing of plan"),
    ({"thresholds": (threshold("at_completion"),)}, "nothing of at_completion"),
    ({"thresholds": (threshold(at="1000.01%"),)}, "0.01 to 1000 percent"),
    ({"thresholds": (threshold(at="0.1 USD"),)}, "0.01 to 1000 percent"),
    ({"thresholds": (threshold("actual", "80%", "warning", "chat"),)}, "none of its receivers gets e-mail"),
    ({"thresholds": MANY}, "at most 5 of type Actual"),
]


@pytest.mark.parametrize(("change", "words"), NOT_EXPRESSED)
def test_what_azure_cannot_express_is_said(change: dict[str, Any], words: str) -> None:
    wanted = replace(WANTED, **change)
    found = [one for one in cannot(wanted) if one.what == "Azure budget"]
    assert found
    assert all(words in one.reason for one in found)
    assert {one.threshold for one in found} <= {f"{one.on} {one.at.text}" for one in wanted.thresholds}
    if len(found) == len(wanted.thresholds):
        assert unconnected().design(wanted, "").twins == ()


def test_what_is_not_of_a_threshold_is_said_once() -> None:
    wanted = replace(WANTED, net=False, elsewhere=("aws",))
    said = {one.what: one.reason for one in cannot(wanted)}
    assert set(said) == {"refunds", "receiver chat", "other sources"}
    grouped = {one.what: one.reason for one in cannot(wanted, unconnected(native_action_groups=[ACTION_GROUP]))}
    assert "its action groups are called instead" in grouped["receiver chat"]


def test_an_amount_is_a_percentage_that_is_never_told_later() -> None:
    amounts = (threshold(at="900.45 USD"), threshold(at="333 USD", severity="critical"))
    wanted = replace(WANTED, thresholds=amounts)
    assert sorted(forms.notifications_in(twin(wanted).fields)) == [
        "Actual GreaterThanOrEqualTo 33.28%",
        "Actual GreaterThanOrEqualTo 90%",
    ]
    (said,) = (one for one in cannot(wanted) if one.threshold)
    assert (said.threshold, "told sooner, at 33.28% (332.9664 USD)" in said.reason) == ("actual 333 USD", True)


def test_of_too_many_notifications_the_critical_ones_stay_and_forecasts_have_their_own_five() -> None:
    many = (*MANY, threshold("actual", "100%", "critical"), *(threshold("forecast", f"{n}%") for n in range(5, 10)))
    wanted = replace(WANTED, thresholds=many)
    found = forms.notifications_in(twin(wanted).fields)
    assert [name.split(" ")[0] for name in found].count("Actual") == 5
    assert [name.split(" ")[0] for name in found].count("Forecasted") == 5
    assert "Actual GreaterThanOrEqualTo 100%" in found
    assert {one.threshold for one in cannot(wanted) if one.threshold} == {"actual 50%", "actual 60%"}


def test_two_severities_at_one_limit_are_one_notification_for_all_their_receivers() -> None:
    addresses = {"mail": Address("mail", "email", (MAIL,)), "boss": Address("boss", "email", ("Boss@example.com",))}
    both = (threshold("actual", "80%", "warning", "mail"), threshold("actual", "80%", "critical", "boss"))
    found = twin(replace(WANTED, addresses=addresses, thresholds=both))
    assert forms.notifications_in(found.fields) == {
        "Actual GreaterThanOrEqualTo 80%": ("email boss@example.com", f"email {MAIL}")
    }


def test_fifty_addresses(native: AzureNative) -> None:
    crowd = Address("mail", "email", tuple(f"p{number:02}@example.com" for number in range(52)))
    wanted = replace(WANTED, addresses={"mail": crowd}, thresholds=(threshold(),))
    (people,) = forms.notifications_in(twin(wanted).fields).values()
    assert len(people) == 50
    assert {"p50@example.com", "p51@example.com"} == {one.reason.rpartition(" ")[2] for one in cannot(wanted)}
    apply(native, wanted)


def test_a_run_is_the_tag_that_names_it(azure: AzureCloud) -> None:
    native = azure_native(azure, run_tag="training-run")
    wanted = replace(WANTED, runs=("llama",), tags=(), services=(), regions=())
    apply(native, wanted)
    assert held(azure)["properties"]["filter"] == {
        "tags": {"name": "training-run", "operator": "In", "values": ["llama"]}
    }
    assert drift(native, wanted) == {}


def test_of_several_subscriptions_the_one_that_is_counted_has_the_budget(azure: AzureCloud) -> None:
    native = azure_native(azure, [AZURE_SCOPE, OTHER])
    assert "several subscriptions" in cannot(WANTED, native)[0].reason
    wanted = replace(WANTED, accounts=(OTHER.rpartition("/")[2],))
    apply(native, wanted)
    assert list(azure.budgets.held) == [(OTHER, NAME)]
    assert [one.name for one in native.owned().twins] == [f"{NAME} in {OTHER.strip('/')}"]
    assert drift(native, wanted) == {}
    moved = replace(WANTED, accounts=(SUBSCRIPTION,))
    apply(native, moved)
    assert list(azure.budgets.held) == [(AZURE_SCOPE, NAME)]
    assert drift(native, moved) == {}


@pytest.mark.parametrize("scope", [GROUP, BILLING])
def test_a_wide_scope_filters_by_subscription_and_calls_no_action_groups(azure: AzureCloud, scope: str) -> None:
    apply(azure_native(azure))
    native = azure_native(azure, scope, native_action_groups=[ACTION_GROUP])
    assert native.owned().twins == (), "Azure lists those of its subscriptions as well"
    wanted = replace(WANTED, accounts=(SUBSCRIPTION,))
    apply(native, wanted)
    assert drift(native, wanted) == {}
    (found,) = native.owned().twins
    assert found.fields["filter SubscriptionId"] == (SUBSCRIPTION,)
    assert found.fields[ON_ACTUAL] == (f"email {MAIL}",)
    assert "action groups" in {one.what for one in cannot(wanted, native)}
    assert "on another day" in cannot(replace(wanted, first_day=16), native)[0].reason
    assert {scope for scope, _ in azure.budgets.held} == {AZURE_SCOPE, scope.lower()}


# --- Names, which alone say whose a budget is -----------------------------------------------------------------------

prefixes = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,39}\Z")
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=90)


@settings(max_examples=300)
@given(prefix=prefixes, budget=texts, account=st.uuids().map(str))
def test_a_name_fits_and_tells_its_budget(prefix: str, budget: str, account: str) -> None:
    name = name_of(prefix, budget)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,63}", name)
    found = budget_in(prefix, name)
    assert found is not None
    assert found == budget or re.fullmatch(r".*~[0-9a-f]{8}", found, re.DOTALL)
    if prefix == "cloud-budget-monitor" and re.fullmatch(r"[A-Za-z0-9-]{1,27}", budget):
        assert found == budget
    assert budget_in(f"{prefix}x", name) is None
    each = f"{budget}/{account}"
    read = budget_in(prefix, name_of(prefix, each, [account]), [account])
    assert read == each or (read is not None and "~" in read)


@settings(max_examples=300)
@given(one=texts, other=texts)
def test_two_budgets_have_two_names_whatever_the_case(one: str, other: str) -> None:
    names = {name_of(PREFIX, text).lower() for text in (one, other, one.upper(), one + "x")}
    assert len(names) == len({one, other, one.upper(), one + "x"})


def test_budgets_of_each_account_are_known_again_by_another_process(azure: AzureCloud) -> None:
    account = OTHER.rpartition("/")[2]
    for scope in (GROUP, [AZURE_SCOPE, OTHER]):
        azure.budgets.held.clear()
        wanted = replace(WANTED, budget=f"training/{account}", accounts=(account,))
        apply(azure_native(azure, scope), wanted)
        (found,) = azure_native(azure, scope).owned().twins
        assert found.budget == f"training/{account}"


def test_what_looks_like_ours_and_is_not_is_never_touched(azure: AzureCloud, native: AzureNative) -> None:
    apply(native)
    budget = azure.budgets.held.pop((AZURE_SCOPE, NAME))
    forged = f"{NAME[:-1]}{'1' if NAME.endswith('0') else '0'}"
    for name in (forged, f"{PREFIX}__by-hand", NAME.upper()):
        azure.budgets.held[AZURE_SCOPE, name.lower()] = {**budget, "name": name}
    there = native.owned()
    assert there.twins == ()
    assert {name for _, name in there.foreign} == {forged, f"{PREFIX}__by-hand", NAME.upper()}
    assert all("is not ours: rename or remove it" in why for why in there.foreign.values())
    before = json.dumps(sorted(azure.budgets.held))
    (error,) = failures(native)
    assert "has come to be there meanwhile" in str(error)
    assert json.dumps(sorted(azure.budgets.held)) == before


# --- Drift: each field, one by one ----------------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], Any]


def notification(**changes: Any) -> Change:
    return lambda told: told["notifications"]["Actual_GreaterThanOrEqualTo_80_Percent"].update(changes)


def filtered(place: int, kind: str, **changes: Any) -> Change:
    return lambda told: told["filter"]["and"][place][kind].update(changes)


DRIFT: dict[str, tuple[Change, set[str]]] = {
    "category": (lambda told: told.update(category="ReservationUtilization"), {"category"}),
    "amount": (lambda told: told.update(amount=1000.51), {"amount"}),
    "no amount": (lambda told: told.pop("amount"), {"amount"}),
    "timeGrain": (lambda told: told.update(timeGrain="Annually"), {"timeGrain", "startDate"}),
    "startDate ahead": (
        lambda told: told["timePeriod"].update(startDate="2026-12-01T00:00:00Z"),
        {"startDate", "endDate"},
    ),
    "startDate within": (lambda told: told["timePeriod"].update(startDate="2026-11-02T00:00:00Z"), {"startDate"}),
    "endDate": (lambda told: told["timePeriod"].update(endDate="2027-01-31T00:00:00Z"), {"endDate"}),
    "no filter": (
        lambda told: told.update(filter={}),
        {"filter ServiceName", "filter ResourceLocation", "filter tag team"},
    ),
    "one filter": (
        lambda told: told.update(filter=told["filter"]["and"][2]),
        {"filter ServiceName", "filter ResourceLocation"},
    ),
    "filter values": (filtered(0, "dimensions", values=["Storage"]), {"filter ServiceName"}),
    "filter name": (filtered(1, "dimensions", name="ResourceId"), {"filter ResourceLocation", "filter ResourceId"}),
    "filter operator": (filtered(1, "dimensions", operator="NotIn"), {"filter ResourceLocation", "filter"}),
    "tag values": (filtered(2, "tags", values=["x"]), {"filter tag team"}),
    "tag name": (filtered(2, "tags", name="x"), {"filter tag team", "filter tag x"}),
    "one more filter": (
        lambda told: told["filter"]["and"].append({"tags": {"name": "y", "operator": "In", "values": ["z"]}}),
        {"filter tag y"},
    ),
    "the same filter twice": (
        lambda told: told["filter"]["and"].append({"tags": {"name": "team", "operator": "In", "values": ["z"]}}),
        {"filter tag team", "filter tag team too"},
    ),
    "another logic": (
        lambda told: told.update(filter={"or": told["filter"]["and"]}),
        {"filter ServiceName", "filter ResourceLocation", "filter tag team", "filter"},
    ),
    "enabled": (notification(enabled=False), {ON_ACTUAL}),
    "operator": (
        notification(operator="GreaterThan"),
        {ON_ACTUAL, "notification Actual GreaterThan 80%"},
    ),
    "threshold": (
        notification(threshold=80.01),
        {ON_ACTUAL, "notification Actual GreaterThanOrEqualTo 80.01%"},
    ),
    "thresholdType": (
        notification(thresholdType="Forecasted"),
        {ON_ACTUAL, "notification Forecasted GreaterThanOrEqualTo 80%"},
    ),
    "contactEmails": (notification(contactEmails=["x@example.com"]), {ON_ACTUAL}),
    "one more mail": (notification(contactEmails=[MAIL, "x@example.com"]), {ON_ACTUAL}),
    "contactGroups": (notification(contactGroups=[]), {ON_ACTUAL}),
    "contactRoles": (notification(contactRoles=["Owner"]), {ON_ACTUAL}),
    "locale": (notification(locale="de-de"), {ON_ACTUAL}),
    "frequency": (notification(frequency="Daily"), {ON_ACTUAL}),
    "deleted": (lambda told: told["notifications"].pop("Actual_GreaterThanOrEqualTo_80_Percent"), {ON_ACTUAL}),
    "one more": (
        lambda told: told["notifications"].update(
            x={"enabled": True, "operator": "GreaterThan", "threshold": 5, "contactEmails": ["x@example.com"]}
        ),
        {"notification Actual GreaterThan 5%"},
    ),
    "the same twice": (
        lambda told: told["notifications"].update(
            x={**told["notifications"]["Actual_GreaterThanOrEqualTo_80_Percent"], "contactEmails": ["x@example.com"]}
        ),
        {ON_ACTUAL, f"{ON_ACTUAL} (Actual_GreaterThanOrEqualTo_80_Percent)"},
    ),
}


@pytest.mark.parametrize("how", DRIFT)
def test_a_field_that_was_changed_is_found_and_mended(azure: AzureCloud, applied: AzureNative, how: str) -> None:
    change, fields = DRIFT[how]
    change(held(azure)["properties"])
    ((name, found),) = drift(applied).items()
    assert (name, set(found)) == (NAME, fields)
    apply(applied)
    assert drift(applied) == {}


def test_a_budget_that_is_gone_is_made_again(azure: AzureCloud, applied: AzureNative) -> None:
    azure.budgets.held.clear()
    assert list(drift(applied)) == [NAME]
    apply(applied)
    assert drift(applied) == {}


NO_DRIFT: dict[str, Change] = {
    "another name of a notification": lambda told: told.update(
        notifications={f"x{number}": one for number, one in enumerate(told["notifications"].values())}
    ),
    "case of dimensions": filtered(1, "dimensions", name="resourcelocation", values=["EASTUS"]),
    "case of groups": notification(contactGroups=[ACTION_GROUP.upper()]),
    "case of mails": notification(contactEmails=[MAIL.title()]),
    "what it has cost": lambda told: told.update(currentSpend={"amount": 12.5, "unit": "USD"}, forecastSpend=None),
    "no type": notification(thresholdType=None, contactRoles=None, locale=None, frequency=None),
    "a day sooner": lambda told: told["timePeriod"].update(endDate="2036-10-31T00:00:00Z"),
    "no end": lambda told: told["timePeriod"].pop("endDate"),
    "one more key": lambda told: told.update(somethingNew={"x": [1]}),
    "null": lambda told: told.update(currentSpend=None),
}


@pytest.mark.parametrize("how", NO_DRIFT)
def test_what_azure_adds_or_writes_otherwise_is_no_drift(azure: AzureCloud, applied: AzureNative, how: str) -> None:
    NO_DRIFT[how](held(azure)["properties"])
    assert drift(applied) == {}


def test_no_field_of_a_budget_is_left_out() -> None:
    """Those that the SDK knows are compared, or are what Azure itself says of it."""
    known = {
        models.BudgetProperties: {"category", "amount", "timeGrain", "timePeriod", "filter", "notifications"},
        models.BudgetTimePeriod: {"startDate", "endDate"},
        models.BudgetFilter: {"and", "dimensions", "tags"},
        models.BudgetComparisonExpression: {"name", "operator", "values"},
        models.Notification: {
            *("enabled", "operator", "threshold", "thresholdType", "contactEmails", "contactGroups", "contactRoles"),
            *("locale", "frequency"),
        },
    }
    said_by_azure = {"currentSpend", "forecastSpend"}
    for model, fields in known.items():
        names = {field._rest_name for field in model._attr_to_rest_field.values()}
        assert names - said_by_azure == fields, "a newer SDK knows more fields of a budget"


# --- Dates: what is there stays there -------------------------------------------------------------------------------


def at(azure: AzureCloud, now: datetime) -> AzureNative:
    azure.budgets.now = lambda: now
    native = azure_native(azure, native_action_groups=[ACTION_GROUP])
    native._now = lambda: now
    return native


def test_a_start_that_is_past_is_kept_for_years(azure: AzureCloud, applied: AzureNative) -> None:
    later = at(azure, NOW + timedelta(days=400))
    assert drift(later) == {}
    apply(later, replace(WANTED, amount=Decimal(2000)))
    assert held(azure)["properties"]["timePeriod"]["startDate"] == "2026-11-01T00:00:00Z"


def test_what_cannot_be_changed_is_made_anew_in_the_running_period(azure: AzureCloud, applied: AzureNative) -> None:
    later = at(azure, NOW + timedelta(days=400))
    yearly = replace(WANTED, period="year")
    assert set(drift(later, yearly)[NAME]) == {"timeGrain"}
    apply(later, yearly)
    assert held(azure)["properties"]["timePeriod"]["startDate"] == "2027-01-01T00:00:00Z"
    assert drift(later, yearly) == {}


def test_quarters_that_begin_in_another_month_are_not_ours(azure: AzureCloud, native: AzureNative) -> None:
    quarterly = replace(WANTED, period="quarter")
    apply(native, quarterly)
    held(azure)["properties"]["timePeriod"]["startDate"] = "2026-11-01T00:00:00Z"
    assert drift(native, quarterly) == {NAME: ["startDate", "endDate"]}
    apply(native, quarterly)
    assert held(azure)["properties"]["timePeriod"]["startDate"] == "2026-10-01T00:00:00Z"


@pytest.mark.parametrize("day", [datetime(2036, 10, 15, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)])
def test_a_budget_whose_ten_years_are_over_is_made_anew(azure: AzureCloud, applied: AzureNative, day: datetime) -> None:
    later = at(azure, day)
    assert drift(later) == {NAME: ["endDate"]}
    apply(later)
    assert drift(later) == {}
    assert held(azure)["properties"]["timePeriod"]["startDate"] == f"{day:%Y-%m}-01T00:00:00Z"


@settings(max_examples=200)
@given(
    now=st.integers(0, 15 * 365 * 24).map(lambda hours: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=hours)),
    first_day=st.integers(1, 28),
    grain=st.sampled_from([*forms.GRAINS, *forms.BILLING_GRAINS]),
)
def test_the_running_period_has_begun_and_is_not_over(now: datetime, first_day: int, grain: str) -> None:
    start = Moment(now, first_day).period_start(grain)
    months = (forms.GRAINS | forms.BILLING_GRAINS)[grain]
    number = start.year * 12 + start.month - 1 + months
    assert start <= now < start.replace(year=number // 12, month=number % 12 + 1)
    assert start.day == (first_day if grain.startswith("Billing") else 1)
    assert Moment(now, first_day).start_text(start, grain) == forms.BEGUN


# --- Whoever is faster, other currencies, refusals ------------------------------------------------------------------


def test_what_somebody_changes_meanwhile_is_not_overwritten(azure: AzureCloud, applied: AzureNative) -> None:
    changed = replace(WANTED, amount=Decimal(2000))
    changes = compare(applied.design(changed, "").twins, applied.owned())

    def meanwhile(operation: str) -> None:
        if operation == WRITE_BUDGETS:
            held(azure)["eTag"] = '"1dffffffffffffff"'

    azure.spoil = meanwhile
    (done,) = carry_out(applied, changes)
    assert isinstance(done.error, TemporaryError)
    assert "somebody has changed it meanwhile" in str(done.error)
    azure.spoil = lambda operation: None
    held(azure)["properties"]["amount"] = 5.0
    (done,) = carry_out(applied, changes)
    assert "was changed meanwhile: look at the plan again" in str(done.error)
    assert held(azure)["properties"]["amount"] == 5.0
    azure.budgets.held.clear()
    (done,) = carry_out(applied, changes)
    assert "was changed meanwhile" in str(done.error)
    apply(applied, changed)


def test_an_amount_in_another_currency_is_said(azure: AzureCloud, native: AzureNative) -> None:
    azure.budgets.unit = "EUR"
    apply(native)
    assert drift(native) == {NAME: ["currency"]}
    (error,) = failures(native)
    assert isinstance(error, PermanentError)
    assert "Azure bills it in EUR, so its amount is one of EUR; set its source's currency" in str(error)


def test_the_currency_is_that_of_the_budget_not_of_the_first_source(azure: AzureCloud, native: AzureNative) -> None:
    azure.budgets.unit = "EUR"
    euros = replace(WANTED, currency="EUR")
    apply(native, euros)
    assert drift(native, euros) == {}


REFUSED: list[tuple[Reply, type[OutsideError], str]] = [
    (
        refusal(403, "AuthorizationFailed"),
        AccessError,
        f'Cost Management Contributor" (it holds Microsoft.CostManagement/budgets/read) on {AZURE_SCOPE}',
    ),
    (refusal(401, "InvalidAuthenticationToken"), AccessError, "does not accept the token"),
    (throttled(entity="60"), TemporaryError, "it asks to wait 60 s"),
    (refusal(404, "SubscriptionNotFound"), AccessError, "there is no /subscriptions/"),
    (refusal(404, "NotFound"), PermanentError, "Azure knows no /subscriptions/"),
    (refusal(400, "BadRequest"), PermanentError, "to a budget of /subscriptions/"),
    (refusal(302, "Found", Location="https://evil.example"), PermanentError, "never followed"),
    (Reply(200, b"<html>"), TemporaryError, "was not Cost Management, or its answer is damaged"),
    (Reply(200, b"[" * 100000), TemporaryError, "damaged"),
    (Reply(200, b"[]"), TemporaryError, "damaged"),
    (Reply(200, b'{"value": 7}'), TemporaryError, "damaged"),
    (Reply(200, b'{"value": [7]}'), TemporaryError, "damaged"),
    (Reply(200, b'{"value": [{"name": 7}]}'), TemporaryError, "damaged"),
    (Reply(200, b'{"value": [], "nextLink": "https://x/?a=b"}'), TemporaryError, "without saying which"),
    (Reply(200, b'{"value": [], "nextLink": ["x"]}'), TemporaryError, "without saying which"),
    (Reply(200, b'{"value": [], "nextLink": "https://x/?$skiptoken=7"}'), PermanentError, "pages without end"),
]


@pytest.mark.parametrize(("reply", "kind", "words"), REFUSED)
def test_what_azure_answers_instead_is_one_sentence(
    azure: AzureCloud,
    native: AzureNative,
    monkeypatch: pytest.MonkeyPatch,
    reply: Reply,
    kind: type[OutsideError],
    words: str,
) -> None:
    monkeypatch.setattr("alarms.clients.azure_budgets.idle", lambda seconds: None)
    azure.spoil = lambda operation: reply
    with pytest.raises(kind) as caught:
        native.owned()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nobody_there_is_no_refusal(azure: AzureCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alarms.clients.azure_budgets.idle", lambda seconds: None)
    nowhere = ScopedSettings(scope=AZURE_SCOPE, endpoint_url="https://127.0.0.1:9")
    with pytest.raises(UnreachableError):
        AzureNative(nowhere, PREFIX, lambda: NOW).owned()


@pytest.mark.parametrize(
    "properties",
    [None, {}, {"timeGrain": "Monthly"}, {"timeGrain": "Monthly", "timePeriod": {"startDate": "soon"}}],
)
def test_a_budget_that_nobody_can_read_is_not_seen_as_missing(
    azure: AzureCloud, applied: AzureNative, properties: Any
) -> None:
    held(azure)["properties"] = properties
    with pytest.raises(TemporaryError, match="what nobody can read"):
        applied.owned()


def test_a_write_that_is_refused_names_its_right_and_the_rest_is_done(azure: AzureCloud, applied: AzureNative) -> None:
    azure.forbidden = {WRITE_BUDGETS}
    (error,) = failures(applied, replace(WANTED, budget="other"))
    assert isinstance(error, AccessError)
    assert "budgets/write" in str(error)
    assert azure.budgets.held == {}, "what is left over could be deleted"


def test_a_look_that_fails_for_a_moment_is_repeated_and_a_write_is_not(
    azure: AzureCloud, applied: AzureNative, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("alarms.clients.azure_budgets.idle", waits.append)
    asked: list[str] = []

    def spoil(operation: str) -> Reply | None:
        asked.append(operation)
        return refusal(503, "ServiceUnavailable", Retry_After="2") if asked.count(operation) < 3 else None

    azure.spoil = spoil
    (error,) = failures(applied, replace(WANTED, amount=Decimal(5)))
    assert isinstance(error, TemporaryError)
    assert waits == [2.0, 2.0]
    assert asked.count(WRITE_BUDGETS) == 1
    assert asked.count(READ_BUDGETS) == 4


def test_a_right_that_was_given_meanwhile_is_asked_for_with_a_new_login(azure: AzureCloud, native: AzureNative) -> None:
    azure.forbidden = {READ_BUDGETS}
    with pytest.raises(AccessError):
        native.owned()
    first = native._budgets.client
    with pytest.raises(AccessError):
        native.owned()
    azure.forbidden = set()
    assert native.owned().twins == ()
    assert native._budgets.client is not first


def test_hundreds_of_twins_come_in_pages_and_the_token_goes_to_nobody_else(
    azure: AzureCloud, native: AzureNative
) -> None:
    wanted = [replace(WANTED, budget=f"b{number}") for number in range(10)]
    apply(native, *wanted)
    assert azure.link_host == "https://management.azure.com"
    twins = [one for each in wanted for one in native.design(each, "").twins]
    assert len(native.owned().twins) == 10
    assert compare(twins, native.owned()) == ()
    assert {change.op for change in compare((), native.owned())} == {Op.DELETE}


# --- The drill ------------------------------------------------------------------------------------------------------


def steps(native: AzureNative) -> dict[str, tuple[bool | None, str]]:
    found = native.drill(native.owned().twins)
    return {
        step.what.replace(NAME, "").replace(ACTION_GROUP.lower(), "").strip(): (step.ok, step.detail) for step in found
    }


def test_a_drill_looks_at_budgets_and_action_groups_and_says_what_it_did_not_try(
    azure: AzureCloud, applied: AzureNative
) -> None:
    azure.budgets.add_group(ACTION_GROUP, "a@example.com", "b@example.com")
    assert steps(applied) == {
        "budget": (True, "it is there, with 2 notifications switched on"),
        "action group": (True, "it calls 2"),
        "e-mail of Azure": (None, "Azure sends it only when a notification fires: not tried"),
        "calls of action groups": (None, "they are not made to call anybody: not tried"),
    }


def test_a_drill_finds_what_keeps_a_message_from_a_person(azure: AzureCloud, applied: AzureNative) -> None:
    assert steps(applied)["action group"] == (False, "it is not there")
    azure.budgets.add_group(ACTION_GROUP)
    assert steps(applied)["action group"] == (False, "it has no receivers")
    azure.budgets.add_group(ACTION_GROUP, "a@example.com", enabled=False)
    assert steps(applied)["action group"] == (False, "it is switched off")
    azure.forbidden = {"Microsoft.Insights/actionGroups/read"}
    ok, detail = steps(applied)["action group"]
    assert (ok, "Monitoring Reader" in detail) == (False, True)
    held(azure)["properties"]["notifications"]["Actual_GreaterThanOrEqualTo_80_Percent"]["enabled"] = False
    ok, detail = steps(applied)["budget"]
    assert (ok, detail) == (False, "nobody hears Actual GreaterThanOrEqualTo 80%")
    twins = applied.owned().twins
    azure.budgets.held.clear()
    gone = applied.drill(twins)[0]
    assert (gone.ok, gone.detail) == (False, "it is not there")
