"""What has really arrived, where people read it: Slack, a mailbox, an SNS topic."""

from __future__ import annotations

import html
import json
import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

from monitor.simulation.aws import AwsAccount, Delivered
from monitor.simulation.mail import Mail, MailServer
from monitor.simulation.slack import SlackServer

_ID = re.compile(r"^Id: (\S+)", re.MULTILINE)
# Fields of a Slack message that are shown of it.
_FIELDS = ("Spent", "Data", "What")


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message as it came out at the other side: its first line, and what else a phone shows of it.

    `id`: ours; "" if it was not the monitor that sent it.
    """

    id: str
    where: str
    headline: str
    details: tuple[str, ...] = ()


class Inboxes:
    """A context manager: Slack and a mail server are served on loopback."""

    def __init__(self) -> None:
        self.slack = SlackServer()
        self.mail = MailServer()
        self._open = ExitStack()
        # How many messages of each have been shown.
        self._shown = [0, 0, 0]

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.enter_context(self.slack)
            opening.enter_context(self.mail)
            self._open = opening.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._open.close()

    def new(self, aws: AwsAccount, topic: str) -> tuple[Arrived, ...]:
        """What the three have got since the last time."""
        boxes = (
            [_posted(payload) for payload in self.slack.messages],
            [_mailed(mail) for mail in self.mail.mails],
            [_published(message) for message in aws.delivered(topic)],
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
    if "id" in message.attributes:
        return Arrived(message.attributes["id"], "SNS", message.subject or "")
    said = json.loads(message.message)
    return Arrived("", "SNS", message.subject or "", (said["AlarmDescription"], said["NewStateReason"]))


def _id(text: str) -> str:
    found = _ID.search(text)
    return found[1] if found else ""
