"""Which of the messages that a receiver is owed goes out next, and many of them as one. Pure.

What burns comes before what is over, critical before warning, the newest first: after an outage people see first how
things stand now. Within a digest what has used most of its budget comes first. Messages of one turn keep their order,
and so do those about one alarm. A summary is no alarm: it is never part of a digest, and comes last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from alarms.model import Delivery, DeliveryState, Facts, Kind, Notification, Reason, Severity
from alarms.money import DISPLAY

# So many alarms still get a message each. More of them at once nobody reads one by one, and receivers throttle.
MOST_ALONE = 10
_AT_ONCE = datetime.min.replace(tzinfo=UTC)


def next_up(owed: Sequence[Delivery], *, one_by_one: bool = False) -> Delivery | None:
    """What to send next of `owed`, which is in the order in which it came; None if nothing is owed.

    Its `next_attempt_at` is when the receiver may be asked again, whatever about: that of a message which failed. When
    the others were made does not matter, the clock may have been wrong then. `one_by_one`: no digests.
    """
    if not owed:
        return None
    groups = _groups(owed, one_by_one=one_by_one)
    # max() takes the first of equals: that of one turn which came first.
    chosen = max(groups, key=_urgency)
    together = len(chosen) > 1 and not _is_one_alarm(chosen)
    delivery = digest_of(chosen) if together else chosen[0]
    waits = (each.next_attempt_at for each in owed if each.next_attempt_at != each.notification.created_at)
    return replace(delivery, next_attempt_at=max(waits, default=_AT_ONCE))


def digest_of(parts: Sequence[Delivery]) -> Delivery:
    """All of these as one message. The same messages always make the same digest, with the same id."""
    held = sorted((part.notification for part in parts), key=_prominence, reverse=True)
    firing = [each.facts.severity for each in held if _fires(each)]
    severities = firing or [each.facts.severity for each in held]
    names = "\n".join(sorted(each.id for each in held))
    facts = Facts(
        kind=Kind.FIRING if firing else Kind.RESOLVED,
        severity=max(severities, key=lambda severity: severity.rank),
        reason=Reason.DIGEST,
        title=_title(len(held), firing),
        held=tuple(held),
    )
    notification = Notification(
        id=f"{hashlib.blake2s(names.encode(), digest_size=6).hexdigest()}/digest/{len(held)}",
        receiver=held[0].receiver,
        created_at=max(each.created_at for each in held),
        facts=facts,
        possible_repeat=all(each.possible_repeat for each in held),
    )
    attempts = max(part.attempts for part in parts)
    next_attempt_at = max(part.next_attempt_at for part in parts)
    return Delivery(notification, DeliveryState.DUE, attempts, next_attempt_at, parts=tuple(parts))


def _groups(owed: Sequence[Delivery], *, one_by_one: bool) -> list[list[Delivery]]:
    """The messages about one alarm; or, of more alarms than are worth a message each, everything.

    A digest that may have arrived stays by itself, so that its repeat is the same one.
    """
    alarms: dict[str, list[Delivery]] = {}
    digests: dict[str, list[Delivery]] = {}
    summaries = [[delivery] for delivery in owed if delivery.notification.facts.kind is Kind.SUMMARY]
    for delivery in owed:
        if delivery.notification.facts.kind is Kind.SUMMARY:
            continue
        if delivery.digest and not one_by_one:
            digests.setdefault(delivery.digest, []).append(delivery)
        else:
            alarms.setdefault(delivery.notification.alarm, []).append(delivery)
    if len(alarms) > MOST_ALONE and not one_by_one:
        return [*digests.values(), *summaries, [delivery for group in alarms.values() for delivery in group]]
    return [*digests.values(), *alarms.values(), *summaries]


def _is_one_alarm(group: Sequence[Delivery]) -> bool:
    return len({delivery.notification.alarm for delivery in group}) == 1


def _urgency(group: Sequence[Delivery]) -> tuple[int, datetime]:
    return max(_loudness(delivery.notification) for delivery in group)


def _loudness(notification: Notification) -> tuple[int, datetime]:
    if notification.facts.kind is Kind.SUMMARY:
        return (-1, notification.created_at)
    return (notification.facts.severity.rank if _fires(notification) else 0, notification.created_at)


def _prominence(notification: Notification) -> tuple[int, bool, Decimal, datetime]:
    """In a digest, of which a receiver may show the first part alone.

    Of equal severity first what is wrong with the monitor itself, for then no figure is sure; then by how much of its
    amount a budget has used, for at one time a hundred may cross their limits.
    """
    rank, at = _loudness(notification)
    facts = notification.facts
    if facts.budget is None or not _fires(notification):
        return (rank, True, Decimal(0), at)
    used = (
        DISPLAY.divide(facts.spend, facts.amount) if facts.spend is not None and facts.amount else Decimal("-Infinity")
    )
    return (rank, False, used, at)


def _fires(notification: Notification) -> bool:
    return notification.facts.kind is not Kind.RESOLVED


def _title(count: int, firing: list[Severity]) -> str:
    counts = [(firing.count(severity), severity.value) for severity in (Severity.CRITICAL, Severity.WARNING)]
    counts.append((count - len(firing), "ended"))
    return f"{count} alarms: {', '.join(f'{number} {what}' for number, what in counts if number)}"
