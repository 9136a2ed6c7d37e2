"""A subscription of Pub/Sub, read without losing anything: what is not acknowledged comes again."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from alarms.clients.gcp import Doing, credentials_of, retry, status_of, translated
from monitor.errors import OutsideError

_CALL_S = 10.0
# An empty subscription answers when something comes, or not at all.
_WAIT_S = 3.0
_AT_ONCE = 1000
_TIMED_OUT = 504


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `handle`: by which it is acknowledged, until its deadline; it has another each time it comes."""

    id: str
    handle: str
    published_at: datetime
    attributes: dict[str, str]
    data: bytes


class Subscription:
    """`projects/P/subscriptions/S`. To be used for one read of `seconds`. Counts its calls."""

    def __init__(self, name: str, *, seconds: float) -> None:
        self._name = name
        self._project = name.split("/")[1]
        self._give_up_at = time.monotonic() + seconds / 2
        self._made: Any = None
        self.calls = 0

    def look(self) -> None:
        """See that it is there and answers: a pull that times out may mean that there is nothing, or nobody."""
        doing = self._doing("the question for the subscription", "pubsub.subscriptions.get")
        self.calls += 1
        with translated(doing):
            self._client(doing).get_subscription(subscription=self._name, retry=retry(_CALL_S), timeout=_CALL_S)

    def pull(self) -> list[Message]:
        """Everything that is there now, or as much of it as comes in time; each once."""
        found: dict[str, Message] = {}
        while time.monotonic() < self._give_up_at:
            fresh = [message for message in self._pull() if message.id not in found]
            if not fresh:
                break
            found |= {message.id: message for message in fresh}
        return list(found.values())

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """These need not come again."""
        self._settle("acknowledge", messages)

    def give_back(self, messages: Sequence[Message]) -> None:
        """These are to come again, at once."""
        self._settle("modify_ack_deadline", messages, ack_deadline_seconds=0)

    def close(self) -> None:
        """Let go of the connection."""
        if self._made is not None:
            self._made.transport.close()

    def _pull(self) -> Collection[Message]:
        doing = self._doing("a pull", "pubsub.subscriptions.consume")
        self.calls += 1
        try:
            with translated(doing):
                answer = self._client(doing).pull(
                    subscription=self._name, max_messages=_AT_ONCE, retry=None, timeout=_WAIT_S
                )
                return [_message(received) for received in answer.received_messages]
        except OutsideError as error:
            if status_of(error.__cause__ or error) == _TIMED_OUT:
                return []
            raise

    def _settle(self, method: str, messages: Sequence[Message], **more: Any) -> None:
        doing = self._doing("an acknowledgement", "pubsub.subscriptions.consume")
        for start in range(0, len(messages), _AT_ONCE):
            handles = [message.handle for message in messages[start : start + _AT_ONCE]]
            self.calls += 1
            with translated(doing):
                call = getattr(self._client(doing), method)
                call(subscription=self._name, ack_ids=handles, retry=retry(_CALL_S), timeout=_CALL_S, **more)

    def _client(self, doing: Doing) -> Any:
        if self._made is None:
            credentials = credentials_of(doing)
            from google.pubsub_v1 import SubscriberClient

            self._made = SubscriberClient(credentials=credentials)
        return self._made

    def _doing(self, what: str, permission: str) -> Doing:
        needs = f"{permission} on subscription {self._name}"
        return Doing(what, "Pub/Sub", "pubsub.googleapis.com", self._project, needs)


def _message(received: Any) -> Message:
    message = received.message
    return Message(
        message.message_id,
        received.ack_id,
        datetime.fromtimestamp(message.publish_time.timestamp(), UTC),
        dict(message.attributes),
        bytes(message.data),
    )
