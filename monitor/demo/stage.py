"""Where the demo plays: clouds and inboxes on loopback, and between them the real monitor in a process of its own."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from alarms.model import Period
from monitor import spend
from monitor.demo import story
from monitor.demo.clouds import SCOPE, TABLE, Clouds
from monitor.demo.inboxes import Arrived, Inboxes
from monitor.demo.process import Done, MonitorProcess
from monitor.status.judge import judge
from monitor.status.place import Place
from monitor.status.render import render
from monitor.status.stored import daemon_runs, read
from monitor.store.database import open_reading

_CONFIG = """\
[monitor]
state_dir = "state"

[[sources]]
name = "aws"
type = "aws_cloudwatch"
every = "6h"
by = ["service"]
backfill = "1d"

[[sources]]
name = "gcp"
type = "gcp_billing_export"
every = "12h"
table = "{table}"
by = ["service"]
backfill = "1d"
billing_endpoint = "{gcp}"
native_endpoint = "{gcp}"

[[sources]]
name = "azure"
type = "azure_cost"
every = "12h"
scope = "{scope}"
by = ["service"]
backfill = "1d"
endpoint_url = "{azure}"

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
currency = "{currency}"
period = "month"
receivers = ["oncall", "mail", "topic"]
repeat = {{ critical = "7d", warning = "never" }}
thresholds = [
  {{ on = "actual", at = "80%", severity = "warning" }},
  {{ on = "actual", at = "100%", severity = "critical" }},
]

[[budgets]]
name = "run-on-aws"
amount = "{aws_amount}"
currency = "{currency}"
period = "month"
scope = {{ source = "aws" }}
receivers = ["oncall", "mail", "topic"]
repeat = {{ critical = "7d", warning = "never" }}
thresholds = [{{ on = "actual", at = "100%", severity = "critical" }}]
native = true
"""
# The status is asked for a little after the turn, as people do.
_ASKED_AFTER = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a moment, and the status (as `status --json` has it) after it.

    `done`: by the monitor; nothing while it is dead. `rung`: alarms of AWS that changed: (name, old state, new state).
    """

    done: Done
    rung: tuple[tuple[str, str, str], ...]
    arrived: tuple[Arrived, ...]
    status: dict[str, Any]


class Stage:
    """A context manager. The monitor is started, killed and started again by whoever plays on it.

    `environment`: that of its process.
    """

    def __init__(self) -> None:
        self._open = ExitStack()
        self._now = story.MONTH.start
        self._monitor: MonitorProcess | None = None

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self.directory = Path(opening.enter_context(tempfile.TemporaryDirectory(prefix="monitor-demo-")))
            self.clouds = opening.enter_context(Clouds(self.directory))
            self.inboxes = opening.enter_context(Inboxes())
            opening.callback(self._stop)
            self.environment = {
                **os.environ,
                **self.clouds.environment(),
                "SLACK_WEBHOOK": self.inboxes.slack.url,
            }
            self._write_config()
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def state(self) -> Path:
        """The state directory, which every other command could be pointed at."""
        return self.directory / "state"

    def start(self) -> None:
        """Start the monitor's process."""
        self._monitor = MonitorProcess(self.directory / "config.toml", self.environment)

    def kill(self) -> int:
        """`kill -9` of the monitor; the number that its process had."""
        if self._monitor is None:
            raise RuntimeError("there is no monitor to kill")
        pid = self._monitor.pid
        self._monitor.kill()
        self._monitor = None
        return pid

    def play(self, moment: story.Moment) -> Outcome:
        """Let clouds publish, AWS judge its alarms, and the monitor, if it lives, do a turn and send what it owes."""
        self._now = moment.turn_at
        self.clouds.publish(moment)
        done = Done() if self._monitor is None else self._monitor.turn(moment.turn_at)
        rung = tuple(self.clouds.judge(moment.turn_at))
        return Outcome(done, rung, self.inboxes.new(self.clouds.aws, self.clouds.topic), self._status())

    def apply_text(self) -> str:
        """Let the monitor make its twins; what `monitor alarms apply` says of that."""
        if self._monitor is None:
            raise RuntimeError("there is no monitor")
        return self._monitor.apply(self._now)

    def status_text(self, *, colour: bool) -> str:
        """What `monitor status` says now."""
        return render(self._status(), colour=colour)

    def spend_text(self, period: Period) -> str:
        """What `monitor spend --by source` says now."""
        with open_reading(self.state) as connection:
            rows = spend.read(connection, "source", period)
        return spend.as_table(rows, "source", period, self._now)

    def _write_config(self) -> None:
        path = self.directory / "config.toml"
        text = _CONFIG.format(
            table=TABLE,
            scope=SCOPE,
            gcp=self.clouds.gcp.url,
            azure=self.clouds.azure.url,
            mail_port=self.inboxes.mail.port,
            topic=self.clouds.topic,
            amount=story.BUDGET,
            aws_amount=story.AWS_BUDGET,
            currency=story.CURRENCY,
        )
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)

    def _stop(self) -> None:
        if self._monitor is not None:
            self._monitor.stop()

    def _status(self) -> dict[str, Any]:
        place = Place(str(self.state), system=False)
        stored = read(place)
        asked = self._now + _ASKED_AFTER
        running = daemon_runs(place, stored.document)
        return judge(stored.document, asked, running=running, receivers=stored.receivers, trouble=stored.trouble)
