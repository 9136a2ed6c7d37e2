"""PagerDuty's Events API v2 on loopback, as documented: what is refused, what opens an incident, what ends one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from monitor.simulation.slack import Answer
from tests.fakes.posts import Post, PostServer

_LARGEST = 512 * 1024


@dataclass
class Incident:
    """An alert by its dedup key. `log`: the summaries of its triggers."""

    dedup_key: str
    log: list[str] = field(default_factory=list)
    open: bool = True


class PagerDuty(PostServer):
    """Takes events for one routing key. `incidents` in the order in which they were opened; `dropped`: ends of none."""

    def __init__(self, routing_key: str, *script: Answer) -> None:
        super().__init__(*script)
        self.routing_key = routing_key
        self.events: list[dict[str, Any]] = []
        self.incidents: list[Incident] = []
        self.dropped = 0

    @property
    def url(self) -> str:
        return f"{self.origin}/v2/enqueue"

    def answer(self, post: Post) -> Answer:
        errors = ["path"] if post.path != "/v2/enqueue" else []
        try:
            event = json.loads(post.body)
        except ValueError:
            return _invalid("Invalid JSON")
        errors += list(faults_of(event, post.body))
        if errors:
            return _invalid(*errors)
        if event["routing_key"] != self.routing_key:
            return Answer(400, b"Invalid routing key")
        self.events.append(event)
        self._apply(event)
        return Answer(202, json.dumps({"status": "success", "dedup_key": event["dedup_key"]}).encode())

    def _apply(self, event: dict[str, Any]) -> None:
        found = [one for one in self.incidents if one.open and one.dedup_key == event["dedup_key"]]
        if event["event_action"] == "resolve":
            self.dropped += not found
            for one in found:
                one.open = False
            return
        if not found:
            found = [Incident(event["dedup_key"])]
            self.incidents += found
        found[0].log.append(event["payload"]["summary"])


def faults_of(event: Any, body: bytes) -> list[str]:
    """What PagerDuty would not take of an event."""
    known = {"routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links", "images"}
    rules = {
        "too large": len(body) <= _LARGEST,
        "unknown key": set(event) <= known,
        "'event_action'": event.get("event_action") in ("trigger", "resolve", "acknowledge"),
        "'dedup_key'": 0 < len(event.get("dedup_key", "")) <= 255,
    }
    if event.get("event_action") == "trigger" or "payload" in event:
        payload = event.get("payload", {})
        rules |= {
            "'summary'": 0 < len(payload.get("summary", "")) <= 1024,
            "'source'": bool(payload.get("source")),
            "'severity'": payload.get("severity") in ("critical", "error", "warning", "info"),
            "'timestamp'": datetime.fromisoformat(payload["timestamp"]).tzinfo is not None,
            "'custom_details'": isinstance(payload.get("custom_details"), dict),
        }
    return [rule for rule, kept in rules.items() if not kept]


def _invalid(*errors: str) -> Answer:
    body = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    return Answer(400, json.dumps(body).encode())
