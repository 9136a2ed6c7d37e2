"""`monitor run`: the real daemon, its signals, and what it tells systemd."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.conftest import Stage

Daemons = list[subprocess.Popen[str]]


def until(happened: Callable[[], object], what: str, limit_s: float = 30) -> None:
    """Wait for an event, not for a time."""
    end = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end, f"not within {limit_s} s: {what}"
        threading.Event().wait(0.02)


def this_month(value: str, stage: Stage) -> None:
    """Publish a month to date as of this hour: the daemon lives in real time."""
    now = datetime.now(UTC)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    stage.aws.publish_charge(max(now - timedelta(hours=1), month), value)


class Systemd:
    """Listens where systemd would."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "notify"
        self.said: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                text = self._socket.recv(4096).decode()
            except OSError:
                return
            self.said += text.splitlines()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def systemd(stage: Stage) -> Iterator[Systemd]:
    listening = Systemd(stage.directory)
    stage.environment |= {"NOTIFY_SOCKET": str(listening.path), "WATCHDOG_USEC": "3000000"}
    yield listening
    listening.close()


def test_it_tells_stays_and_stops_cleanly(stage: Stage, daemon: Daemons, systemd: Systemd) -> None:
    this_month("850", stage)
    process = stage.start()
    daemon.append(process)
    until(lambda: "READY=1" in systemd.said, "ready")
    until(lambda: len(stage.slack.messages) == 1, "the message")
    until(lambda: any(line.startswith("STATUS=last turn") for line in systemd.said), "a finished turn")
    until(lambda: systemd.said.count("WATCHDOG=1") >= 3, "the watchdog being fed")
    status = json.loads(stage.run("status", "--json").stdout)
    assert status["daemon"]["running"] is True
    assert status["budgets"][0]["spend"] == "850"
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert "STOPPING=1" in systemd.said
    assert len(stage.slack.messages) == 1, "many turns, one message"
    assert json.loads(stage.run("status", "--json").stdout)["daemon"]["running"] is False


def test_a_signal_while_it_starts_is_not_lost(stage: Stage, daemon: Daemons, systemd: Systemd) -> None:
    process = stage.start()
    daemon.append(process)
    until((stage.state / "lock").exists, "the lock")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_what_failed_before_a_start_is_said_at_the_start(stage: Stage, daemon: Daemons, systemd: Systemd) -> None:
    stage.environment |= {"AWS_ENDPOINT_URL_CLOUDWATCH": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    stage.environment.pop("MONITOR_DEBUG")
    assert stage.run("once").returncode == 75
    process = stage.start()
    daemon.append(process)
    until(lambda: "READY=1" in systemd.said, "ready")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert output.count("WARNING A source has been failing. source=aws failures=1 error=") == 1


def test_a_second_daemon_is_told_to_go_within_a_second(stage: Stage, daemon: Daemons, systemd: Systemd) -> None:
    daemon.append(stage.start())
    until(lambda: "READY=1" in systemd.said, "ready")
    stage.environment.pop("NOTIFY_SOCKET")
    began = time.monotonic()
    second = stage.run("run")
    assert second.returncode == 75
    assert "another monitor holds" in second.stderr
    assert time.monotonic() - began < 3, "interpreter start included, on a busy machine; a second on a quiet one"
    assert stage.run("once").returncode == 75


def test_a_broken_new_config_keeps_the_old_one_and_tells(stage: Stage, daemon: Daemons, systemd: Systemd) -> None:
    process = stage.start()
    daemon.append(process)
    until(lambda: "READY=1" in systemd.said, "ready")
    good = stage.config.read_text()
    stage.config.write_text(good.replace("amount", "amont"))
    process.send_signal(signal.SIGHUP)
    until(lambda: "amont" in json.dumps(stage.slack.messages), "the page about the broken config")
    assert process.poll() is None
    stage.config.write_text(good)
    process.send_signal(signal.SIGHUP)
    until(lambda: len(stage.slack.messages) == 2, "the all-clear")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_a_reload_takes_a_new_budget_at_once(stage: Stage, daemon: Daemons, systemd: Systemd) -> None:
    this_month("500", stage)
    process = stage.start()
    daemon.append(process)
    until(lambda: any(line.startswith("STATUS=last turn") for line in systemd.said), "a finished turn")
    assert stage.slack.messages == []
    stage.write_config(amount="400")
    process.send_signal(signal.SIGHUP)
    until(lambda: len(stage.slack.messages) > 0, "the message of the smaller budget")


class _Silence(BaseHTTPRequestHandler):
    """Takes the request and never answers."""

    release = threading.Event()

    def do_POST(self) -> None:
        self.release.wait(60)

    def log_message(self, *_: object) -> None:
        pass


def test_it_stops_in_time_while_a_source_and_a_receiver_hang(stage: Stage, daemon: Daemons, systemd: Systemd) -> None:
    this_month("850", stage)
    _Silence.release.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Silence)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stage.environment["AWS_ENDPOINT_URL_CLOUDWATCH"] = f"http://127.0.0.1:{server.server_port}"
    stage.environment["SLACK_WEBHOOK"] = f"http://127.0.0.1:{server.server_port}/services/x"
    process = stage.start()
    daemon.append(process)
    until(lambda: "READY=1" in systemd.said, "ready")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    _Silence.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def pings(stage: Stage) -> Iterator[list[str]]:
    """What the dead man's switch has heard."""
    heard: list[str] = []

    class Heart(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Heart) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        text = stage.config.read_text().replace("[monitor]", '[monitor]\nheartbeat_url = "env:HEARTBEAT"')
        stage.config.write_text(text)
        stage.environment["HEARTBEAT"] = f"http://127.0.0.1:{server.server_port}/ping/canary"
        yield heard
        server.shutdown()


