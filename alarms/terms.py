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
    """What a threshold compares: what was spent, what will have been at the period's end, or how fast it goes."""

    ACTUAL = "actual"
    FORECAST = "forecast"
    BURN_RATE = "burn_rate"


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
