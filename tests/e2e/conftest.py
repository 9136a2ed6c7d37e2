"""A stage for the real process: an AWS account, Slack and mail on loopback, and a config that names them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from monitor.simulation.aws import AwsAccount
from monitor.simulation.mail import MailServer
from monitor.simulation.slack import SlackServer

CONFIG = """
[monitor]
state_dir = "state"
poll = "1s"

[[sources]]
name = "aws"
type = "aws_cloudwatch"
every = "1s"
{by}

[[receivers]]
name = "oncall"
type = "slack"
webhook_url = "env:SLACK_WEBHOOK"
allow_private = true
[[receivers]]
name = "mail"
type = "email"
host = "127.0.0.1"
port = {mail_port}
tls = "none"
allow_private = true
sender = "budget@example.com"
to = ["ml-leads@example.com"]
[[receivers]]
name = "topic"
type = "sns"
topic_arn = "{topic}"

[[budgets]]
name = "training"
amount = "{amount}"
currency = "USD"
period = "month"
receivers = ["oncall", "mail", "topic"]
thresholds = [
  {{ on = "actual", at = "80%", severity = "warning" }},
  {{ on = "actual", at = "100%", severity = "critical" }},
]
"""


@dataclass
class Stage:
    """The world around the process, and ways to run it."""

    directory: Path
    aws: AwsAccount
    slack: SlackServer
    mail: MailServer
    topic: str
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.directory / "config.toml"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    def write_config(self, *, amount: str = "1000", by: str = "", more: str = "") -> None:
        text = CONFIG.format(amount=amount, by=by, mail_port=self.mail.port, topic=self.topic)
        self.config.write_text(text + more)
        self.config.chmod(0o600)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "monitor", "--config", str(self.config), *arguments]

    def run(self, *arguments: str, limit: float = 60, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=limit,
            check=False,
            **more,
        )

    def once(self, as_of: datetime | str) -> dict[str, Any]:
        at = as_of if isinstance(as_of, str) else as_of.isoformat()
        done = self.run("once", "--json", "--as-of", at)
        assert done.returncode in (0, 75), done.stderr[-3000:]
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*(arguments or ("run",))),
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with AwsAccount() as aws, SlackServer() as slack, MailServer() as mail:
        made = Stage(tmp_path, aws, slack, mail, aws.create_topic("budgets"))
        made.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MONITOR_"))},
            **aws.environment,
            "MONITOR_DEBUG": "1",
            "SLACK_WEBHOOK": slack.url,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "NO_PROXY": "127.0.0.1",
        }
        made.write_config()
        yield made


@pytest.fixture
def daemon(stage: Stage) -> Iterator[list[subprocess.Popen[str]]]:
    """Daemons started by a test; whatever is left of them is ended."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
