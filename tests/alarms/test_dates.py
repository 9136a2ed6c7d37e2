"""What hosts outside say the time is."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from alarms.clients import dates
from alarms.clients.aws import AwsSettings, make_client
from alarms.clients.http import get
from monitor.clock import SystemClock
from monitor.simulation.aws import AwsAccount
from monitor.simulation.slack import SlackServer

NOON = "Mon, 23 Nov 2026 12:00:00 GMT"
SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _nothing_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dates, "_heard", {})


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The running clock, which the test turns."""
    seconds = [1000.0]
    monkeypatch.setattr(time, "clock_gettime", lambda _: seconds[0])
    return seconds


def test_a_host_is_known_since_it_says_the_same(running: list[float]) -> None:
    dates.note("a", NOON)
    running[0] += 60
    dates.note("a", "Mon, 23 Nov 2026 12:01:00 GMT")
    (heard,) = dates.heard()
    assert heard.start == datetime(2026, 11, 23, 12, tzinfo=UTC) - 1000 * SECOND
    assert (heard.first, heard.last) == (1000, 1060)
    running[0] += 60
    dates.note("a", "Mon, 23 Nov 2026 15:00:00 GMT")
    (heard,) = dates.heard()
    assert (heard.first, heard.last) == (1120, 1120)


@pytest.mark.parametrize(
    "date", [None, "", "noon", "Mon, 23 Nov 2026 12:00:00 -0000", "Mon, 99 Nov 2026 12:00:00 GMT", "Mon, 1 Jan 1 0:0:1"]
)
def test_what_is_no_date_says_nothing(date: str | None) -> None:
    dates.note("a", date)
    assert dates.heard() == []


def test_an_answer_that_somebody_kept_says_nothing() -> None:
    dates.note("a", NOON, cached=True)
    assert dates.heard() == []


def test_an_answer_over_http_is_heard() -> None:
    with SlackServer() as slack, pytest.raises(Exception, match="status 501"):
        get(slack.url, allow_private=True)
    (heard,) = dates.heard()
    clock = SystemClock()
    assert abs(heard.start + clock.elapsed() * SECOND - clock.now()) < 10 * SECOND


def test_an_answer_of_aws_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    with AwsAccount() as aws:
        for name, value in aws.environment.items():
            monkeypatch.setenv(name, value)
        make_client("cloudwatch", AwsSettings(), retries=0).list_metrics()
    (heard,) = dates.heard()
    clock = SystemClock()
    assert abs(heard.start + clock.elapsed() * SECOND - clock.now()) < 10 * SECOND
