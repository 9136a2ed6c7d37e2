"""What the demo shows is what really arrived and what the ledger really holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from alarms.model import Period
from monitor import spend
from monitor.demo import story
from monitor.demo.play import _own_environment
from monitor.demo.stage import Outcome, Stage
from monitor.store.database import open_reading

SINCE = story.MONTH.start


@pytest.fixture
def stage() -> Iterator[Stage]:
    with _own_environment(), Stage() as stage:
        yield stage


def after(stage: Stage, at: datetime) -> Outcome:
    stage.publish(at, story.bill(at))
    return stage.turn(at + timedelta(minutes=15))


def test_the_amount_shown_is_the_ledgers_and_the_bills_to_the_last_digit(stage: Stage) -> None:
    for at in (datetime(2024, 9, day, 12, tzinfo=UTC) for day in (1, 4, 9, 10, 14)):
        (budget,) = after(stage, at).status["budgets"]
        with open_reading(stage.state) as connection:
            rows = spend.read(connection, "service", Period(SINCE, story.MONTH.end))
        assert Decimal(budget["spend"]) == sum(row.billed for row in rows) == story.bill_total(at)
        assert {row.key: row.billed for row in rows if row.key != "(unattributed)"} == story.bill(at)


def test_what_is_shown_has_arrived_at_all_three(stage: Stage) -> None:
    quiet = after(stage, datetime(2024, 9, 14, 12, tzinfo=UTC))
    loud = after(stage, datetime(2024, 9, 15, 12, tzinfo=UTC))
    later = after(stage, datetime(2024, 9, 15, 18, tzinfo=UTC))
    assert (quiet.arrived, later.arrived) == ((), ())
    assert [message.where for message in loud.arrived] == ["Slack", "e-mail", "SNS"]
    (identity,) = {message.id for message in loud.arrived}
    assert {(identity, name) for name in ("oncall", "mail", "topic")} == set(loud.report.notifications)
    assert {message.headline for message in loud.arrived} == {
        "WARNING training: 16,028.16 of 20,000.00 USD spent, over 80%"
    }
    assert stage.slack.messages[0]["text"] == loud.arrived[0].headline
    assert any(detail.startswith("Spent: 16,028.16") for detail in loud.arrived[0].details)


def test_the_users_environment_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    before = dict(os.environ)
    with _own_environment(), Stage() as stage:
        assert "AWS_PROFILE" not in os.environ
        assert "https_proxy" not in os.environ
        assert os.environ["AWS_ENDPOINT_URL"] == stage.aws.url
        directory = stage.directory
    assert dict(os.environ) == before
    assert not directory.exists()
