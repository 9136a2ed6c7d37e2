"""Nobody hears it: a stderr that is full or closed changes nothing, a stdout only the exit code."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from monitor.store.database import open_store
from tests.e2e.conftest import Stage
from tests.e2e.test_bill_to_message import publish
from tests.e2e.test_daemon import this_month, until
from tests.e2e.test_rights import run

DEAF = ["2>/dev/full", "2>&-"]
WARNED = """
[[sources]]
name = "aws"
type = "aws_cloudwatch"
[[plans]]
name = "tune"
start = 2026-11-01T00:00:00Z
quotes = "article"
phases = [{ name = "train", on = "aws:p4d.24xlarge", hours = 5 }]
"""
LATE = """
[[plans]]
name = "tune"
start = 2026-11-01T00:00:00Z
deadline = 2026-11-01T01:00:00Z
quotes = "article"
phases = [{ name = "train", on = "aws:p4d.24xlarge", hours = 5 }]
"""


@pytest.fixture
def warned(tmp_path: Path) -> Path:
    """A directory with a config that merely has warnings, and an empty store."""
    (tmp_path / "config.toml").write_text(WARNED)
    open_store(tmp_path / "state").close()
    return tmp_path


@pytest.mark.parametrize("deaf", DEAF)
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["plan"], 0),
        (["nonsense"], 64),
        (["spend", "--by", "bogus"], 64),
        (["notify", "nix"], 64),
        (["silence", "training"], 64),
        (["plan", "--config", "nix.toml"], 78),
    ],
)
def test_stderr_that_takes_nothing_changes_no_exit_code(warned: Path, deaf: str, command: list[str], code: int) -> None:
    done = run(warned, *command, first=f"exec {deaf}")
    assert (done.returncode, bool(done.stdout)) == (code, code == 0)


@pytest.mark.parametrize("deaf", ["", *DEAF])
@pytest.mark.parametrize("full", [">/dev/full", ">&-"])
@pytest.mark.parametrize("command", ["plan", "--help", "--version"])
def test_an_answer_that_is_not_taken_is_69(warned: Path, deaf: str, full: str, command: str) -> None:
    done = run(warned, command, first=f"exec {full} {deaf}")
    assert done.returncode == 69
    assert deaf or "monitor: stdout " in done.stderr


@pytest.mark.parametrize("full", [">/dev/full", ">&-"])
def test_a_demo_that_nobody_can_see_ends_with_69(tmp_path: Path, full: str) -> None:
    done = run(tmp_path, "demo", "--fast", first=f"exec {full}")
    assert (done.returncode, done.stderr.count("\n")) == (69, 1)
    assert "stdout" in done.stderr


@pytest.mark.parametrize("deaf", DEAF)
def test_a_turn_is_done_whoever_hears_of_its_warnings(stage: Stage, deaf: str) -> None:
    stage.write_config(more=LATE)
    publish(stage, {"2026-11-02": "850"})
    command = stage.command("once", "--as-of", "2026-11-02T06:00:00Z")
    done = subprocess.run(
        ["bash", "-c", f'exec "$@" {deaf}', "bash", *command],
        env=stage.environment, text=True, stdout=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "to oncall: SENT" in done.stdout
    assert len(stage.slack.messages) == 1


@pytest.mark.parametrize("deaf", DEAF)
def test_a_daemon_without_a_log_watches_and_tells(stage: Stage, deaf: str) -> None:
    stage.write_config(more=LATE)
    this_month("850", stage)
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$@" {deaf}', "bash", *stage.command("run")], env=stage.environment
    )
    try:
        until(lambda: stage.slack.messages, "a message")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
