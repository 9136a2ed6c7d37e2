"""The plot: its figures can be worked out by hand, and it has the turns that the demo is there to show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest

from monitor.demo import story
from monitor.sources.aws_cloudwatch import Settings


def at(day: int, hour: int = 0, month: int = 9) -> datetime:
    return datetime(2024, month, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("instant", "nodes", "stored", "transferred", "credit"),
    [
        (at(1, 6), "0", "6.90", "0", "0"),
        (at(2, 6), "196.62", "34.50", "5.40", "0"),
        (at(15, 12), "15336.36", "400.20", "291.60", "0"),
        (at(1, 0, month=10), "23463.32", "828.00", "450.00", "500"),
        (at(1, 6, month=10), "0", "6.90", "0", "0"),
    ],
)
def test_the_bill_is_hours_times_price(
    instant: datetime, nodes: str, stored: str, transferred: str, credit: str
) -> None:
    services = story.bill(instant)
    assert services == {
        "AmazonEC2": Decimal(nodes) - Decimal(credit),
        "AmazonS3": Decimal(stored),
        "AWSDataTransfer": Decimal(transferred),
    }
    assert story.bill_total(instant) == sum(services.values())


def test_the_run_alone_would_have_stayed_within_its_budget() -> None:
    assert story.hours(story.RUN) == 500
    without = story.bill_total(story.MONTH.end) + story.CREDIT - 216 * Decimal("32.77")
    assert without == Decimal("17663.00")
    assert story.moral() == "The forgotten node: 216 hours x 32.77 USD = 7,078.32 USD."


def test_the_budget_is_crossed_while_nothing_is_published() -> None:
    published = [(moment.at, story.bill_total(moment.at)) for moment in story.moments() if moment.published]
    before = [total for instant, total in published if instant < story.BLIND.start]
    after = [total for instant, total in published if story.BLIND.end <= instant < story.MONTH.end]
    assert story.BUDGET * 80 / 100 <= max(before) < story.BUDGET <= min(after)


def test_the_source_is_blind_for_longer_than_it_takes_to_be_stale() -> None:
    last = max(moment.at for moment in story.moments() if moment.at < story.BLIND.start)
    stale = Settings(name="aws").stale_after
    blind = [moment for moment in story.moments() if not moment.published]
    assert any(moment.turn_at - last > stale for moment in blind)


def test_moments_follow_each_other_and_each_note_is_told_once() -> None:
    moments = list(story.moments())
    assert {later.at - earlier.at for earlier, later in pairwise(moments)} == {timedelta(hours=6)}
    assert moments[-1].at == story.END
    notes = [note for moment in moments for note in moment.notes]
    assert len(notes) == len(set(notes)) == 8
    assert sum(moment.closes_day for moment in moments) == 30
