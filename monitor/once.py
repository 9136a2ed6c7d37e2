"""What `monitor once` prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC

from alarms.faults import HEALTH
from alarms.model import DeliveryState, Transition
from alarms.words import instant_text
from monitor.clock import to_text
from monitor.cycle import TurnReport
from monitor.status.words import one_line

# (id, receiver, state) of the messages of one turn
Deliveries = Sequence[tuple[str, str, DeliveryState]]


def as_json(report: TurnReport, deliveries: Deliveries) -> str:
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
            {"id": identity, "receiver": receiver, "state": _state(state)} for identity, receiver, state in deliveries
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def as_text(report: TurnReport, deliveries: Deliveries) -> str:
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
    lines += [f"  message {identity} to {receiver}: {_state(state)}" for identity, receiver, state in deliveries]
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


def _state(state: DeliveryState) -> str:
    # A send that was interrupted is still owed.
    return DeliveryState.DUE.value if state is DeliveryState.SENDING else state.value
