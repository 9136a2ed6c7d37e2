"""The daemon's own death is noticed: systemd hears nothing more of one that hangs, people of one that keeps dying."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Stage
from tests.e2e.test_daemon import Daemons, Systemd, this_month, until
from tests.e2e.test_daemon import systemd as systemd  # noqa: PLC0414 - a fixture

BEGUN = "the fault has begun"  # as tests.e2e.launch says it
KEEPS_DYING = "WARNING: The monitor keeps ending uncleanly"


def launched(stage: Stage, daemon: Daemons, fault: str) -> Path:
    """Start the daemon that has this fault in it; its log."""
    log = stage.directory / "log"
    stage.environment |= {"FAULT_FILE": str(stage.directory / "fault"), "WATCHDOG_USEC": "900000"}
    command = [sys.executable, "-m", "tests.e2e.launch", fault, "--config", str(stage.config), "run"]
    with log.open("w") as file:
        daemon.append(subprocess.Popen(command, env=stage.environment, text=True, stdout=file, stderr=file))
    return log


@pytest.mark.parametrize(
    ("fault", "sign"),
    [
        ("deadlocked_turn", "No turn makes progress."),
        ("failing_turn", "The last turn failed from a defect."),
        ("dead_lane", "A thread has died from a defect."),
    ],
)
def test_systemd_hears_nothing_more_of_a_daemon_that_does_not_work(
    stage: Stage, daemon: Daemons, systemd: Systemd, fault: str, sign: str
) -> None:
    log = launched(stage, daemon, fault)
    until(lambda: systemd.said.count("WATCHDOG=1") > 3, "the watchdog being fed")
    Path(stage.environment["FAULT_FILE"]).touch()
    this_month("850", stage)  # so that there is something to send

    def noticed() -> int:
        # What a busy machine made it say before does not count.
        return log.read_text().partition(BEGUN)[2].count(f"CRITICAL {sign}")

    until(lambda: noticed() >= 2, "that it notices")
    seen = noticed()
    systemd.said.clear()
    until(lambda: noticed() > seen + 4, "that it stays so")
    assert "WATCHDOG=1" not in systemd.said
    if fault == "failing_turn":
        Path(stage.environment["FAULT_FILE"]).unlink()
        until(lambda: "WATCHDOG=1" in systemd.said, "the watchdog being fed again")
        until(lambda: len(stage.slack.messages) > 2, "what was told")
        first, *others = [message["text"] for message in stage.slack.messages]
        assert first == "CRITICAL: The monitor fails from a defect"
        over, breach = "RESOLVED: monitor is no longer failing from a defect", "WARNING training: 850.00 of 1,000.00"
        assert [text[: len(breach)] for text in sorted(others, reverse=True)] == [breach, over[: len(breach)]]


def test_systemd_hears_nothing_of_a_stopped_process(stage: Stage, daemon: Daemons, systemd: Systemd) -> None:
    stage.environment["WATCHDOG_USEC"] = "900000"
    process = stage.start()
    daemon.append(process)
    until(lambda: systemd.said.count("WATCHDOG=1") > 3, "the watchdog being fed")
    process.send_signal(signal.SIGSTOP)
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "the stop")
    heard, end = len(systemd.said), time.monotonic() + 0.9
    until(lambda: time.monotonic() > end, "what systemd waits")
    assert len(systemd.said) == heard
    process.send_signal(signal.SIGCONT)
    until(lambda: "WATCHDOG=1" in systemd.said[heard:], "the watchdog being fed again")


def test_one_that_is_killed_again_and_again_is_told_once(stage: Stage, daemon: Daemons, systemd: Systemd) -> None:
    def said() -> list[str]:
        return [message["text"] for message in stage.slack.messages]

    def run_until_a_turn() -> subprocess.Popen[str]:
        systemd.said.clear()
        process = stage.start()
        daemon.append(process)
        until(lambda: any(line.startswith("STATUS=last turn") for line in systemd.said), "a finished turn")
        return process

    def all_sent() -> bool:
        receivers = json.loads((stage.state / "status.json").read_text())["receivers"]
        return all(row["undelivered"] == 0 for row in receivers)

    for kill in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        process = run_until_a_turn()
        assert said() == [], "once is bad luck"
        process.send_signal(kill)
        process.wait(30)
    process = run_until_a_turn()
    until(said, "the warning")
    until(all_sent, "that it is noted as sent")
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    process = run_until_a_turn()
    health = json.loads((stage.state / "status.json").read_text())["health"]
    assert [row["severity"] for row in health] == ["warning"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert said() == [KEEPS_DYING]
