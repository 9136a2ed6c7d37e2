"""The real `monitor demo`, for users whose environment is set up for everything but a demo."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from monitor.demo import story

ROOT = Path(__file__).parents[2]
LIMIT_S = 60
DAY = re.compile(r"^\w{3} [ \d]\d \w{3} \d\d:15 .{25} +([\d,.]+) +(\d+)% (\w+)", re.MULTILINE)
# Notes every address that is not on loopback, and every name that would be looked up.
WATCH = """
import os, sys
def watch(event, arguments):
    if event == "socket.getaddrinfo":
        address = arguments[0]
    elif event in ("socket.connect", "socket.bind", "socket.sendto") and isinstance(arguments[1], tuple):
        address = arguments[1][0]
    else:
        return
    if address not in ("127.0.0.1", "localhost", "::1"):
        with open(os.environ["SEEN_OUTSIDE"], "a") as file:
            file.write(f"{event} {address}\\n")
sys.addaudithook(watch)
"""


@dataclass
class Home:
    """Directories of a user in which nothing may be left, and an environment that must not be used."""

    directory: Path
    environment: dict[str, str]

    @property
    def temporary(self) -> Path:
        return self.directory / "tmp"

    @property
    def working(self) -> Path:
        return self.directory / "work"

    @property
    def outside(self) -> Path:
        return self.directory / "outside"

    def start(self, *arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "monitor", "demo", *arguments],
            cwd=self.working,
            env=self.environment,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def assert_untouched(self) -> None:
        ours = str(self.temporary)
        assert [command for command in running() if ours in command] == []
        assert [path.name for path in self.temporary.iterdir()] == []
        assert [path.name for path in self.working.iterdir()] == []
        assert not self.outside.exists(), self.outside.read_text()


def running() -> Iterator[str]:
    """The command lines of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            yield path.read_bytes().decode(errors="replace")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    for name in ("tmp", "work", "watch", ".aws"):
        (tmp_path / name).mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    (tmp_path / ".aws" / "config").write_text("[default\nthis is broken")
    (tmp_path / ".config" / "gcloud").mkdir(parents=True)
    (tmp_path / ".config" / "gcloud" / "application_default_credentials.json").write_text("{broken")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path / "tmp"),
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "PYTHONPATH": os.pathsep.join((str(tmp_path / "watch"), str(ROOT))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SEEN_OUTSIDE": str(tmp_path / "outside"),
        "AWS_PROFILE": "nonexistent",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL_SNS": "http://127.0.0.1:9",
        "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/none",
        "GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent",
        "GOOGLE_CLOUD_PROJECT": "mine",
        "GOOGLE_CLOUD_QUOTA_PROJECT": "mine",
        "CLOUDSDK_CONFIG": "/nonexistent",
        "CLOUDSDK_CORE_PROJECT": "mine",
        "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:9",
        "PUBSUB_EMULATOR_HOST": "127.0.0.1:9",
        "AZURE_TENANT_ID": "99999999-9999-9999-9999-999999999999",
        "AZURE_CLIENT_ID": "mine",
        "AZURE_CLIENT_SECRET": "mine",
        "AZURE_AUTHORITY_HOST": "https://127.0.0.1:9",
        "AZURE_TOKEN_CREDENTIALS": "AzureCliCredential",
        "REQUESTS_CA_BUNDLE": "/nonexistent",
        "SSL_CERT_FILE": "/nonexistent",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
        "MONITOR_CONFIG": "/nonexistent",
        "STATE_DIRECTORY": "/nonexistent",
        "RUNTIME_DIRECTORY": "/nonexistent",
    }
    return Home(tmp_path, environment)


def cards(output: str) -> Iterator[list[tuple[str, str]]]:
    """The messages of each card: where they arrived, and their first line with its continuation."""
    card: list[tuple[str, str]] = []
    for line in output.splitlines():
        named = re.fullmatch(r"    │ (Slack|e-mail|SNS) +(.+)", line)
        if named and named[1] == "Slack" and card:
            yield card
            card = []
        if named:
            card.append((named[1], named[2]))
        elif not line.startswith("    │") and card:
            yield card
            card = []


