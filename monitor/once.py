"""What `monitor once` prints."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC

from alarms.faults import HEALTH
from alarms.model import DeliveryState, Facts, Kind, Transition
from alarms.words import instant_text
from monitor.clock import to_text
from monitor.cycle import TurnReport
from monitor.status.words import one_line
from monitor.store.outbox import Standing

# Of the messages to one receiver so many are named; beyond that their number says more.
_NAMED = 10
_STATES = {
    DeliveryState.SENT: "SENT",
    DeliveryState.DUE: "not yet, the next turn tries again",
    DeliveryState.DEAD: "refused for good",
}
_KINDS = {Kind.REPEAT: "again ", Kind.RESOLVED: "the end of "}


def as_json(report: TurnReport, standings: Sequence[Standing]) -> str:
    """The document for scripts, schema 1."""
    document = {
        "schema": 1,
        "turn": to_text(report.turn),
        "sources": [
            {
                "name": source.name,
                "ok": source.ok,
                "charges": source.charges,
                "rejected": source.rejected,
                "missing": list(source.missing),
                "error": source.error,
            }
            for source in report.sources.values()
        ],
        "transitions": [
            {"budget": change.key.subject, "on": change.key.on, **_change(change)}
            for change in report.transitions
            if change.key.on != HEALTH
        ],
        "health": [
            {"subject": change.key.subject, **_change(change)}
            for change in report.transitions
            if change.key.on == HEALTH
        ],
        "notifications": [
            {"id": one.id, "receiver": one.receiver, "state": _state(one.state).value} for one in standings
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def as_text(report: TurnReport, standings: Sequence[Standing]) -> str:
    """A few lines for people."""
    lines = [f"Turn of {instant_text(report.turn, UTC)}"]
    for source in report.sources.values():
        rejected = f", {source.rejected} rejected" if source.rejected else ""
        missing = f"; could not read {', '.join(source.missing)}" if source.missing else ""
        said = f"{source.charges} charges{rejected}{missing}" if source.ok else f"FAILED: {source.error}"
        lines.append(f"  source {source.name}: {said}")
    for change in report.transitions:
        key = change.key
        lines.append(
            f"  {key.subject}: {key.on} {key.at} ({key.severity}) {change.from_status} -> {change.to_status}: "
            f"{change.reason.replace('_', ' ')}"
        )
    if not report.transitions:
        lines.append("  no alarm changed")
    lines += [f"  message {line}" for line in _messages(standings)]
    # Names and errors come from elsewhere, and none begins a line or turns its direction.
    return "\n".join(lines[:1] + [f"  {one_line(line)}" for line in lines[1:]])


def _change(change: Transition) -> dict[str, str]:
    return {
        "at": change.key.at,
        "severity": change.key.severity.value,
        "from": change.from_status.value,
        "to": change.to_status.value,
        "reason": change.reason.value,
    }


def _messages(standings: Sequence[Standing]) -> Iterator[str]:
    """By receiver; what went out as one list is one message."""
    for receiver in dict.fromkeys(one.receiver for one in standings):
        messages: dict[tuple[str, DeliveryState], list[Standing]] = {}
        for one in standings:
            if one.receiver == receiver:
                messages.setdefault((one.digest or one.id, _state(one.state)), []).append(one)
        named = list(messages.values())[:_NAMED]
        for first, *others in named:
            more = f" and {len(others)} more, as one list," if others else ""
            yield f"{_about(first.facts)}{more} to {receiver}: {_how(first)}"
        rest = Counter(state for _, state in list(messages)[_NAMED:])
        for state, count in rest.items():
            yield f"{count} more to {receiver}: {_STATES[state]}"


def _about(facts: Facts) -> str:
    if facts.budget is None:
        return facts.title
    return f"{_KINDS.get(facts.kind, '')}{facts.budget} {facts.on} {facts.at} ({facts.severity})"


def _how(one: Standing) -> str:
    state = _state(one.state)
    if state is DeliveryState.SENT:
        return _STATES[state]
    why = one.error or ("its turn has not come" if state is DeliveryState.DUE else "it was not accepted")
    return f"{_STATES[state]} ({why})"


def _state(state: DeliveryState) -> DeliveryState:
    # A send that was interrupted is still owed.
    return DeliveryState.DUE if state is DeliveryState.SENDING else state
