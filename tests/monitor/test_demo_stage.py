"""What the demo shows is what really arrived and what the ledger really holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from monitor import spend
from monitor.demo import story
from monitor.demo.play import _own_environment
from monitor.demo.process import Done
from monitor.demo.stage import Outcome, Stage
from monitor.store.database import open_reading


@pytest.fixture
def stage() -> Iterator[Stage]:
    with _own_environment(), Stage() as stage:
        stage.start()
        said = stage.apply_text()
        assert "IN_SYNC   run-on-aws" in said
        assert "gcp" not in said, "there is nothing to say of clouds without twins"
        yield stage


def play(stage: Stage, day: int, hour: int = 0) -> Outcome:
    (moment,) = (one for one in story.moments() if one.at == datetime(2024, 9, day, hour, tzinfo=UTC))
    return stage.play(moment)


def budget(outcome: Outcome, name: str = "training") -> Decimal:
    (found,) = (one for one in outcome.status["budgets"] if one["name"] == name)
    return Decimal(found["spend"])


def test_the_amount_shown_is_the_ledgers_and_that_of_the_three_bills_to_the_last_digit(stage: Stage) -> None:
    for day, hour, total in ((2, 0, "255.48"), (9, 12, "9425.76"), (15, 18, "19832.76")):
        outcome = play(stage, day, hour)
        with open_reading(stage.state) as connection:
            rows = {row.key: row.billed for row in spend.read(connection, "source", story.MONTH)}
        assert budget(outcome) == sum(rows.values()) == Decimal(total)
        assert rows == story.spent(datetime(2024, 9, day, hour, tzinfo=UTC))
        assert budget(outcome, "run-on-aws") == rows["aws"]
        assert {one["freshness"] for one in outcome.status["sources"]} == {"FRESH"}


def test_what_is_shown_has_arrived_at_all_three(stage: Stage) -> None:
    quiet, loud, later = play(stage, 15, 18), play(stage, 16), play(stage, 16, 6)
    assert (quiet.arrived, later.arrived) == ((), ())
    assert [message.where for message in loud.arrived] == ["Slack", "e-mail", "SNS"]
    (identity,) = {message.id for message in loud.arrived}
    assert {(identity, name) for name in ("oncall", "mail", "topic")} == set(loud.done.notifications)
    assert identity.startswith(loud.done.changes[0].messages)
    assert {message.headline for message in loud.arrived} == {
        "WARNING training: 20,041.68 of 25,000.00 USD spent, over 80%"
    }
    assert stage.inboxes.slack.messages[0]["text"] == loud.arrived[0].headline
    assert any(detail.startswith("Spent: 20,041.68") for detail in loud.arrived[0].details)


def test_a_killed_monitor_does_nothing_and_aws_pages_in_its_place(stage: Stage) -> None:
    alive = play(stage, 20, 18)
    assert alive.status["daemon"]["running"]
    assert [one["state"] for one in alive.status["native"]] == ["IN_SYNC"]
    pid = stage.kill()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    quiet, loud = play(stage, 23, 12), play(stage, 23, 18)
    assert (quiet.done, quiet.arrived, loud.done) == (Done(), (), Done())
    name = "cloud-budget-monitor/run-on-aws/actual-100pct-critical"
    assert loud.rung == ((name, "OK", "ALARM"),)
    assert [(one.id, one.where, one.headline) for one in loud.arrived] == [("", "SNS", f'ALARM: "{name}" in us-east-1')]
    assert not loud.status["daemon"]["running"]
    assert (loud.status["state"], budget(loud)) == ("CRITICAL", budget(alive))
    stage.start()
    back = play(stage, 24)
    assert [(one.subject, one.at, one.after) for one in back.done.changes] == [("run-on-aws", "100%", "FIRING")]
    assert budget(back, "run-on-aws") == Decimal("18387.36")


def test_the_users_environment_is_kept_out_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = (
        *("AWS_PROFILE", "GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "BIGQUERY_EMULATOR_HOST"),
        *("PUBSUB_EMULATOR_HOST", "AZURE_TENANT_ID", "IDENTITY_ENDPOINT", "REQUESTS_CA_BUNDLE", "https_proxy"),
    )
    for name in theirs:
        monkeypatch.setenv(name, "mine")
    before = dict(os.environ)
    with _own_environment(), Stage() as stage:
        assert not set(theirs) & os.environ.keys()
        assert "mine" not in stage.environment.values()
        assert stage.environment["AWS_ENDPOINT_URL"] == stage.clouds.aws.url
        directory = stage.directory
    assert dict(os.environ) == before
    assert not directory.exists()
