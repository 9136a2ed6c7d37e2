"""PagerDuty, by its Events API v2: an alarm opens an incident, its end resolves the same one."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any

from pydantic import AfterValidator, model_validator

from alarms.clients.http import DEADLINE_S, Response, Target, is_temporary, parse_target, put_off, request
from alarms.errors import AccessError, OutsideError, PermanentError, TemporaryError
from alarms.model import Kind, Notification, Receipt
from alarms.ports import Notifier
from alarms.render import Rendered, render
from alarms.secrets import Secret, SecretField
from alarms.settings import ReceiverSettings
from alarms.words import clean, rfc3339

URL = "https://events.pagerduty.com/v2/enqueue"
CLIENT = "cloud-budget-monitor"
_HOSTS = ("events.pagerduty.com", "events.eu.pagerduty.com")
_KEY = re.compile(r"[A-Za-z0-9]{32}", re.ASCII)
_PRINTABLE = re.compile(r"[!-~]{1,255}", re.ASCII)
# https://developer.pagerduty.com/docs/events-api-v2: summary 1024 characters, dedup_key 255, an event 512 KB.
_SUMMARY_LENGTH, _DEDUP_LENGTH = 1024, 255
_DETAIL_LENGTH, _MOST_DETAILS, _MORE_LENGTH = 1000, 25, 25_000
# By name, since more kinds may follow; of one that nobody foresaw, it is safer to page than not to.
_NO_ALARM = ("TEST", "SUMMARY")
_ACCEPTED = 202
_REDIRECTS, _BAD_REQUEST, _NO_ACCESS = 300, 400, (401, 403)
_ABOUT_THE_MESSAGE = (400, 413)
# {"status": "invalid event", "errors": ["Length of 'routing_key' is incorrect (should be 32 characters)"]}, or as text.
_ABOUT_THE_KEY = (b"'routing_key'", b"invalid routing key")


def _url(text: str) -> str:
    # Here, so that the error names this key; whether the host may be another one depends on `allow_private`.
    try:
        parse_target(text, allow_private=True)
    except ValueError as error:
        raise ValueError(f"url: {error}") from None
    return text


class Settings(ReceiverSettings):
    """`routing_key`: the integration key of a service. `url`: one of PagerDuty's, or any with `allow_private`."""

    routing_key: SecretField
    url: Annotated[str, AfterValidator(_url)] = URL

    @model_validator(mode="after")
    def _are_pagerdutys(self) -> Settings:
        if not self.allow_private:
            target = parse_target(self.url, allow_private=True)
            if (target.scheme, target.port) != ("https", 443) or target.host not in _HOSTS:
                raise ValueError(
                    f"url is not one of PagerDuty's: expected {URL} or https://events.eu.pagerduty.com/v2/enqueue, "
                    "or allow_private = true for a server of your own"
                )
        if self.routing_key.inline:
            with self.routing_key.with_hint():
                _routing_key(self, self.routing_key.resolve())
        return self


def create(
    settings: Settings, *, now: Callable[[], datetime], timezone: tzinfo = UTC, deadline_s: float = DEADLINE_S
) -> Notifier:
    """Make the notifier, resolving its secret. Raises PermanentError if that is missing or no integration key."""
    try:
        key = _routing_key(settings, settings.routing_key.resolve())
    except ValueError as error:
        raise PermanentError(str(error)) from None
    target = parse_target(settings.url, allow_private=settings.allow_private)
    return PagerDutyNotifier(settings, target, key, now, timezone, deadline_s)


@dataclass(frozen=True, slots=True)
class PagerDutyNotifier:
    """Sends events to one integration."""

    settings: Settings
    target: Target
    routing_key: Secret
    now: Callable[[], datetime]
    timezone: tzinfo
    deadline_s: float
    # How many events of a message PagerDuty has taken, while others of it have failed.
    taken: dict[str, int] = field(default_factory=dict)

    def send(self, notification: Notification) -> Receipt:
        """Send the event, and those that belong to it; what was taken of them is not sent again."""
        rendered = render(notification, now=self.now(), timezone=self.timezone)
        sent = events(notification, rendered)
        ends = time.monotonic() + self.deadline_s
        taken = self.taken.pop(notification.id, 0)
        for number, one in enumerate(sent[taken:], taken):
            try:
                self._post(one, ends - time.monotonic())
            except TemporaryError as error:
                self.taken[notification.id] = number
                # What is in part there has to stay the message that it is.
                uncertain = error.uncertain or number > 0
                raise TemporaryError(str(error), retry_after=error.retry_after, uncertain=uncertain) from error
        # Ours, not what was answered: that could be anything.
        return Receipt(remote_id=dedup_key(notification))

    def _post(self, sent: dict[str, Any], left_s: float) -> None:
        if left_s < self.deadline_s / 10:
            raise TemporaryError("PagerDuty took some of the events that belong together; the rest follows")
        response = request(
            "POST",
            self.target,
            # Not in ASCII, where a character may take twelve bytes: it has to stay below PagerDuty's limit.
            body=json.dumps({"routing_key": self.routing_key.reveal(), **sent}, ensure_ascii=False).encode(),
            headers={"Content-Type": "application/json"},
            deadline_s=left_s,
            allow_private=self.settings.allow_private,
        )
        if response.status != _ACCEPTED:
            raise _refusal(response)


