"""The plot: its figures can be worked out by hand, and it has the turns that the demo is there to show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from alarms.model import Period
from monitor.demo import story
from monitor.demo.story import Cloud
from monitor.sources import aws_cloudwatch, azure_cost, gcp_billing_export


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2024, 9, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("instant", "aws", "gcp", "azure"),
    [
        # Hours x price: node, transfer, storage; preparing, storage; evaluation, storage.
        (at(2), ("0", "0", "27.60"), ("218.88", "6"), ("0", "3")),
        (at(16), ("11010.72", "302.40", "414"), ("2626.56", "342"), ("5175", "171")),
        (at(20, 18), ("14746.50", "405", "545.10"), ("2626.56", "462"), ("8694", "231")),
        (at(24, 18), ("17302.56", "450", "655.50"), ("2626.56", "558"), ("8694", "279")),
    ],
)
def test_the_bills_are_hours_times_price(
    instant: datetime, aws: tuple[str, ...], gcp: tuple[str, ...], azure: tuple[str, ...]
) -> None:
    expected = {
        Cloud.AWS: dict(zip(("AmazonEC2", "AWSDataTransfer", "AmazonS3"), map(Decimal, aws), strict=True)),
        Cloud.GCP: dict(zip(("Compute Engine", "Cloud Storage"), map(Decimal, gcp), strict=True)),
        Cloud.AZURE: dict(zip(("Virtual Machines", "Storage"), map(Decimal, azure), strict=True)),
    }
    assert {cloud: story.bill(cloud, instant) for cloud in Cloud} == expected
    assert story.spent(instant) == {cloud: sum(services.values()) for cloud, services in expected.items()}


def test_the_run_as_planned_would_have_stayed_within_its_budgets() -> None:
    assert story.hours(story.RUN) == 500
    on_aws = sum(story.cost(Cloud.AWS, story.MONTH).values()) - 28 * Decimal("32.77")
    assert on_aws == Decimal("17663.00") < story.AWS_BUDGET
    elsewhere = sum(sum(story.cost(cloud, story.MONTH).values()) for cloud in (Cloud.GCP, Cloud.AZURE))
    # 72 h x 8 x 4.56 + 720 h x 1.50.
    assert elsewhere - 252 * Decimal("34.50") == Decimal("3706.56")
    assert on_aws + Decimal("3706.56") < story.BUDGET
    assert story.morals() == (
        "The forgotten node on Azure: 252 hours x 34.50 USD = 8,694.00 USD.",
        "The node on AWS that nobody ended: 28 hours x 32.77 USD = 917.56 USD.",
    )


def test_limits_are_crossed_by_what_one_cloud_alone_brings() -> None:
    """Else a message's figure would depend on who answers first."""
    crossed: list[tuple[datetime, list[Cloud]]] = []
    for before, after in pairwise(moment.at for moment in story.moments()):
        old, new = story.spent(before), story.spent(after)
        crossed += [
            (after, [cloud for cloud in Cloud if old[cloud] != new[cloud]])
            for limit in (Decimal(20000), Decimal(25000))
            if sum(old.values()) < limit <= sum(new.values())
        ]
    assert crossed == [(at(16), [Cloud.AWS]), (at(19, 6), [Cloud.AWS])]
    assert at(19, 6) == story.BLIND.end


def test_aws_crosses_its_budget_while_the_monitor_is_dead() -> None:
    assert [story.spent(instant)[Cloud.AWS] for instant in (at(20, 18), at(23, 12), at(23, 18))] == [
        Decimal("15696.60"),
        Decimal("17980.32"),
        Decimal("18183.84"),
    ]
    assert at(23, 12) in story.DEAD
    assert at(23, 18) in story.DEAD


def test_only_aws_is_ever_late_and_blind_for_longer_than_it_takes_to_be_stale() -> None:
    last = max(moment.at for moment in story.moments() if moment.at < story.BLIND.start)
    stale = aws_cloudwatch.Settings(name="aws").stale_after
    assert any(moment.turn_at - last > stale for moment in story.moments() if not moment.aws_publishes)
    named = {"name": "x", "scope": "/subscriptions/00000000-0000-0000-0000-000000000001"}
    azure = azure_cost.Settings.model_validate(named).late_after
    gcp = gcp_billing_export.Settings(name="gcp", table="proj.data.export").late_after
    for moment in story.moments():
        assert moment.turn_at - story.billed_until(Cloud.GCP, moment.at) < gcp
        day = story.billed_until(Cloud.AZURE, moment.at).replace(hour=0)
        assert moment.turn_at - day < azure


def test_moments_follow_each_other_and_each_note_is_told_once() -> None:
    moments = list(story.moments())
    assert {later.at - earlier.at for earlier, later in pairwise(moments)} == {timedelta(hours=6)}
    assert (moments[0].at, moments[-1].at) == (story.RUN.start, story.END)
    notes = [note for moment in moments for note in moment.notes]
    assert len(notes) == len(set(notes)) == 10
    assert sum(moment.closes_day for moment in moments) == 23
    assert story.hours(Period(at(2), at(1))) == 0
