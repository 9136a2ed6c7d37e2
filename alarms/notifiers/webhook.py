"""Any service that takes JSON by POST: the facts of a message as data, signed so that it can tell them from others'."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from alarms.clients.http import DEADLINE_S, Response, Target, is_temporary, parse_target, put_off, request
from alarms.errors import OutsideError, PermanentError, TemporaryError
from alarms.model import Forecast, Foreseen, Notification, Period, Receipt
from alarms.money import plain
from alarms.ports import Notifier
from alarms.render import Rendered, render
from alarms.secrets import Secret, SecretField, SecretRef
from alarms.settings import ReceiverSettings, short_duration
from alarms.words import clean, rfc3339

SCHEMA = 1
_MOST_HEADERS = 20
_ID_LENGTH, _TEXT_LENGTH, _MOST = 200, 1000, 1000
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?", re.ASCII)
# What frames the request, or is said by this program itself.
# fmt: off
_OURS = frozenset((
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host",
    "idempotency-key", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "x-monitor-signature",
))
# fmt: on
_PLAIN_ID = re.compile(r"[!-~]{1,128}", re.ASCII)
_OK, _REDIRECTS, _REFUSED = 200, 300, 400
# Too large, or not understood: another message may well pass.
_ABOUT_THE_MESSAGE = (413, 422)


def _headers(headers: dict[str, SecretRef]) -> dict[str, SecretRef]:
    if len(headers) > _MOST_HEADERS:
        raise ValueError(f"expected at most {_MOST_HEADERS} headers")
    names = [name.lower() for name in headers]
    for name, lower in zip(headers, names, strict=True):
        if not _HEADER.fullmatch(name):
            raise ValueError('expected names of HTTP headers, such as headers = { Authorization = "env:TOKEN" }')
        if lower in _OURS or lower.startswith("proxy-"):
            raise ValueError(f"the header {name} is set by the monitor itself; remove it")
        if names.count(lower) > 1:
            raise ValueError(f"the header {name} is given twice; keep one")
    return headers


class Settings(ReceiverSettings):
    """`secret`: what signs each request. `headers`: sent with each; their values are secrets like any other."""

    url: SecretField
    secret: SecretField | None = None
    headers: Annotated[dict[str, SecretField], AfterValidator(_headers)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _inline_values_are_usable(self) -> Self:
        if self.url.inline:
            with self.url.with_hint():
                _target(self, self.url.resolve())
        for name, reference in self.headers.items():
            if reference.inline:
                _header_value(name, reference.resolve())
        return self


def create(
    settings: Settings, *, now: Callable[[], datetime], timezone: tzinfo = UTC, deadline_s: float = DEADLINE_S
) -> Notifier:
    """Make the notifier, resolving its secrets. Raises PermanentError if one of them is missing or unusable."""
    try:
        target = _target(settings, settings.url.resolve())
        headers = {name: _header_value(name, value.resolve()) for name, value in settings.headers.items()}
    except ValueError as error:
        raise PermanentError(str(error)) from None
    secret = None if settings.secret is None else settings.secret.resolve()
    return WebhookNotifier(settings, target, secret, headers, now, timezone, deadline_s)


@dataclass(frozen=True, slots=True)
class WebhookNotifier:
    """Posts to one address."""

    settings: Settings
    target: Target
    secret: Secret | None
    headers: Mapping[str, Secret]
    now: Callable[[], datetime]
    timezone: tzinfo
    deadline_s: float

    def send(self, notification: Notification) -> Receipt:
        """Post once; any 2xx is a success."""
        now = self.now()
        rendered = render(notification, now=now, timezone=self.timezone)
        body = json.dumps(payload(notification, rendered)).encode()
        headers = {name: value.reveal() for name, value in self.headers.items()}
        headers |= {
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key(notification.id),
            "User-Agent": "cloud-budget-monitor",
        }
        if self.secret is not None:
            headers["X-Monitor-Signature"] = signature(self.secret, body, now)
        response = request(
            "POST",
            self.target,
            body=body,
            headers=headers,
            deadline_s=self.deadline_s,
            allow_private=self.settings.allow_private,
        )
        if _OK <= response.status < _REDIRECTS:
            return Receipt()
        raise _refusal(response)


def payload(notification: Notification, rendered: Rendered) -> dict[str, Any]:
    """Give the JSON that is posted, schema 1: amounts and instants as text, what is not known as null."""
    return {
        "schema": SCHEMA,
        **_message(notification),
        "possible_repeat": notification.possible_repeat,
        "instead_of": _value(notification.instead_of),
        "title": rendered.short,
        "text": rendered.text,
    }


def signature(secret: Secret, body: bytes, now: datetime) -> str:
    """`t=SECONDS,v1=HEX`: HMAC-SHA256 over the seconds, a dot and the body, so that neither can be changed."""
    seconds = int(now.timestamp())
    digest = hmac.new(secret.reveal().encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def idempotency_key(identity: str) -> str:
    """The message's id, the same at each attempt; its SHA-256 if it could not stand in a header."""
    return identity if _PLAIN_ID.fullmatch(identity) else hashlib.sha256(identity.encode(errors="replace")).hexdigest()


def _message(notification: Notification) -> dict[str, Any]:
    """Every fact by its name, so that none is left out that comes to be."""
    facts = notification.facts
    return {
        "id": clean(notification.id, _ID_LENGTH),
        "incident": clean(notification.stay or notification.id, _ID_LENGTH),
        "created_at": rfc3339(notification.created_at),
        **{field.name: _value(getattr(facts, field.name)) for field in fields(facts)},
    }


def _value(value: Any) -> Any:  # noqa: PLR0911  # one for each type that a fact may have
    match value:
        case StrEnum():
            return str(value)
        case str():
            return clean(value, _TEXT_LENGTH) or None
        case Decimal():
            return plain(value)
        case datetime():
            return rfc3339(value)
        case Period():
            return {"start": rfc3339(value.start), "end": None if value.is_open else rfc3339(value.end)}
        case Forecast() | Foreseen():
            return {field.name: _value(getattr(value, field.name)) for field in fields(value)}
        case Notification():
            return _message(value)
        case tuple():
            return [_value(one) for one in value[:_MOST]]
        case Mapping():  # burn rates by window
            return {short_duration(window): plain(rate) for window, rate in value.items()}
    return value if value is None or isinstance(value, int) else str(value)


def _target(settings: Settings, url: Secret) -> Target:
    try:
        return parse_target(url.reveal(), allow_private=settings.allow_private)
    except ValueError as error:
        raise ValueError(f"url: {error}") from None


def _header_value(name: str, value: Secret) -> Secret:
    # http.client would refuse it too, and quote it in its error.
    if not _HEADER_VALUE.fullmatch(value.reveal()):
        raise ValueError(f"the value of the header {name} is not one line of printable ASCII")
    return value


def _refusal(response: Response) -> OutsideError:
    status = response.status
    if is_temporary(status):
        return put_off("The webhook's server", response)
    if _REDIRECTS <= status < _REFUSED:
        return PermanentError(f"The webhook's server redirects (status {status}), which is not followed: fix url")
    if status in _ABOUT_THE_MESSAGE:
        return PermanentError(f"The webhook's server refused this message (status {status})", whole_receiver=False)
    if status >= _REFUSED:
        return PermanentError(
            f"The webhook's server refused the message (status {status}): check url, secret and headers"
        )
    return TemporaryError(f"The webhook's server gave no usable answer (status {status})", uncertain=True)
