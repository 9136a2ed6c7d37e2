"""The words in which it is said why something was decided, and what became of telling it. Plain names."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why something was decided: reaches the message, the log and the store."""

    CROSSED = "crossed"
    ALREADY_OVER = "already_over"
    LATE_CHARGES = "late_charges"
    STILL_OVER = "still_over"
    SILENCE_OVER = "silence_over"
    RESTATED_BELOW = "restated_below"
    STAYED_BELOW = "stayed_below"
    LIMIT_RAISED = "limit_raised"
    PERIOD_ENDED = "period_ended"
    BUDGET_REMOVED = "budget_removed"
    FAULT = "fault"
    FAULT_OVER = "fault_over"
    DIGEST = "digest"
    SUMMARY = "summary"
    TEST = "test"


class On(StrEnum):
    """What a threshold compares.

    What was spent; what will have been at the period's end; how fast it goes; what was spent with what a plan foresaw
    by then; what will have been spent when the plan is through.
    """

    ACTUAL = "actual"
    FORECAST = "forecast"
    BURN_RATE = "burn_rate"
    PLAN = "plan"
    AT_COMPLETION = "at_completion"


class Severity(StrEnum):
    """How loud. Compare with `rank`, never as text."""

    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """1 for a warning, 2 for critical."""
        return 1 if self is Severity.WARNING else 2


class AlarmStatus(StrEnum):
    """Where an alarm stands. CLOSED: its period is over and everyone who was told has been told so."""

    OK = "OK"
    PENDING = "PENDING"
    FIRING = "FIRING"
    CLOSED = "CLOSED"


class DataStatus(StrEnum):
    """NO_DATA: the reading is missing or its source is stale. The alarm keeps its level and never goes down."""

    OK = "OK"
    NO_DATA = "NO_DATA"


class Kind(StrEnum):
    """What a notification says. SUMMARY: the digest that a receiver asked for; it is no alarm."""

    FIRING = "FIRING"
    REPEAT = "REPEAT"
    RESOLVED = "RESOLVED"
    SUMMARY = "SUMMARY"
    TEST = "TEST"


class DeliveryState(StrEnum):
    """DUE: owed. SENDING: being sent, or it was when the process died. DEAD: refused for good.

    REPLACED: never sent, since a newer message to the same receiver about the same alarm says it as well, or will when
    a silence is over.
    """

    DUE = "DUE"
    SENDING = "SENDING"
    SENT = "SENT"
    DEAD = "DEAD"
    REPLACED = "REPLACED"


# Begins what is said of twins none of which the cloud can express, and tells that from twins that are gone.
INEXPRESSIBLE = "nothing of it can be expressed there"


def twin_advice(state: str, detail: str) -> str:
    """What to do about twins that are not IN_SYNC: a clause that begins with a small letter."""
    if INEXPRESSIBLE in detail:
        return (
            "change what the reason names (where it is the receivers, add one of type `sns` or `email`), "
            "or take `native = true` away"
        )
    if state == "UNKNOWN":
        return "run `monitor alarms plan`: it tries again"
    return "run `monitor alarms plan` to see what differs, `monitor alarms apply` to mend it"
