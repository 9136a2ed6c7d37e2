"""Slack, by an incoming webhook."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from typing import Any, Self

from pydantic import model_validator

from alarms.clients.http import DEADLINE_S, Response, Target, is_temporary, parse_target, put_off, request
from alarms.errors import OutsideError, PermanentError, TemporaryError
from alarms.model import Facts, Kind, Notification, Receipt, Severity
from alarms.ports import Notifier
from alarms.render import Line, Rendered, render
from alarms.rendered import Section
from alarms.secrets import SecretField
from alarms.settings import ReceiverSettings
from alarms.words import clean

_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
_HEADER_LENGTH, _TEXT_LENGTH, _FIELD_LENGTH, _MOST_FIELDS = 150, 3000, 2000, 10
# https://docs.slack.dev: what a webhook answers, and what a person can do about it.
_ABOUT_THE_HOOK = {
    "action_prohibited": "an administrator has restricted posting",
    "channel_is_archived": "its channel is archived",
    "channel_not_found": "its channel is gone",
    "invalid_token": "the webhook is not valid",
    "no_active_hooks": "the webhook is switched off",
    "no_service": "the webhook was revoked or its app removed",
    "no_service_id": "the webhook is not complete",
    "no_team": "the workspace is gone",
    "posting_to_general_channel_denied": "posting to the general channel is not allowed",
    "team_disabled": "the workspace is disabled",
}
_ABOUT_THE_MESSAGE = frozenset(
    ("invalid_attachments", "invalid_blocks", "invalid_payload", "missing_text_or_fallback_or_attachments", "no_text")
)
_TOO_LARGE = 413
_REDIRECTS, _REFUSED = 300, 400


class Settings(ReceiverSettings):
    """`webhook_url`: https and a host of Slack, or anywhere with `allow_private`."""

    webhook_url: SecretField

    @model_validator(mode="after")
    def _inline_url_is_usable(self) -> Self:
        if self.webhook_url.inline:
            with self.webhook_url.with_hint():
                _target(self, self.webhook_url.resolve().reveal())
        return self


def create(
    settings: Settings, *, now: Callable[[], datetime], timezone: tzinfo = UTC, deadline_s: float = DEADLINE_S
) -> Notifier:
    """Make the notifier, resolving its secret. Raises PermanentError if the secret or the URL is unusable."""
    try:
        target = _target(settings, settings.webhook_url.resolve().reveal())
    except ValueError as error:
        raise PermanentError(str(error)) from None
    return SlackNotifier(settings, target, now, timezone, deadline_s)


@dataclass(frozen=True, slots=True)
class SlackNotifier:
    """Posts to one webhook."""

    settings: Settings
    target: Target
    now: Callable[[], datetime]
    timezone: tzinfo
    deadline_s: float

    def send(self, notification: Notification) -> Receipt:
        """Post once; only `200 ok` is a success."""
        rendered = render(notification, now=self.now(), timezone=self.timezone)
        # slack_sdk builds and checks the blocks; its WebhookClient does not carry them: it follows redirects, reads
        # without bound or total deadline and logs URLs, and all of that sits in its private methods.
        response = request(
            "POST",
            self.target,
            body=json.dumps(payload(rendered, notification.facts)).encode(),
            headers={"Content-Type": "application/json; charset=utf-8"},
            deadline_s=self.deadline_s,
            allow_private=self.settings.allow_private,
        )
        if response.status == 200 and response.body.strip() == b"ok":  # noqa: PLR2004 - OK
            return Receipt()
        raise _refusal(response)


def payload(rendered: Rendered, facts: Facts) -> dict[str, Any]:
    """Give the JSON that is posted. Foreign text is escaped and, in blocks, plain text: no mention, link or markup."""
    from slack_sdk.models.blocks import Block, ContextBlock, HeaderBlock, SectionBlock
    from slack_sdk.models.blocks.basic_components import PlainTextObject

    def plain(text: str, length: int = _TEXT_LENGTH) -> PlainTextObject:
        return PlainTextObject(text=_escaped(text, length), emoji=False)

    blocks: list[Block] = [HeaderBlock(text=plain(f"{_mark(facts)} {rendered.headline}", _HEADER_LENGTH))]
    if rendered.notes:
        blocks.append(SectionBlock(text=plain("\n".join(rendered.notes))))
    if rendered.entries:
        blocks.append(SectionBlock(text=plain("\n".join(rendered.listed(_TEXT_LENGTH, _escaped_length)))))
    fields = [_field(line) for line in rendered.lines]
    blocks += [SectionBlock(fields=fields[at : at + _MOST_FIELDS]) for at in range(0, len(fields), _MOST_FIELDS)]
    blocks += [SectionBlock(text=plain(_fitting(section))) for section in rendered.sections]
    if rendered.see:
        blocks.append(SectionBlock(text=plain("\n".join(("See:", *rendered.see)))))
    blocks.append(ContextBlock(elements=[plain(f"Id: {rendered.id}")]))
    return {
        "text": _escaped(rendered.short, _TEXT_LENGTH),  # what the notification on a phone shows
        "blocks": [block.to_dict() for block in blocks],
        "mrkdwn": False,
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _field(line: Line) -> Any:
    from slack_sdk.models.blocks.basic_components import MarkdownTextObject, PlainTextObject

    if line.foreign:
        return PlainTextObject(text=_escaped(f"{line.label}: {line.value}", _FIELD_LENGTH), emoji=False)
    return MarkdownTextObject(text=f"*{line.label}*\n{_escaped(line.value, _FIELD_LENGTH - 50)}", verbatim=True)


def _fitting(section: Section) -> str:
    """As many lines as Slack takes in one block."""
    lines = section.lines
    while lines and len(_all_escaped(replace(section, lines=lines).text)) > _TEXT_LENGTH:
        lines = lines[:-1]
    return replace(section, lines=lines).text


def _mark(facts: Facts) -> str:
    if facts.kind is Kind.RESOLVED:
        return "\N{WHITE HEAVY CHECK MARK}"
    if facts.kind is Kind.TEST:
        return "\N{BELL}"
    if facts.kind is Kind.SUMMARY:
        return "\N{BAR CHART}"
    return "\N{LARGE RED CIRCLE}" if facts.severity is Severity.CRITICAL else "\N{LARGE ORANGE CIRCLE}"


def _escaped_length(text: str) -> int:
    return len(_escaped(text, _TEXT_LENGTH))


def _escaped(text: str, length: int) -> str:
    """Escape what Slack gives a meaning to, and no more: it would show other entities as they are."""
    escaped = _all_escaped(text)
    if len(escaped) <= length:
        return escaped
    # Cut before escaping, or an entity might be cut in two.
    return _escaped(clean(text, min(length, len(text) - max(1, (len(escaped) - length) // 5))), length)


def _all_escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _target(settings: Settings, url: str) -> Target:
    try:
        target = parse_target(url, allow_private=settings.allow_private)
    except ValueError as error:
        raise ValueError(f"webhook_url: {error}") from None
    if not settings.allow_private and (target.host not in _HOSTS or target.port != 443):  # noqa: PLR2004 - https
        raise ValueError(
            "webhook_url is not one of Slack's: expected https://hooks.slack.com/services/..., "
            "or allow_private = true for a server of your own"
        )
    return target


def _refusal(response: Response) -> OutsideError:
    status, code = response.status, _code(response.body)
    if is_temporary(status):
        return put_off("Slack", response)
    if code in _ABOUT_THE_HOOK:
        return PermanentError(f"Slack refused the message ({code}): {_ABOUT_THE_HOOK[code]}; create a new webhook")
    if code in _ABOUT_THE_MESSAGE or status == _TOO_LARGE:
        return PermanentError(
            f"Slack refused this message (status {status}{code and ', ' + code})", whole_receiver=False
        )
    if _REDIRECTS <= status < _REFUSED:
        return PermanentError(
            f"The webhook's server redirects (status {status}), which is not followed: fix webhook_url"
        )
    if status >= _REFUSED or code == "error":
        return PermanentError(f"Slack refused the message (status {status}): check webhook_url, or create a new one")
    return TemporaryError(
        f"The answer (status {status}) is not one of Slack's: a proxy or portal may stand in between", uncertain=True
    )


def _code(body: bytes) -> str:
    """Slack's word for what is wrong, if it is a known one; `error` for any `ok: false`. Never the body itself."""
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("{"):
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            return ""
        if answer.get("ok") is not False:
            return ""
        text = str(answer.get("error"))
        return text if text in _ABOUT_THE_HOOK or text in _ABOUT_THE_MESSAGE else "error"
    return text if text in _ABOUT_THE_HOOK or text in _ABOUT_THE_MESSAGE else ""