@pytest.mark.slow
def test_a_month_is_played_whatever_the_user_has_set_up_and_nothing_is_left_of_it(home: Home) -> None:
    begun = time.monotonic()
    process = home.start("--fast")
    output, complaints = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, complaints) == (0, "")
    assert time.monotonic() - begun < LIMIT_S
    home.assert_untouched()

    assert "\x1b" not in output
    assert max(len(line) for line in output.splitlines()) <= 80

    told = list(cards(output))
    (twin,) = [card for card in told if len(card) == 1]
    assert twin[0][1].startswith('ALARM: "cloud-budget-monitor/run-on-aws/actual-100pct-critical"')
    ours = [card for card in told if card is not twin]
    assert [[where for where, _ in card] for card in ours] == [["Slack", "e-mail", "SNS"]] * len(ours)
    assert all(len({text for _, text in card}) == 1 for card in ours), "one message, the same words everywhere"
    assert [card[0][1] for card in told] == [
        "WARNING training: 20,041.68 of 25,000.00 USD spent, over 80%",
        "CRITICAL: Source aws is stale",
        "CRITICAL training: 25,349.64 of 25,000.00 USD spent, over 100%",
        "RESOLVED: source aws is no longer stale",
        twin[0][1],
        "CRITICAL run-on-aws: 18,387.36 of 18,000.00 USD spent, over 100%",
    ]

    days = [(Decimal(spend.replace(",", "")), int(share), state) for spend, share, state in DAY.findall(output)]
    published = {sum(story.spent(moment.at).values()) for moment in story.moments() if moment.watched}
    assert {spend for spend, _, _ in days} <= published
    assert all(share == spend * 100 // 25000 for spend, share, _ in days)
    assert {"OK", "WARNING", "CRITICAL"} == {state for _, _, state in days}
    assert "aws LATE" in output
    assert "aws STALE" in output

    before, killed, after = output.partition("$ kill -9 ")
    assert killed
    assert "no monitor" not in before
    dead = [line for line in after.splitlines() if line.endswith("no monitor")]
    assert len(dead) >= 4
    assert all("27,710.16 110% CRITICAL" in line for line in dead), "the last figure that anybody read"

    spend, _, status = output.partition("$ monitor spend")[2].partition("$ monitor status")
    rows = dict(re.findall(r"^(aws|gcp|azure|total) +([\d,.]+) USD", spend, re.MULTILINE))
    # 528 h x 32.77 + 500 h x 0.90 + 570 h x 1.15; 72 h x 36.48 + 558 h x 1.00; 252 h x 34.50 + 558 h x 0.50.
    assert rows == {"aws": "18,408.06", "gcp": "3,184.56", "azure": "8,973.00", "total": "30,565.62"}
    assert "30,565.62 of 25,000.00 USD" in status
    assert "IN_SYNC   run-on-aws" in status
    assert "monitor demo --write-config config.toml" in output
    assert "docs/install.md" in output


def test_ctrl_c_on_a_terminal_ends_it_with_a_sentence_and_leaves_nothing(home: Home) -> None:
    ours, theirs = pty.openpty()
    process = home.start("--fast", stdout=theirs)
    os.close(theirs)
    output = ""
    deadline = time.monotonic() + LIMIT_S
    while "\x1b[32mOK" not in output and time.monotonic() < deadline:
        output += os.read(ours, 65536).decode(errors="replace")
    process.send_signal(signal.SIGINT)
    try:
        while chunk := os.read(ours, 65536):
            output += chunk.decode(errors="replace")
    except OSError:  # how Linux reports that the other end is closed
        os.close(ours)
    _, complaints = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, complaints) == (130, "")
    assert output.endswith("The demo was stopped; nothing of it is left behind.\r\n")
    home.assert_untouched()


@pytest.mark.parametrize("how", ["kill", "head"])
def test_it_cleans_up_when_it_is_killed_or_its_reader_goes(home: Home, how: str) -> None:
    process = home.start("--fast")
    assert process.stdout is not None
    assert process.stderr is not None
    while "the run starts" not in process.stdout.readline():
        assert process.poll() is None
    if how == "kill":
        process.terminate()
    else:
        process.stdout.close()
    complaints = process.stderr.read()
    assert (process.wait(LIMIT_S), complaints) == ({"kill": 130, "head": 0}[how], "")
    if how == "kill":
        process.stdout.close()
    process.stderr.close()
    home.assert_untouched()


def test_a_missing_package_is_one_sentence_with_the_remedy(home: Home) -> None:
    (home.directory / "watch" / "sitecustomize.py").write_text("import sys\nsys.modules['moto'] = None\n")
    process = home.start("--fast")
    output, complaints = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, output) == (69, "")
    assert complaints == "monitor: The demo needs the package moto: pip install 'cloud-budget-monitor[demo]'\n"
    home.assert_untouched()