def test_the_heartbeat_goes_out_only_when_every_source_was_read(
    stage: Stage, daemon: Daemons, systemd: Systemd, pings: list[str]
) -> None:
    this_month("5", stage)
    process = stage.start()
    daemon.append(process)
    until(lambda: pings, "a ping")
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    stage.environment["AWS_ENDPOINT_URL_CLOUDWATCH"] = "http://127.0.0.1:9"
    process = stage.start()
    daemon.append(process)
    until(lambda: any("not read: aws" in line for line in systemd.said), "a failed turn", 60)
    pings.clear()
    systemd.said.clear()
    until(lambda: sum("not read: aws" in line for line in systemd.said) > 1, "turns after it", 60)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert pings == []


def test_the_heartbeat_goes_out_after_a_turn_by_hand_too(stage: Stage, pings: list[str]) -> None:
    this_month("5", stage)
    assert stage.run("once").returncode == 0
    assert pings == ["/ping/canary"]
    stage.environment["AWS_ENDPOINT_URL_CLOUDWATCH"] = "http://127.0.0.1:9"
    assert stage.run("once").returncode == 75
    assert pings == ["/ping/canary"]


@pytest.mark.parametrize("address", [None, "canary", "https://canary:canary@example.com"])
def test_a_heartbeat_that_cannot_be_called_is_said_at_the_start(
    stage: Stage, pings: list[str], address: str | None
) -> None:
    del stage.environment["HEARTBEAT"]
    if address is not None:
        stage.environment["HEARTBEAT"] = address
    for command in ("once", "run"):
        done = stage.run(command)
        assert (done.returncode, "monitor.heartbeat_url" in done.stderr) == (78, True), done.stderr
        assert "canary" not in done.stderr
    assert stage.run("notify", "mail").returncode == 0, "a message needs no heartbeat"
    del stage.environment["SLACK_WEBHOOK"]
    done = stage.run("once")
    assert all(one in done.stderr for one in ("monitor.heartbeat_url", "SLACK_WEBHOOK")), "all that is wrong at once"


def test_files_are_private_but_the_status_is_for_everybody(stage: Stage) -> None:
    stage.once("2026-11-02T06:00:00Z")
    assert only_the_status_is_for_everybody(stage.state) >= {"ledger.db", "lock", "backups", "status.json"}


def test_so_they_are_while_a_daemon_runs(stage: Stage, daemon: Daemons, systemd: Systemd) -> None:
    process = stage.start()
    daemon.append(process)
    until(lambda: any(line.startswith("STATUS=last turn") for line in systemd.said), "a finished turn")
    assert only_the_status_is_for_everybody(stage.state) >= {"ledger.db-wal", "ledger.db-shm", "control.sock"}


def test_a_directory_that_was_closed_stays_closed(stage: Stage) -> None:
    stage.state.mkdir(mode=0o700)
    stage.once("2026-11-02T06:00:00Z")
    assert stage.state.stat().st_mode & 0o777 == 0o700


def only_the_status_is_for_everybody(state: Path) -> set[str]:
    """The names in a state directory, whose modes are as they should be."""
    assert state.stat().st_mode & 0o777 == 0o711
    found = {}
    for path in state.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a status.json that is being written
            found[str(path.relative_to(state))] = (path.is_dir(), path.stat().st_mode & 0o777)
    public = {name for name in found if name == "status.json" or name.startswith(".status.json.")}
    assert {found[name] for name in public} == {(False, 0o644)}
    expected = {True: 0o700, False: 0o600}
    assert {name: mode for name, (is_dir, mode) in found.items() if mode != expected[is_dir]}.keys() == public
    return set(found)
