"""From a bill to a message, with the real process, real HTTP and real SMTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.e2e.conftest import Stage

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "aws-api" / "cloudwatch_estimated_charges.json"

# What a user of AWS once published of his account.
JUNE_2020 = {"2020-06-01": "0.0", "2020-06-02": "22.65", "2020-06-03": "34.74", "2020-06-04": "46.91"}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def publish(stage: Stage, series: dict[str, str], **dimensions: str) -> None:
    for instant, value in series.items():
        stage.aws.publish_charge(at(instant), value, **dimensions)


def spend(stage: Stage, *arguments: str) -> dict[str, str]:
    done = stage.run("spend", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {row["key"]: row["billed"] for row in json.loads(done.stdout)["rows"]}


def test_the_sample_is_the_published_series() -> None:
    if not PUBLISHED.exists():
        pytest.skip("the published series is not at hand")
    series = json.loads(PUBLISHED.read_text())["user_2020_06"]["MetricDataResults"][0]
    assert {t[:10]: str(v) for t, v in zip(series["Timestamps"], series["Values"], strict=True)} == JUNE_2020


def test_a_month_to_date_becomes_its_charges_to_the_last_digit(stage: Stage) -> None:
    publish(stage, JUNE_2020)
    report = stage.once("2020-06-04T00:00:00Z")
    assert report["sources"] == [{"name": "aws", "ok": True, "charges": 3, "rejected": 0, "missing": [], "error": None}]
    days = spend(stage, "--by", "day", "--since", "2020-06-01", "--until", "2020-06-05")
    assert days == {"2020-06-01": "22.65", "2020-06-02": "12.09", "2020-06-03": "12.17"}


def test_a_breach_reaches_every_receiver_once(stage: Stage) -> None:
    publish(stage, {"2026-11-02": "700"})
    quiet = stage.once("2026-11-02T06:00:00Z")
    assert quiet["transitions"] == []
    publish(stage, {"2026-11-03": "850.25"})
    report = stage.once("2026-11-03T06:00:00Z")
    assert [(t["at"], t["from"], t["to"], t["reason"]) for t in report["transitions"]] == [
        ("80%", "OK", "FIRING", "crossed")
    ]
    assert {(n["receiver"], n["state"]) for n in report["notifications"]} == {
        ("oncall", "SENT"),
        ("mail", "SENT"),
        ("topic", "SENT"),
    }
    assert "850.25" in json.dumps(stage.slack.messages[0])
    assert "850.25" in stage.mail.mails[0].message.get_content()
    assert "850.25" in stage.aws.delivered(stage.topic)[0].message
    stage.once("2026-11-03T07:00:00Z")
    assert (len(stage.slack.messages), len(stage.mail.mails), len(stage.aws.delivered(stage.topic))) == (1, 1, 1)


def test_status_tells_the_same_story(stage: Stage) -> None:
    publish(stage, {"2026-11-02": "1200"})
    stage.once("2026-11-02T06:00:00Z")
    done = stage.run("status", "--json", "--as-of", "2026-11-02T06:01:00Z")
    status = json.loads(done.stdout)
    assert (done.returncode, status["state"]) == (2, "CRITICAL")
    (budget,) = status["budgets"]
    assert (budget["billed"], budget["spend"], budget["amount"]) == ("1200", "1200", "1000")
    assert {(a["at"], a["state"]) for a in budget["alarms"]} == {("80%", "FIRING"), ("100%", "FIRING")}
    assert len(stage.slack.messages) == 1, "already over at first sight is one message"


def test_a_source_that_fails_neither_lowers_a_figure_nor_ends_an_alarm(stage: Stage) -> None:
    publish(stage, {"2026-11-02": "850"})
    stage.once("2026-11-02T06:00:00Z")
    endpoint = stage.environment["AWS_ENDPOINT_URL"]
    stage.environment["AWS_ENDPOINT_URL_CLOUDWATCH"] = "http://127.0.0.1:9"
    done = stage.run("once", "--json", "--as-of", "2026-11-02T07:00:00Z")
    assert done.returncode == 75
    assert json.loads(done.stdout)["transitions"] == []
    status = json.loads(stage.run("status", "--json", "--as-of", "2026-11-02T07:01:00Z").stdout)
    assert status["budgets"][0]["spend"] == "850"
    assert status["budgets"][0]["alarms"][0]["state"] == "FIRING"
    stage.environment["AWS_ENDPOINT_URL_CLOUDWATCH"] = endpoint


def test_the_past_cannot_be_judged_again(stage: Stage) -> None:
    publish(stage, {"2026-11-02": "10"})
    stage.once("2026-11-02T06:00:00Z")
    done = stage.run("once", "--as-of", "2026-11-02T05:59:00Z")
    assert done.returncode == 65
    assert "before the last turn" in done.stderr


def test_a_month_ends_with_one_resolved_for_each_level_and_the_new_one_starts_unknown(stage: Stage) -> None:
    publish(stage, {"2026-11-30": "1200"})
    stage.once("2026-11-30T06:00:00Z")
    report = stage.once("2026-12-01T00:05:00Z")
    assert {(t["at"], t["to"], t["reason"]) for t in report["transitions"]} == {
        ("80%", "OK", "period_ended"),
        ("100%", "OK", "period_ended"),
    }
    assert len(stage.slack.messages) == 2, "only the level that was told is taken back"
    status = json.loads(stage.run("status", "--json", "--as-of", "2026-12-01T00:06:00Z").stdout)
    assert status["budgets"][0]["spend"] is None
    assert {a["data"] for a in status["budgets"][0]["alarms"]} == {"NO_DATA"}