def events(notification: Notification, rendered: Rendered) -> list[dict[str, Any]]:
    """Give the events of a message, without their routing key.

    FIRING and its repeats trigger, RESOLVED resolves, with one key for all: PagerDuty adds a repeat to the open
    incident, and drops the end of one that it does not know. So what PagerDuty has not heard of before is opened first,
    as is what is no alarm, and resolved at once. A digest opens one incident, and resolves those of its alarms that are
    over.
    """
    facts = notification.facts
    over = [_end(each) for each in facts.held if each.facts.kind is Kind.RESOLVED]
    if facts.kind is Kind.RESOLVED and not _is_passed(notification):
        return over or [{**_end(notification), **_said(notification, rendered)}]
    opened = {"event_action": "trigger", "dedup_key": dedup_key(notification), **_said(notification, rendered)}
    return [opened, *([_end(notification)] if _is_passed(notification) else []), *over]


def _is_passed(notification: Notification) -> bool:
    """Whether it is worth a word, but nobody has to do anything."""
    facts = notification.facts
    if facts.kind is not Kind.RESOLVED:
        return facts.kind.value in _NO_ALARM
    return any(each.facts.over_until is not None for each in (notification, *facts.held))


def _end(notification: Notification) -> dict[str, Any]:
    return {"event_action": "resolve", "dedup_key": dedup_key(notification)}


def _said(notification: Notification, rendered: Rendered) -> dict[str, Any]:
    facts = notification.facts
    return {
        "client": CLIENT,
        "payload": {
            "summary": clean(rendered.short, _SUMMARY_LENGTH),
            "source": clean(facts.budget or "", 255) or CLIENT,
            "severity": "info" if _is_passed(notification) else str(facts.severity),
            "timestamp": rfc3339(notification.created_at),
            "class": str(facts.reason),
            "custom_details": _details(rendered),
        },
    }


def dedup_key(notification: Notification) -> str:
    """`episode/level`; its SHA-256 if it is too long or not printable ASCII."""
    key = notification.stay or notification.id
    if len(key) <= _DEDUP_LENGTH and _PRINTABLE.fullmatch(key):
        return key
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def _details(rendered: Rendered) -> dict[str, str]:
    details: dict[str, str] = {}
    for line in rendered.lines[:_MOST_DETAILS]:
        before = f"{details[line.label]}; " if line.label in details else ""
        details[line.label] = clean(before + line.value, _DETAIL_LENGTH)
    if rendered.see:
        details["See"] = clean("; ".join(rendered.see), _DETAIL_LENGTH)
    # A list, say, that a message of many alarms has.
    told = {rendered.headline, *rendered.notes, *(f"{line.label}: {line.value}" for line in rendered.lines)}
    told |= {"", "See:", f"Id: {rendered.id}", *(f"  {command}" for command in rendered.see)}
    if more := "\n".join(line for line in rendered.text.splitlines() if line not in told):
        details["More"] = more if len(more) <= _MORE_LENGTH else f"{more[:_MORE_LENGTH]}..."
    return {**details, "Id": rendered.id}


def _routing_key(settings: Settings, key: Secret) -> Secret:
    expected = _PRINTABLE if settings.allow_private else _KEY
    if not expected.fullmatch(key.reveal()):
        raise ValueError(
            "routing_key is not an integration key: expected the 32 letters and digits of an integration of the type "
            "Events API v2 (a key of the REST API will not do)"
        )
    return key


def _refusal(response: Response) -> OutsideError:
    status = response.status
    if is_temporary(status):
        return put_off("PagerDuty", response)
    # Its own words are never shown: they may hold the key.
    about_the_key = any(words in response.body.lower() for words in _ABOUT_THE_KEY)
    if status in _NO_ACCESS or (status == _BAD_REQUEST and about_the_key):
        return AccessError(f"PagerDuty does not accept the routing_key (status {status}): create a new integration")
    if status in _ABOUT_THE_MESSAGE:
        return PermanentError(f"PagerDuty refused this message (status {status})", whole_receiver=False)
    if status >= _BAD_REQUEST:
        return PermanentError(f"PagerDuty refused the message (status {status}): check url and routing_key")
    if status >= _REDIRECTS:
        return PermanentError(f"PagerDuty's server redirects (status {status}), which is not followed: fix url")
    return TemporaryError(
        f"The answer (status {status}) is not one of PagerDuty's: a proxy or portal may stand in between",
        uncertain=True,
    )
