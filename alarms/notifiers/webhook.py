"""Any service that takes JSON by POST: the facts of a message as data, signed so that it can tell them from others'."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from alarms.clients.http import DEADLINE_S, Response, Target, is_temporary, parse_target, put_off, request
from alarms.errors import OutsideError, PermanentError, TemporaryError
from alarms.model import Facts, Notification, Period, Receipt
from alarms.money import plain
from alarms.ports import Notifier
from alarms.render import Rendered, render
from alarms.secrets import Secret, SecretField, SecretRef
from alarms.settings import ReceiverSettings
from alarms.words import clean, rfc3339

SCHEMA = 1
_MOST_HEADERS = 20
_NAME_LENGTH, _TEXT_LENGTH, _MOST_NAMES = 256, 1000, 100
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
    facts = notification.facts
    return {
        "schema": SCHEMA,
        "id": rendered.id,
        "alarm": clean(notification.alarm, 200),
        "created_at": rfc3339(notification.created_at),
        "possible_repeat": notification.possible_repeat,
        "instead_of": _text(notification.instead_of) or None,
        "kind": str(facts.kind),
        "severity": str(facts.severity),
        "reason": str(facts.reason),
        "title": rendered.short,
        "detail": clean(facts.detail, _TEXT_LENGTH),
        **_budget(facts),
        "first_detected": _instant(facts.first_detected),
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


def _budget(facts: Facts) -> dict[str, Any]:
    """What a budget's alarm has; null in one of the monitor's own."""
    return {
        "budget": None if facts.budget is None else _text(facts.budget),
        "period": _period(facts.period),
        "amount": _money(facts.amount),
        "currency": _text(facts.currency) or None,
        "on": _text(facts.on) or None,
        "at": _text(facts.at) or None,
        "limit": _money(facts.limit),
        "spend": _money(facts.spend),
        "billed": _money(facts.billed),
        "accrued": _money(facts.accrued),
        "as_of": _instant(facts.as_of),
        "lower_bound": facts.lower_bound,
        "stale": [_text(name) for name in facts.stale[:_MOST_NAMES]],
        "also_over": [_text(limit) for limit in facts.also_over[:_MOST_NAMES]],
        "previous_spend": _money(facts.previous_spend),
        "previous_told": _instant(facts.previous_told),
    }


def _text(text: str) -> str:
    return clean(text, _NAME_LENGTH)


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def _period(period: Period | None) -> dict[str, str] | None:
    return None if period is None else {"start": rfc3339(period.start), "end": rfc3339(period.end)}


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
