"""From ledger totals to what alarms are handed: missing is never zero, partial is at least, old is stale."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from alarms.model import Limit, Period, Severity, Threshold
from monitor.config.model import BudgetConfig
from monitor.counting import Counted
from monitor.freshness import Freshness
from monitor.model import UNATTRIBUTED, Scope, Series
from monitor.period import PeriodKind
from monitor.readings import SourceState, Totals, WatchedBudget, figures, reading, spread

MONTH = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
EC2 = Series("aws", "USD", account="111122223333", service="AmazonEC2")
S3 = Series("aws", "USD", account="444455556666", service="AmazonS3")
REST = Series("aws", "USD", account=UNATTRIBUTED, service=UNATTRIBUTED)
EUROS = Series("hetzner", "EUR", service="GPU")
BILLED = {EC2: Decimal("100.10"), S3: Decimal("0.0000000001"), REST: Decimal("-2"), EUROS: Decimal(7)}
FRESH = SourceState("aws", Freshness.FRESH, NOW - timedelta(hours=6))
CURRENCIES = {"aws": "USD", "hetzner": "EUR"}


def config(**more: object) -> BudgetConfig:
    threshold = Threshold("actual", Limit("80%", percent=Decimal(80)), Severity.WARNING)
    whole = BudgetConfig(
        "training", Decimal(1000), "USD", PeriodKind.MONTH, Scope(), None, ("oncall",), (threshold,), {}
    )
    return replace(whole, **more)


def totals(watched: list[WatchedBudget], billed: dict[Series, Decimal]) -> Totals:
    return Counted(watched, dict(enumerate(billed))).totals(enumerate(billed.values()))


def read(budget: BudgetConfig, billed: dict[Series, Decimal], state: SourceState = FRESH, **more: object):
    (watched,) = spread([budget], billed or BILLED, CURRENCIES, lambda *_: True)
    known = more.pop("known", billed or BILLED)
    found = figures(watched, totals([watched], billed), {"aws": state})
    return reading(watched, more.pop("period", MONTH), found, known, {"aws": state}, more.pop("now", NOW))


def test_spend_is_the_exact_sum_of_what_the_scope_covers_in_its_currency() -> None:
    assert read(config(), BILLED).spend == Decimal("98.1000000001")
    assert read(config(scope=Scope(service=("AmazonS3",))), BILLED).spend == Decimal("0.0000000001")
    assert read(config(scope=Scope(account=("111122223333",))), BILLED).spend == Decimal("100.10")
    assert read(
        config(scope=Scope(source=("aws",), account=("444455556666",), service=("AmazonEC2", "AmazonS3"))), BILLED
    ).spend == Decimal("0.0000000001")


def test_a_scope_of_regions_runs_and_tags_counts_what_has_all_of_them() -> None:
    here = replace(EC2, region="us-east-1", run="llama", tags=(("team", "a"), ("stage", "dev")))
    billed = {here: Decimal(1), replace(here, run="gpt"): Decimal(2), replace(here, tags=(("team", "a"),)): Decimal(4)}
    billed[replace(here, region="eu-west-1")] = Decimal(8)
    for scope, spend in (
        (Scope(region=("us-east-1",)), 7),
        (Scope(run=("llama",)), 13),
        (Scope(tag=(("team", "a"),)), 15),
        (Scope(tag=(("team", "a"), ("stage", "dev"))), 11),
        (Scope(region=("us-east-1",), run=("llama",), tag=(("stage", "dev"),)), 1),
        (Scope(tag=(("team", "b"),)), None),
    ):
        assert read(config(scope=scope), billed).spend == (None if spend is None else Decimal(spend)), scope


def test_nothing_read_is_unknown_and_not_zero() -> None:
    never = SourceState("aws", Freshness.NEVER, None)
    result = read(config(), {}, never, known=())
    assert result.spend is None
    assert result.accrued is None
    assert result.stale == ("aws",)


def test_a_new_month_is_unknown_until_something_is_published_into_it() -> None:
    """Even when the source has data that is newer than the month's start: its tail belongs to the month before."""
    assert read(config(), {}, FRESH, known=[EC2]).spend is None


def test_a_service_that_cost_nothing_yet_is_zero_once_its_source_has_charges_in_the_period() -> None:
    budget = config(scope=Scope(service=("AmazonS3",)))
    assert read(budget, {EC2: Decimal(5)}, FRESH, known=[EC2, S3]).spend == 0
    assert read(budget, {EC2: Decimal(5)}, replace(FRESH, missing=("x",)), known=[EC2, S3]).spend is None


def test_what_a_source_brought_that_is_no_longer_configured_does_not_count() -> None:
    renamed = {replace(EC2, source="old"): Decimal(100), EC2: Decimal(100)}
    assert read(config(), renamed).spend == 100


def test_a_scope_that_matches_nothing_ever_seen_stays_unknown() -> None:
    assert read(config(scope=Scope(service=("AmazonEc2",))), BILLED).spend is None


@pytest.mark.parametrize("freshness", [Freshness.STALE, Freshness.NO_ACCESS])
def test_figures_of_a_source_that_cannot_be_trusted_are_marked(freshness: Freshness) -> None:
    assert read(config(), BILLED, replace(FRESH, freshness=freshness)).stale == ("aws",)


def test_missing_parts_make_it_a_lower_bound() -> None:
    assert read(config(), BILLED, replace(FRESH, missing=("account 1",))).lower_bound
    assert not read(config(), BILLED).lower_bound


def test_the_age_is_that_of_the_oldest_source() -> None:
    (watched,) = spread([config()], BILLED, {"aws": "USD", "other": "USD"}, lambda *_: True)
    older = SourceState("other", Freshness.LATE, NOW - timedelta(hours=40))
    states = {"aws": FRESH, "other": older}
    result = reading(watched, MONTH, figures(watched, totals([watched], BILLED), states), BILLED, states, NOW)
    assert result.as_of == older.data_as_of


@pytest.mark.parametrize(
    ("data_as_of", "after_the_end", "settled"),
    [
        (MONTH.end - timedelta(hours=1), timedelta(hours=30), False),
        (MONTH.end + timedelta(hours=6), timedelta(hours=7), False),
        (MONTH.end + timedelta(hours=6), timedelta(hours=24), True),
        (MONTH.end - timedelta(hours=1), timedelta(days=7), True),
    ],
)
def test_a_period_is_settled_when_nothing_more_is_expected(
    data_as_of: datetime, after_the_end: timedelta, settled: bool
) -> None:
    result = read(config(), BILLED, replace(FRESH, data_as_of=data_as_of), now=MONTH.end + after_the_end)
    assert result.settled is settled


def test_each_account_seen_gets_its_own_budget_but_what_belongs_to_none_does_not() -> None:
    watched = spread([config(each="account")], BILLED, CURRENCIES, lambda *_: True)
    assert [w.budget.name for w in watched] == ["training/111122223333", "training/444455556666"]
    assert [w.scope.account for w in watched] == [("111122223333",), ("444455556666",)]
    some = spread([config(each="account", scope=Scope(account=("444455556666",)))], BILLED, CURRENCIES, lambda *_: True)
    assert [w.budget.name for w in some] == ["training/444455556666"]


def test_a_budget_is_fed_by_the_sources_of_its_currency() -> None:
    assert spread([config()], BILLED, CURRENCIES, lambda *_: True)[0].sources == ("aws",)
    assert spread([config(currency="EUR")], BILLED, CURRENCIES, lambda *_: True)[0].sources == ("hetzner",)
