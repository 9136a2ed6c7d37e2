"""Files that this user may not use, places that are gone, things that are no files: one sentence that helps."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.store import lock
from monitor.store.database import open_store
from tests.e2e.conftest import Stage
from tests.fakes.as_nobody import NOBODY, ROOT

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
COMPARE = ["compare", "--hours", "5", "--on", "aws:p4d.24xlarge"]
CONFIG = """
[monitor]
state_dir = "state"
[[sources]]
name = "aws"
type = "aws_cloudwatch"
[[budgets]]
name = "training"
amount = "1000"
currency = "USD"
period = "month"
[[plans]]
name = "tune"
budget = "training"
start = 2026-11-01T00:00:00Z
quotes = "article"
phases = [{ name = "train", on = "aws:p4d.24xlarge", hours = 5 }]
"""


def run(
    directory: Path, *arguments: str | Path, module: str = "monitor", first: str = ""
) -> subprocess.CompletedProcess[str]:
    """The command in a directory, after `first`."""
    return subprocess.run(
        ["bash", "-c", f'{first or ":"}; exec "$@"', "bash", sys.executable, "-m", module, *map(str, arguments)],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def as_nobody(directory: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run(directory, *arguments, module="tests.fakes.as_nobody")


def said(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one sentence that it ended with, under this code."""
    errors = [line for line in done.stderr.splitlines() if not line.endswith("(warning)")]
    assert (done.returncode, len(errors)) == (code, 1), (done.returncode, done.stderr)
    assert "defect" not in errors[0]
    return errors[0]


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory with a config that every user can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        (directory / "config.toml").write_text(CONFIG)
        (directory / "config.toml").chmod(0o644)
        yield directory


@pytest.fixture
def closed(public: Path) -> Path:
    """The state directory of the service, as systemd makes it."""
    open_store(public / "state").close()
    return public / "state"


@needs_root
@pytest.mark.parametrize("command", ["spend", "plan", "once", "run"])
def test_a_state_directory_of_somebody_else_is_77_and_says_what_helps(closed: Path, command: str) -> None:
    sentence = said(as_nobody(closed.parent, command), 77)
    assert str(closed) in sentence
    assert "by nobody: run it as root (sudo) or as the user that the service runs as" in sentence
    assert "remove" not in sentence


@needs_root
@pytest.mark.parametrize("command", ["plan", "once"])
def test_a_state_directory_below_a_closed_one(public: Path, command: str) -> None:
    (public / "root").mkdir(mode=0o700)
    assert "give another --state-dir" in said(as_nobody(public, command, "--state-dir", public / "root" / "state"), 77)


@needs_root
@pytest.mark.parametrize("command", ["once", "run"])
def test_a_state_directory_that_cannot_be_made(public: Path, command: str) -> None:
    assert "give another --state-dir" in said(as_nobody(public, command), 77)


@needs_root
def test_a_lock_that_root_has_left_is_given_back_and_not_removed(closed: Path) -> None:
    os.chown(closed, NOBODY, -1)
    held = lock.acquire(closed)
    try:
        assert said(as_nobody(closed.parent, "once"), 77).endswith(f"run: sudo chown -R nobody {closed}")
    finally:
        os.close(held)


@needs_root
@pytest.mark.parametrize(
    "command",
    [["spend"], ["check-config"], ["prices"], COMPARE, ["plan"]],
)
def test_a_current_directory_that_may_not_be_entered(public: Path, command: list[str]) -> None:
    (public / "root").mkdir(mode=0o700)
    assert "--config" in said(as_nobody(public / "root", *command), 77)


@needs_root
@pytest.mark.parametrize("command", [["check-config"], ["plan"], ["once"], ["prices", "--config", "config.toml"]])
def test_a_config_that_may_not_be_read_is_not_called_wrong(public: Path, command: list[str]) -> None:
    (public / "config.toml").chmod(0o600)
    done = as_nobody(public, *command)
    assert done.returncode == 77
    assert "may not be read by nobody; let this user read it or run as another" in done.stdout + done.stderr


