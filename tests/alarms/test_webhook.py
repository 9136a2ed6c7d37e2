"""The generic webhook: what is in the body, and a signature that a stranger can check by what docs/config.md says."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from alarms.errors import PermanentError
from alarms.model import Facts, Forecast, Kind, Notification, Reason
from alarms.notifiers.webhook import Settings, create
from tests.fakes.messages import FACTS, MESSAGE, NOW, OWN
from tests.fakes.posts import PostServer

DOCS = Path(__file__).parents[2] / "docs" / "config.md"
SECTION = DOCS.read_text(encoding="utf-8").partition("### receiver webhook")[2].partition("\n## ")[0]
# An upper-case X: header names mean the same in any case, values do not.
INLINE = {"name": "hook", "type": "webhook", "url": "https://hooks.example.com/budget?token=canary"}


@pytest.fixture
def server() -> Iterator[PostServer]:
    with PostServer() as working:
        yield working


def settings(**more: Any) -> Settings:
    return Settings.model_validate(INLINE | more)


def sent(server: PostServer, message: Notification = MESSAGE, **more: Any) -> dict[str, Any]:
    chosen = settings(url=f"{server.origin}/hook", allow_private=True, **more)
    create(chosen, now=lambda: NOW).send(message)
    document: dict[str, Any] = json.loads(server.posts[-1].body)
    return document


def documented_verifier() -> Callable[..., bool]:
    (program,) = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
    assert len(program.splitlines()) <= 12
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102  # ours, from the documentation: readers will run it too
    verifier: Callable[..., bool] = names["is_genuine"]
    return verifier


def test_the_body_of_a_crossing_word_for_word(server: PostServer) -> None:
    document = sent(server)
    assert document.pop("text").startswith("CRITICAL training: 1,004.20 of 1,000.00 USD spent, over 100%\n\nSpent: ")
    assert document == {
        "schema": 1,
        "id": "4f2a9c01d7be/actual-100pct-critical/1",
        "incident": "4f2a9c01d7be/actual-100pct-critical",
        "created_at": "2026-11-23T18:00:00Z",
        "possible_repeat": False,
        "instead_of": None,
        "kind": "FIRING",
        "severity": "critical",
        "reason": "crossed",
        "title": "CRITICAL training: 1,004.20 of 1,000.00 USD spent, over 100%",
        "detail": None,
        "budget": "training",
        "period": {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"},
        "amount": "1000",
        "currency": "USD",
        "on": "actual",
        "at": "100%",
        "limit": "1000",
        "spend": "1004.2",
        "billed": "962.8",
        "accrued": "41.4",
        "as_of": "2026-11-23T14:00:00Z",
        "lower_bound": False,
        "stale": [],
        "also_over": [],
        "silenced_until": None,
        "sections": [],
        "previous_spend": None,
        "previous_told": None,
        "first_detected": "2026-11-23T18:00:00Z",
        "subject": None,
        "over_until": None,
        "over_spend": None,
        "missed": 0,
        "missed_since": None,
        "held": [],
        "forecast": None,
        "foreseen": None,
        "burn_rates": {},
    }


def test_estimates_are_numbers_and_windows(server: PostServer) -> None:
    forecast = Forecast(Decimal("1204.10"), Decimal(1100), Decimal(1400), 12)
    facts = replace(MESSAGE.facts, forecast=forecast, burn_rates={timedelta(hours=6): Decimal("2.10")})
    document = sent(server, replace(MESSAGE, facts=facts))
    assert document["forecast"] == {"expected": "1204.1", "low": "1100", "high": "1400", "days": 12}
    assert document["burn_rates"] == {"6h": "2.1"}


def test_an_alarm_of_the_monitor_itself_has_no_money(server: PostServer) -> None:
    document = sent(server, replace(MESSAGE, facts=OWN))
    for key in ("budget", "period", "amount", "currency", "on", "at", "limit", "spend", "billed", "accrued", "as_of"):
        assert document[key] is None
    assert document["title"] == "WARNING: Source aws has given no data for 26 h"
    assert document["detail"].startswith("AWS refused the key")


def test_a_message_of_many_alarms_holds_each_as_data(server: PostServer) -> None:
    other = replace(MESSAGE, id="e/l/2", facts=replace(FACTS, budget="other", spend=Decimal("0.10")))
    flood = Facts(
        kind=Kind.FIRING, severity=FACTS.severity, reason=Reason.DIGEST, title="2 alarms", held=(MESSAGE, other)
    )
    document = sent(server, replace(MESSAGE, id="d/digest/2", facts=flood))
    single = sent(server)
    assert [one["budget"] for one in document["held"]] == ["training", "other"]
    assert [one["incident"] for one in document["held"]] == [MESSAGE.stay, "e/l"]
    assert document["held"][1]["spend"] == "0.1"
    of_the_copy = {"schema", "text", "possible_repeat", "instead_of"}
    assert set(document["held"][0]) == set(single) - of_the_copy


def test_every_fact_is_documented_and_no_other(server: PostServer) -> None:
    rows = [line.split("|")[1] for line in SECTION.splitlines() if line.startswith("| `")]
    keys = re.findall(r"`(\w+)`", " ".join(rows))
    assert set(sent(server)) == set(keys) - set(Settings.model_fields)
    # What a message may say is in the body, by the name it has here; `title` is the whole headline.
    assert set(Facts.__dataclass_fields__) <= set(sent(server)), "say in docs/config.md what the new fact is"


def test_a_repeat_has_the_same_key_and_says_what_it_is(server: PostServer) -> None:
    sent(server)
    document = sent(server, replace(MESSAGE, possible_repeat=True, instead_of="topic"))
    assert (document["possible_repeat"], document["instead_of"]) == (True, "topic")
    assert "(possible repeat)" in document["title"]
    first, second = (post.headers["Idempotency-Key"] for post in server.posts)
    assert first == second == MESSAGE.id


def test_one_incident_has_one_name_from_the_first_message_to_the_last(server: PostServer) -> None:
    over = replace(FACTS, kind=Kind.RESOLVED, reason=Reason.PERIOD_ENDED)
    documents = [sent(server), sent(server, replace(MESSAGE, id=f"{MESSAGE.stay}/2", facts=over))]
    assert len({document["incident"] for document in documents}) == 1
    assert [document["kind"] for document in documents] == ["FIRING", "RESOLVED"]


@pytest.mark.parametrize("identity", ["a/b/1\r\nX-Evil: 1", "é/b/1", "x" * 200, "\ud800/b/1"])
def test_an_id_that_cannot_stand_in_a_header_is_hashed(server: PostServer, identity: str) -> None:
    sent(server, replace(MESSAGE, id=identity))
    headers = server.posts[0].headers
    assert headers["Idempotency-Key"] == hashlib.sha256(identity.encode(errors="replace")).hexdigest()
    assert "X-Evil" not in headers


def test_the_documented_verifier_takes_ours_and_nothing_else(server: PostServer) -> None:
    is_genuine, secret = documented_verifier(), "hook-secret"
    sent(server, secret=secret)
    header, body, now = server.posts[0].headers["X-Monitor-Signature"], server.posts[0].body, NOW.timestamp()
    assert is_genuine(header, body, secret, now)
    assert is_genuine(header, body, secret, now + 299)
    seconds = int(now)
    forged = (
        (header, body + b" ", secret, now),
        (header, body, "another", now),
        (header, body, secret, now + 301),
        (header, body, secret, now - 301),
        (header.replace(f"t={seconds}", f"t={seconds + 1}"), body, secret, now),
        (header[:-1], body, secret, now),
        ("", body, secret, now),
        ("t=,v1=", body, secret, now),
        ("t=٣,v1=é", body, secret, now),
    )
    assert [is_genuine(*one) for one in forged] == [False] * len(forged)


def test_without_a_secret_nothing_is_signed(server: PostServer) -> None:
    sent(server)
    assert "X-Monitor-Signature" not in server.posts[0].headers


def test_headers_are_sent_and_shown_to_nobody(server: PostServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_TOKEN", "Bearer canary-1")
    chosen = settings(
        url=f"{server.origin}/canary-2",
        secret="canary-3",
        headers={"Authorization": "env:HOOK_TOKEN", "X-Tenant": "canary-4"},
        allow_private=True,
    )
    notifier = create(chosen, now=lambda: NOW)
    notifier.send(MESSAGE)
    assert server.posts[0].headers["Authorization"] == "Bearer canary-1"
    assert server.posts[0].headers["X-Tenant"] == "canary-4"
    assert "canary" not in repr(notifier) + repr(chosen) + chosen.model_dump_json()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"url": "http://hooks.example.com/canary"}, "plain http is accepted only with allow_private"),
        ({"url": "ftp://hooks.example.com/canary"}, "not an https URL"),
        ({"url": "https://me:canary@example.com/"}, "user name or password"),
        ({"headers": {"Host": "canary"}}, "set by the monitor itself"),
        ({"headers": {"content-length": "1"}}, "set by the monitor itself"),
        ({"headers": {"Proxy-Authorization": "canary"}}, "set by the monitor itself"),
        ({"headers": {"X Y": "canary"}}, "expected names of HTTP headers"),
        ({"headers": {"X:Y\r\nZ": "canary"}}, "expected names of HTTP headers"),
        ({"headers": {"X": "a", "x": "b"}}, "given twice"),
        ({"headers": {f"X{i}": "a" for i in range(21)}}, "at most 20"),
        ({"headers": {"X": "canary\r\nEvil: 1"}}, "not one line of printable ASCII"),
        ({"headers": {"X": "canaryé"}}, "not one line of printable ASCII"),
        ({"headers": {"X": 1}}, "expected"),
        ({"headers": ["X"]}, "dictionary"),
    ],
)
def test_settings_that_cannot_work_are_refused_without_an_echo(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        settings(**wrong)
    assert "canary" not in str(caught.value).replace("HEADERS", "")


def test_secrets_that_cannot_work_are_refused_without_an_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "canary\r\nEvil: 1")
    for wrong in ({"url": "env:HOOK"}, {"headers": {"Authorization": "env:HOOK"}}, {"secret": "env:NO_SUCH"}):
        with pytest.raises(PermanentError) as caught:
            create(settings(**wrong), now=lambda: NOW)
        assert "canary" not in str(caught.value)


def test_the_deadline_and_the_clock_are_the_callers(server: PostServer) -> None:
    chosen = settings(url=f"{server.origin}/hook", allow_private=True, secret="s")
    times = iter((NOW, NOW + timedelta(minutes=7)))
    notifier = create(chosen, now=lambda: next(times))
    notifier.send(MESSAGE)
    notifier.send(MESSAGE)
    seconds = [int(post.headers["X-Monitor-Signature"][2:].partition(",")[0]) for post in server.posts]
    assert seconds[1] - seconds[0] == 7 * 60, "each attempt is signed with its own time"
