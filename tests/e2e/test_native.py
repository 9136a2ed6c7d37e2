"""Twins inside the clouds, by the real commands and the real SDK against a simulated account."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import boto3
import pytest
from moto.cloudwatch.models import CloudWatchBackend
from moto.core.exceptions import JsonRESTError

from monitor.simulation import moto_budgets
from tests.e2e.conftest import Stage
from tests.e2e.test_daemon import Daemons, this_month, until

# Each starts real processes and clouds: together they take longer than a minute.
pytestmark = pytest.mark.slow

NATIVE = "native = true\n"
PREFIX = "cloud-budget-monitor/training"


@pytest.fixture
def native(stage: Stage) -> Stage:
    stage.aws.let_budgets_publish(stage.topic)
    stage.write_config(more=NATIVE)
    return stage


def plan(stage: Stage) -> tuple[int, dict]:
    done = stage.run("alarms", "plan", "--json")
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def cloudwatch(stage: Stage):
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    return boto3.client("cloudwatch", endpoint_url=stage.aws.url, region_name="us-east-1", **keys)


def test_plan_says_apply_does_and_then_there_is_nothing_to_do(native: Stage) -> None:
    code, document = plan(native)
    assert code == 2
    assert [(one["op"], one["kind"], one["name"]) for one in document["accounts"][0]["changes"]] == [
        ("create", "alarm", f"{PREFIX}/actual-100pct-critical"),
        ("create", "alarm", f"{PREFIX}/actual-80pct-warning"),
        ("create", "budget", PREFIX),
    ]
    shown = native.run("alarms", "plan")
    assert "  + alarm cloud-budget-monitor/training/actual-80pct-warning\n" in shown.stdout
    assert max(len(line) for line in shown.stdout.splitlines()) <= 80
    done = native.run("alarms", "apply")
    assert (done.returncode, done.stderr) == (0, "")
    assert "IN_SYNC training" in flat(done.stdout)
    code, document = plan(native)
    assert (code, document["pending"]) == (0, 0)
    (alarm, _) = cloudwatch(native).describe_alarms(AlarmNamePrefix=f"{PREFIX}/")["MetricAlarms"]
    assert (alarm["Threshold"], alarm["StateValue"], alarm["AlarmActions"]) == (
        1000.0,
        "INSUFFICIENT_DATA",
        [native.topic],
    )


def test_the_twins_page_while_the_daemon_is_dead_from_the_10th(native: Stage) -> None:
    """A month of bills by the published figures; after the 10th nobody runs us any more."""
    assert native.run("alarms", "apply").returncode == 0
    start = datetime(2026, 11, 1, tzinfo=UTC)
    rung: list[tuple[str, str]] = []
    for hours in range(6, 30 * 24, 6):
        now = start + timedelta(hours=hours)
        spent = Decimal(hours) * Decimal("1.8")
        native.aws.publish_charge(now, spent)
        if now.day < 10 and now.hour == 12:
            assert native.once(now)["transitions"] == []
        changed = native.aws.evaluate_alarms(now + timedelta(minutes=10))
        rung += [(name, f"{now:%d %H}") for name, _, state in changed if state == "ALARM"]
        native.aws.evaluate_budgets({PREFIX: (spent, spent * 30 * 24 / hours)})
    # 1.80 USD an hour: 800 is passed after 445 h, 1000 after 556 h.
    assert rung == [(f"{PREFIX}/actual-80pct-warning", "19 18"), (f"{PREFIX}/actual-100pct-critical", "24 06")]
    told = [one for one in native.aws.delivered(native.topic) if (one.subject or "").startswith("ALARM")]
    assert [json.loads(one.message)["NewStateValue"] for one in told] == ["ALARM", "ALARM"]
    budgets = [one.message for one in native.aws.delivered(native.topic) if "AWS Budgets" in (one.subject or "")]
    assert len(budgets) == 2
    assert [address for address, _ in native.aws.mails_of_budgets()] == ["ml-leads@example.com"] * 2


def test_a_reader_cannot_apply_but_sees_and_says_that_there_is_no_backstop(
    native: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny(monkeypatch, CloudWatchBackend, "put_metric_alarm")
    deny(monkeypatch, moto_budgets, "_add_notification")
    done = native.run("alarms", "apply")
    assert done.returncode == 75
    assert "FAILED: AWS answered AccessDenied to PutMetricAlarm: allow" in flat(done.stdout)
    native.write_config(more=NATIVE + "manage = true\n")
    native.aws.publish_charge(datetime(2026, 11, 2, tzinfo=UTC), "10")
    native.once("2026-11-02T06:00:00Z")
    shown = native.run("status", "--as-of", "2026-11-02T06:00:00Z")
    assert shown.returncode == 1
    assert "no native backstop" in flat(shown.stdout)
    assert any("no native backstop" in one.message for one in native.aws.delivered(native.topic))


def test_who_may_not_even_look_ends_with_77(native: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    deny(monkeypatch, CloudWatchBackend, "get_alarms_by_alarm_name_prefix")
    done = native.run("alarms", "plan")
    assert done.returncode == 77
    assert "no native backstop is known for training" in flat(done.stdout)
    assert native.run("alarms", "apply").returncode == 75
    assert native.run("alarms", "drill").returncode == 69


def test_half_of_an_apply_is_finished_by_the_next(native: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        deny(patch, moto_budgets, "_add_notification", "ThrottlingException")
        done = native.run("alarms", "apply", "--json")
        assert done.returncode == 75
        outcomes = json.loads(done.stdout)["done"]
        assert [(one["kind"], one["error"] is None) for one in outcomes] == [
            ("alarm", True),
            ("alarm", True),
            ("budget", False),
        ]
    assert plan(native)[1]["pending"] == 1
    assert native.run("alarms", "apply").returncode == 0
    assert plan(native)[0] == 0


def test_a_drill_goes_the_whole_way_and_is_remembered(native: Stage) -> None:
    native.aws.publish_charge(datetime(2026, 11, 2, tzinfo=UTC), "10")
    native.once("2026-11-02T06:00:00Z")
    failed = native.run("alarms", "drill")
    assert failed.returncode == 69
    assert f"FAILED alarm {PREFIX}/actual-80pct-warning: it is not there" in flat(failed.stdout)
    assert "the drill failed" in native.run("status").stdout
    assert native.run("alarms", "apply").returncode == 0
    before = len(native.slack.messages), len(native.mail.mails)
    done = native.run("alarms", "drill")
    assert (done.returncode, done.stderr) == (0, "")
    assert "The whole way works." in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert (len(native.slack.messages), len(native.mail.mails)) == (before[0] + 1, before[1] + 1)
    rung = [json.loads(one.message) for one in native.aws.delivered(native.topic) if "ALARM:" in (one.subject or "")]
    assert [one["AlarmName"] for one in rung] == [f"{PREFIX}/actual-100pct-critical", f"{PREFIX}/actual-80pct-warning"]
    assert "drilled" in native.run("status").stdout
    (row,) = json.loads(native.run("status", "--json").stdout)["native"]
    assert (row["drill_ok"], row["state"]) == (True, "IN_SYNC")
    assert native.run("alarms", "drill", "--budget", "nonsense").returncode == 64


def test_a_receiver_that_is_dead_fails_the_drill(native: Stage) -> None:
    assert native.run("alarms", "apply").returncode == 0
    native.environment["SLACK_WEBHOOK"] = "http://127.0.0.1:9/x"
    done = native.run("alarms", "drill", "--json")
    assert done.returncode == 69
    answer = json.loads(done.stdout)
    assert {one["name"]: one["ok"] for one in answer["receivers"]} == {"oncall": False, "mail": True, "topic": True}
    assert "nothing is stored" in done.stderr


def test_a_daemon_makes_its_twins_hears_of_apply_and_waits_for_no_hanging_cloud(native: Stage, daemon: Daemons) -> None:
    native.write_config(more=NATIVE + "manage = true\n")
    this_month("100", native)
    daemon.append(native.start())
    until(lambda: plan(native)[0] == 0, "the daemon has made its twins")
    until(lambda: [row["state"] for row in twins(native)] == ["IN_SYNC"], "and says so")
    cloudwatch(native).delete_alarms(AlarmNames=[f"{PREFIX}/actual-80pct-warning"])
    assert native.run("alarms", "plan").returncode == 2
    assert native.run("alarms", "apply").returncode == 0
    done = native.run("alarms", "drill")
    assert (done.returncode, done.stderr) == (0, "")
    assert [row["drill_ok"] for row in twins(native)] == [True], "the daemon was told"


def test_a_cloud_that_hangs_holds_up_no_turn(native: Stage, daemon: Daemons) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        native.environment["AWS_ENDPOINT_URL_STS"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        this_month("900", native)
        daemon.append(native.start())
        until(lambda: native.slack.messages, "the alarm is told all the same")
        turns = {last_turn(native)}
        until(lambda: turns.add(last_turn(native)) or len(turns) > 3, "turns go on")
        assert twins(native) == []


@contextmanager
def dripping() -> Iterator[tuple[str, threading.Event]]:
    """The address of a cloud that answers a byte a second without end, and whether it was asked."""
    asked, over = threading.Event(), threading.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: 100000\r\n\r\n"

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            asked.set()
            connection.sendall(head)
            while not over.wait(1):
                connection.sendall(b" ")

    def serve() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", asked
        over.set()
        server.shutdown(socket.SHUT_RDWR)


def test_a_cloud_that_hangs_does_not_hold_up_the_end(native: Stage, daemon: Daemons) -> None:
    this_month("900", native)
    with dripping() as (address, asked):
        native.environment["AWS_ENDPOINT_URL_BUDGETS"] = address
        process = native.start()
        daemon.append(process)
        until(lambda: native.slack.messages and asked.is_set(), "the look hangs")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_once_tells_its_alarms_before_it_looks_at_twins(native: Stage, daemon: Daemons) -> None:
    this_month("900", native)
    with dripping() as (address, asked):
        native.environment["AWS_ENDPOINT_URL_BUDGETS"] = address
        process = native.start("once")
        daemon.append(process)
        until(lambda: native.slack.messages and native.mail.mails, "the alarm is told all the same")
        until(asked.is_set, "the look hangs")
        assert process.poll() is None


def test_once_tells_in_the_same_run_what_its_look_has_found(native: Stage) -> None:
    native.aws.publish_charge(datetime(2026, 11, 2, tzinfo=UTC), "10")
    found = native.once("2026-11-02T06:00:00Z")
    assert [(one["subject"], one["from"], one["to"]) for one in found["health"]] == [
        ("native aws 123456789012 training", "OK", "FIRING")
    ]
    assert [one["state"] for one in found["notifications"]] == ["SENT"] * 3
    assert native.run("alarms", "apply").returncode == 0
    found = native.once("2026-11-02T07:00:00Z")
    assert [(one["from"], one["to"]) for one in found["health"]] == [("FIRING", "OK")]


def flat(text: str) -> str:
    """However its lines were broken."""
    return " ".join(text.split())


def twins(stage: Stage) -> list[dict]:
    return json.loads(stage.run("status", "--json").stdout)["native"]


def last_turn(stage: Stage) -> str:
    return json.loads(stage.run("status", "--json").stdout)["daemon"]["last_turn"]


def deny(monkeypatch: pytest.MonkeyPatch, where: object, operation: str, code: str = "AccessDenied") -> None:
    """In the server, so that the real process is really refused."""

    def refuse(*_: object, **__: object) -> None:
        raise JsonRESTError(code, "no")

    monkeypatch.setattr(where, operation, refuse)
