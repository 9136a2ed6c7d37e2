"""The service as systemd runs it: docs/install.md carried out, a real systemd booted, the shipped unit watched."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from monitor.clock import SystemClock
from monitor.simulation.aws import AwsAccount
from monitor.simulation.mail import Mail, MailServer

ROOT = Path(__file__).parents[2]
RIG = Path(__file__).parent / "systemd_rig"
SYSTEMD = Path("/lib/systemd/systemd")
PYTHON = "/usr/bin/python3"

CONFIG = """
[monitor]
state_dir = "/var/lib/cloud-budget-monitor"
poll = "2s"

[[sources]]
name = "aws"
type = "aws_cloudwatch"

[[receivers]]
name = "oncall"
type = "email"
host = "127.0.0.1"
port = {smtp}
tls = "none"
allow_private = true
sender = "budget@example.com"
to = ["ml-leads@example.com"]

[[budgets]]
name = "training"
amount = "100"
currency = "USD"
period = "month"
receivers = ["oncall"]
thresholds = [{{ on = "actual", at = "100%", severity = "critical" }}]
"""


def why_not() -> str:
    """Why no systemd can be booted here; empty if one can."""
    if os.geteuid() != 0:
        return "needs root"
    if not SYSTEMD.exists() or shutil.which("unshare") is None:
        return "needs the Debian package systemd"
    checks = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    if subprocess.run([PYTHON, "-c", checks], capture_output=True, check=False).returncode != 0:
        return "needs the Debian packages python3 (3.11 or newer) and python3-venv"
    probe = ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        return "needs the right to make namespaces and mounts"
    return ""


pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the check inside the booted systemd wrote down."""
    rig = tmp_path_factory.mktemp("rig")
    prepare(rig)
    with AwsAccount() as aws, mail_server(rig / "mail") as mail, heartbeat_server(rig / "heartbeat") as heartbeat:
        aws.publish_charge(SystemClock().now(), "150")
        (rig / "source/config.toml").write_text(CONFIG.format(smtp=mail.port), encoding="utf-8")
        environment = {**aws.environment, "HEARTBEAT_URL": f"http://127.0.0.1:{heartbeat.server_port}/ping"}
        lines = "".join(f"{name}={value}\n" for name, value in environment.items())
        (rig / "environment").write_text(lines, encoding="utf-8")
        done = subprocess.run(
            [RIG / "boot.sh", rig], capture_output=True, text=True, check=False, timeout=500, stdin=subprocess.DEVNULL
        )
    assert (rig / "seen").exists(), done.stdout + done.stderr + log(rig, "console.log") + log(rig, "check.log")
    print(log(rig, "check.log"), log(rig, "journal.log"))
    facts = dict(line.split("=", 1) for line in log(rig, "seen").splitlines() if "=" in line)
    facts["status"] = log(rig, "status-of-nobody.json")
    return facts


def test_it_starts_and_does_a_turn(seen: dict[str, str]) -> None:
    assert seen["start"] == "active"
    assert seen["turn"]


def test_the_breach_reaches_the_receiver_once_in_spite_of_a_kill(seen: dict[str, str]) -> None:
    # The first mail is the test message of the install page.
    assert (seen["mails"], seen["mails_after_kill"]) == ("2", "2")


def test_it_runs_as_a_user_of_its_own(seen: dict[str, str]) -> None:
    assert seen["user"] not in {"root", "nobody", "UNKNOWN"}


def test_any_user_sees_the_status_and_nothing_else(seen: dict[str, str]) -> None:
    assert seen["status_of_nobody"] == "2"
    status = json.loads(seen["status"])
    assert (status["state"], status["budgets"][0]["spend"]) == ("CRITICAL", "150")
    assert (seen["runtime_directory"], seen["status_file"], seen["state_directory"]) == ("755", "644", "700")
    assert seen["nobody_reads_the_ledger"] != "0"


def test_root_can_silence_it_by_its_socket_and_others_cannot(seen: dict[str, str]) -> None:
    assert (seen["socket"], seen["silence"], seen["silenced"]) == ("600", "0", "training by alice (root)")
    assert seen["silence_of_nobody"] == "77"
    assert (seen["unsilence"], seen["mails_after_silence"]) == ("0", "3"), "that it is over and goes on is told"


def test_it_comes_back_after_sigkill(seen: dict[str, str]) -> None:
    assert (seen["restarts"], seen["another_process"], seen["turn_after_kill"]) == ("1", "yes", "yes")


def test_reload_keeps_the_process(seen: dict[str, str]) -> None:
    assert seen["reload"] == "kept"


def test_it_stops_cleanly(seen: dict[str, str]) -> None:
    assert seen["stop"] == "success 0"
    assert int(seen["stop_seconds"]) < 20


def test_a_broken_config_is_told_and_not_tried_again(seen: dict[str, str]) -> None:
    assert seen["broken_config"] == "failed 78"
    assert seen["heartbeat"] == "/ping/fail"
    assert "is down and stays down: exited 78" in seen["journal"]


def prepare(rig: Path) -> None:
    """What the rig is given: the source as it is checked out, and the commands of the install page."""
    source = rig / "source"
    for name in ("monitor", "alarms", "systemd", ".ci"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    program = "\n".join(line for line in commands_of(page, 1).splitlines() if not line.startswith("apt-get"))
    environment = "cat /rig/environment > /etc/cloud-budget-monitor/environment"
    (rig / "install.sh").write_text(
        f"set -eux\numask 022\ncd /rig/source\n{program}\n{commands_of(page, 2)}\n{environment}\n", encoding="utf-8"
    )
    (rig / "start.sh").write_text(commands_of(page, 6), encoding="utf-8")
    shutil.copy(RIG / "check.sh", rig)


def commands_of(page: str, step: int) -> str:
    """The shell commands of a numbered section."""
    section = re.search(rf"^## {step}\. .*?(?=^## )", page, re.MULTILINE | re.DOTALL)
    assert section is not None
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", section[0], re.MULTILINE | re.DOTALL))


def log(rig: Path, name: str) -> str:
    path = rig / name
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def mail_server(directory: Path) -> MailServer:
    """Each mail becomes a file, which the check inside can count."""
    directory.mkdir()

    def keep(mail: Mail) -> None:
        number = len(list(directory.iterdir()))
        (directory / f"{number}.eml").write_bytes(mail.raw)

    return MailServer(keep)


@contextmanager
def heartbeat_server(file: Path) -> Iterator[ThreadingHTTPServer]:
    """A dead man's switch: the path that was pinged last becomes the file's content."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file.write_text(self.path, encoding="utf-8")
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 named by the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