def test_a_current_directory_that_is_gone(public: Path, tmp_path: Path) -> None:
    gone = f"mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone"
    config = public / "config.toml"
    for command in (["plan"], ["check-config"], ["prices"], COMPARE):
        done = run(tmp_path, *command, "--config", config, first=gone)
        assert (done.returncode, done.stderr.replace("\n", "").count("monitor:")) == (0, done.stderr.count("(warning)"))
    assert "nothing is stored" in said(run(tmp_path, "spend", "--config", config, first=gone), 65)
    assert "the current directory is gone" in said(run(tmp_path, "spend", "--config", "config.toml", first=gone), 78)
    assert "the current directory is gone" in said(run(tmp_path, "spend", "--state-dir", "state", first=gone), 78)
    nowhere = said(run(tmp_path, "plan", first=gone), 78)
    assert "there is no config" in nowhere
    assert "or write one: monitor demo --write-config config.toml" in nowhere


@pytest.mark.parametrize("command", [["spend"], ["silence", "training", "--for", "4h"]])
def test_a_store_that_is_empty_or_no_file(public: Path, command: list[str]) -> None:
    ledger = public / "state" / "ledger.db"
    ledger.parent.mkdir(mode=0o700)
    ledger.touch(0o600)
    assert "nothing is stored in" in said(run(public, *command), 65)
    assert run(public, "plan").returncode == 0
    ledger.unlink()
    ledger.mkdir()
    assert "is not a regular file, so it is no store; move it away" in said(run(public, *command), 78)


@pytest.mark.parametrize("command", [["prices"], COMPARE])
def test_a_config_that_was_named_must_be_there(tmp_path: Path, command: list[str]) -> None:
    assert "no such file" in said(run(tmp_path, *command, "--config", tmp_path / "nix.toml"), 78)
    assert "not a regular file; give the path of a config.toml" in said(
        run(tmp_path, *command, "--config", tmp_path), 78
    )


def test_prices_that_are_a_directory(public: Path) -> None:
    (public / "prices.toml").mkdir()
    assert "not a regular file; write your quotes into a file of that name" in said(run(public, "prices"), 78)


@needs_root
def test_a_disk_that_takes_no_writes_is_called_that(closed: Path) -> None:
    subprocess.run(["mount", "--bind", str(closed), str(closed)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(closed)], check=True)
        done = run(closed.parent, "silence", "training", "--for", "4h")
    finally:
        subprocess.run(["umount", "-l", str(closed)], check=True)
    assert "is on a read-only file system" in said(done, 75)


@needs_root
@pytest.mark.slow
@pytest.mark.parametrize("each", ["", 'each = "account"\n'])
def test_twins_are_made_and_drilled_by_an_account_that_the_state_is_closed_to(
    stage: Stage, public: Path, each: str
) -> None:
    """The account that applies need not be the daemon's."""
    stage.aws.let_budgets_publish(stage.topic)
    stage.write_config(by='by = ["account"]', more=f"native = true\n{each}")
    open_store(stage.state).close()
    config = public / "config.toml"
    config.write_text(stage.config.read_text().replace('state_dir = "state"', f'state_dir = "{stage.state}"'))

    def do(what: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fakes.as_nobody", "--config", str(config), "alarms", what],
            env=stage.environment, text=True, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, "\n".join(line for line in done.stderr.splitlines() if line.startswith("monitor: "))

    closed = f"{stage.state}/ledger.db may not be looked at by nobody: "
    if each:
        code, left_out = do("apply")
        assert code == 0
        assert left_out.startswith(f"monitor: the budgets made by `each` are left out: {closed}")
        return
    code, unknown = do("apply")
    assert code == 0
    assert unknown.startswith(f"monitor: `status` does not know of this yet: {closed}")
    assert do("plan")[0] == 0
    code, unknown = do("drill")
    assert code == 0
    assert unknown.startswith(f"monitor: `status` does not know of this yet: {closed}")
    assert len(stage.slack.messages) == 1
