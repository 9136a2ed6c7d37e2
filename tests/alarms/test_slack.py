from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from alarms.errors import PermanentError
from alarms.model import Foreseen, Kind, Severity
from alarms.notifiers.slack import Settings, create, payload
from alarms.render import render
from tests.fakes.messages import FACTS, MESSAGE, NOW, OWN

HOOK = "https://hooks.slack.com/services/T0/B0/canary"


def settings(url: str, **more: Any) -> Settings:
    return Settings.model_validate({"name": "oncall", "type": "slack", "webhook_url": url, **more})


def body(facts: Any = FACTS, **more: Any) -> dict[str, Any]:
    return payload(render(replace(MESSAGE, facts=facts, **more), now=NOW + timedelta(hours=1)), facts)


@pytest.mark.parametrize("url", [HOOK, "https://hooks.slack-gov.com/services/T0/B0/canary", f"{HOOK}?x=1"])
def test_slacks_own_hosts_are_accepted(url: str) -> None:
    assert "canary" not in repr(create(settings(url), now=lambda: NOW))


BAD = [
    "http://hooks.slack.com/services/canary",
    "https://hooks.slack.com:8443/services/canary",
    "https://hooks.slack.com.evil.example/canary",
    "https://evil.example/hooks.slack.com/canary",
    "https://user@hooks.slack.com/canary",
    "https://127.0.0.1/canary",
    "https://hooks.slack.com/ca nary",
    "canary",
]


@pytest.mark.parametrize("url", BAD)
def test_anything_else_is_refused_inline_and_by_reference(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError) as inline:
        settings(url)
    monkeypatch.setenv("CBM_TEST_HOOK", url)
    with pytest.raises(PermanentError, match="webhook_url") as referred:
        create(settings("env:CBM_TEST_HOOK"), now=lambda: NOW)
    assert "canary" not in str(inline.value) + str(referred.value)


def test_missing_secret_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CBM_TEST_HOOK", raising=False)
    with pytest.raises(PermanentError, match="CBM_TEST_HOOK is not set"):
        create(settings("env:CBM_TEST_HOOK"), now=lambda: NOW)


def test_allow_private_allows_a_host_of_ones_own() -> None:
    assert create(settings("http://127.0.0.1:8080/x", allow_private=True), now=lambda: NOW)


@pytest.mark.parametrize(
    ("kind", "severity", "mark"),
    [
        (Kind.FIRING, Severity.CRITICAL, "\N{LARGE RED CIRCLE}"),
        (Kind.REPEAT, Severity.WARNING, "\N{LARGE ORANGE CIRCLE}"),
        (Kind.RESOLVED, Severity.CRITICAL, "\N{WHITE HEAVY CHECK MARK}"),
        (Kind.TEST, Severity.WARNING, "\N{BELL}"),
    ],
)
def test_header_can_be_told_apart_at_a_glance(kind: Kind, severity: Severity, mark: str) -> None:
    header = body(replace(FACTS, kind=kind, severity=severity))["blocks"][0]
    assert header["type"] == "header"
    assert header["text"]["text"].startswith(f"{mark} ")


@pytest.mark.parametrize("character", ["&", "<", "é", "\U0001f600", "x"])
def test_limits_of_slack_hold_for_the_longest_texts(character: str) -> None:
    long = character * 5000
    full = {"stale": (long,) * 20, "also_over": (long,) * 20, "detail": long, "lower_bound": True}
    for facts in (replace(FACTS, budget=long, **full), replace(OWN, title=long, detail=long)):
        message = body(facts, possible_repeat=True, instead_of=long, id=long)
        assert len(message["text"]) <= 3000
        assert len(message["blocks"]) <= 50
        for block in message["blocks"]:
            if block["type"] == "header":
                assert 0 < len(block["text"]["text"]) <= 150
            elif block["type"] == "section":
                assert len(block.get("fields", [])) <= 10
                assert all(0 < len(field["text"]) <= 2000 for field in block.get("fields", []))
                assert len(block.get("text", {}).get("text", "")) <= 3000
        assert "&am..." not in json.dumps(message)


def test_every_line_of_the_message_is_there() -> None:
    facts = replace(FACTS, stale=("gcp",), also_over=("80%",), detail="note")
    lines = render(replace(MESSAGE, facts=facts), now=NOW + timedelta(hours=1)).lines
    assert len(lines) == 10  # as many as a section may have
    (fields,) = [block["fields"] for block in body(facts)["blocks"] if "fields" in block]
    assert [line.label in field["text"] for line, field in zip(lines, fields, strict=True)] == [True] * 10


def test_more_lines_than_a_section_may_have_go_on_in_the_next() -> None:
    foreseen = Foreseen(Decimal(700), Decimal(900), Decimal(1200))
    facts = replace(FACTS, stale=("gcp",), also_over=("80%",), detail="note", foreseen=foreseen, as_of=NOW)
    lines = render(replace(MESSAGE, facts=facts), now=NOW + timedelta(hours=1)).lines
    assert len(lines) > 10
    shown = [field for block in body(facts)["blocks"] for field in block.get("fields", [])]
    assert [line.label in field["text"] for line, field in zip(lines, shown, strict=True)] == [True] * len(lines)
