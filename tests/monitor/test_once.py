"""What `monitor once` says of the messages of its turn."""

from __future__ import annotations

from dataclasses import replace

from alarms.model import DeliveryState, Facts, Kind, Reason, Severity
from monitor import once
from monitor.store.outbox import Standing
from monitor.turn_report import TurnReport
from tests.fakes.messages import NOW

FIRING = Facts(Kind.FIRING, Severity.CRITICAL, Reason.CROSSED, "t", budget="training", on="actual", at="100%")
FAULT = Facts(Kind.FIRING, Severity.CRITICAL, Reason.CROSSED, "Source aws is stale", subject="source aws")
ONE = Standing("14366e51b747/actual-100pct-critical/1", "hook", DeliveryState.SENT, FIRING)


def lines(*standings: Standing) -> list[str]:
    text = once.as_text(TurnReport(NOW), standings)
    return [line.removeprefix("  message ") for line in text.splitlines() if line.startswith("  message ")]


def test_a_message_is_named_by_what_it_is_about() -> None:
    over = replace(FIRING, kind=Kind.RESOLVED)
    others = (replace(ONE, id="e/l/2", facts=over), replace(ONE, id="e/l/3", facts=FAULT))
    assert lines(ONE, *others) == [
        "training actual 100% (critical) to hook: SENT",
        "the end of training actual 100% (critical) to hook: SENT",
        "Source aws is stale to hook: SENT",
    ]


def test_one_that_did_not_arrive_says_why_and_what_comes_next() -> None:
    tried = replace(ONE, state=DeliveryState.DUE, error="example.com answered HTTP 503")
    assert lines(tried, replace(ONE, id="e/l/2", state=DeliveryState.SENDING)) == [
        "training actual 100% (critical) to hook: not yet, the next turn tries again (example.com answered HTTP 503)",
        "training actual 100% (critical) to hook: not yet, the next turn tries again (its turn has not come)",
    ]
    assert lines(replace(ONE, state=DeliveryState.DEAD, error="HTTP 413")) == [
        "training actual 100% (critical) to hook: refused for good (HTTP 413)"
    ]


def test_many_are_counted() -> None:
    hook = [replace(ONE, id=f"e{number}/l/1") for number in range(300)]
    listed = [replace(ONE, id=f"e{number}/l/1", receiver="oncall", digest="d/l/1") for number in range(300)]
    said = lines(*hook, *listed)
    assert len(said) == 12
    assert said[-2:] == [
        "290 more to hook: SENT",
        "training actual 100% (critical) and 299 more, as one list, to oncall: SENT",
    ]
