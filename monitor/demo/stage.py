"""Where the demo plays: a simulated AWS account, Slack and mail on loopback, and between them the real monitor."""

from __future__ import annotations

import html
import os
import re
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from alarms.model import Period
from alarms.money import total
from monitor import spend
from monitor.app import App
from monitor.clock import FixedClock
from monitor.config import load
from monitor.cycle import TurnReport
from monitor.demo import story
from monitor.simulation.aws import AwsAccount, Delivered
from monitor.simulation.mail import Mail, MailServer
from monitor.simulation.slack import SlackServer
from monitor.status.judge import judge
from monitor.status.place import Place
from monitor.status.render import render
from monitor.status.stored import lock_is_held, read
from monitor.store.database import open_reading, open_store

_CONFIG = """\
[monitor]
state_dir = "state"

[[sources]]
name = "aws"
type = "aws_cloudwatch"
every = "6h"
by = ["service"]
backfill = "1d"

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
"""
_DELIVERY_LIMIT = timedelta(seconds=30)
_STOP_LIMIT = timedelta(seconds=5)
# The status is asked for a little after the turn, as people do.
_ASKED_AFTER = timedelta(minutes=2)
_ID = re.compile(r"^Id: (\S+)", re.MULTILINE)
# Fields of a Slack message that are shown of it.
_FIELDS = ("Spent", "Data", "What")


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message as it came out at the other side: its first line, and what else a phone shows of it."""

    id: str
    where: str
    headline: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one turn did, what arrived because of it, and the status (as `status --json` has it) after it."""

    report: TurnReport
    arrived: tuple[Arrived, ...]
    status: dict[str, Any]


class Stage:
    """A context manager. It sets variables in `os.environ`: whoever enters it puts them back."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._clock = FixedClock(story.MONTH.start)
        # How many of Slack's, the mail server's and the topic's messages have been shown.
        self._shown = [0, 0, 0]

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            self.directory = Path(opening.enter_context(tempfile.TemporaryDirectory(prefix="monitor-demo-")))
            self.aws = opening.enter_context(AwsAccount())
            self.slack = opening.enter_context(SlackServer())
            self.mail = opening.enter_context(MailServer())
            self.topic = self.aws.create_topic("budgets")
            os.environ.update(self.aws.environment, SLACK_WEBHOOK=self.slack.url)
            self._app = self._start(opening)
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

    def publish(self, at: datetime, bill: dict[str, Decimal]) -> None:
        """Publish the month to date: each service, and the total."""
        for service, value in bill.items():
            self.aws.publish_charge(at, value, service=service)
        self.aws.publish_charge(at, total(bill.values()))

    def turn(self, now: datetime) -> Outcome:
        """Let the monitor do a turn at that instant and send what it owes. Raises UserError."""
        self._clock.instant = now
        report = self._app.turn(now)
        if report.notifications:
            self._app.deliver(report, _DELIVERY_LIMIT)
        return Outcome(report, self._arrived(), self._status())

    def status_text(self, *, colour: bool) -> str:
        """What `monitor status` says now."""
        return render(self._status(), colour=colour)

    def spend_text(self, period: Period) -> str:
        """What `monitor spend --by service` says now."""
        with open_reading(self.state) as connection:
            rows = spend.read(connection, "service", period)
        return spend.as_table(rows, "service", period, self._clock.instant)

    def _start(self, opening: ExitStack) -> App:
        path = self.directory / "config.toml"
        settings = {"mail_port": self.mail.port, "topic": self.topic}
        path.write_text(_CONFIG.format(**settings, amount=story.BUDGET, currency=story.CURRENCY), encoding="utf-8")
        store = opening.enter_context(open_store(self.state))
        app = App(load(path), store, self._clock)
        opening.callback(app.stop, _STOP_LIMIT)
        return app

    def _status(self) -> dict[str, Any]:
        place = Place(str(self.state), system=False)
        stored = read(place)
        asked = self._clock.instant + _ASKED_AFTER
        running = lock_is_held(place)
        return judge(stored.document, asked, running=running, receivers=stored.receivers, trouble=stored.trouble)

    def _arrived(self) -> tuple[Arrived, ...]:
        """What the three have got since the last time."""
        boxes = (
            [_posted(payload) for payload in self.slack.messages],
            [_mailed(mail) for mail in self.mail.mails],
            [_published(message) for message in self.aws.delivered(self.topic)],
        )
        new = tuple(message for box, shown in zip(boxes, self._shown, strict=True) for message in box[shown:])
        self._shown = [len(box) for box in boxes]
        return new


def _posted(payload: dict[str, Any]) -> Arrived:
    """Slack: its text is what the notification on a phone shows; some of the fields below it."""
    texts = [field["text"] for block in payload["blocks"] for field in block.get("fields", ())]
    # *Label*, a new line, the value: bold above plain.
    fields = [html.unescape(re.sub(r"^\*(.+)\*\n", r"\1: ", text)) for text in texts]
    context = "\n".join(part["text"] for block in payload["blocks"] for part in block.get("elements", ()))
    shown = tuple(field for field in fields if field.startswith(_FIELDS))
    return Arrived(_id(context), "Slack", html.unescape(payload["text"]), shown)


def _mailed(mail: Mail) -> Arrived:
    return Arrived(_id(mail.message.get_content()), "e-mail", str(mail.message["Subject"]))


def _published(message: Delivered) -> Arrived:
    return Arrived(message.attributes["id"], "SNS", message.subject or "")


def _id(text: str) -> str:
    found = _ID.search(text)
    return found[1] if found else ""
