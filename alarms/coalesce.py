"""Which messages about one alarm become one, as long as its receiver has got none of them. Pure.

So what a receiver is owed is bounded, however long it is down: of one alarm (one limit of one budget in one period) at
most the end of a stay of which it has, or may have, heard and one message about everything since. With what may be
under way, that is three rows; with a receiver that certainly never heard of the alarm it is one.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from alarms.model import Facts, Kind, Notification, Reason


def merged(old: Notification, new: Notification) -> Notification | None:
    """What a receiver is told instead of both, neither of which was sent; None: it must hear both, in this order.

    Both are about one alarm, `old` was made first. The result has the id of `new`.
    """
    if new.facts.kind is Kind.SUMMARY:  # of what stands now nobody needs yesterday's
        return new
    if old.stay == new.stay:
        facts = _of_one_stay(old.facts, new.facts, new.created_at)
    elif old.possible_repeat:  # it may have heard of that stay, and then waits for its end
        facts = None
    else:
        facts = _of_two_stays(old.facts, new.facts)
    if facts is None:
        return None
    says_it_again = old.possible_repeat and not _is_an_end(facts)
    return replace(
        new,
        facts=facts,
        possible_repeat=new.possible_repeat or says_it_again,
        instead_of=new.instead_of or old.instead_of,
    )


def unprepared(notification: Notification) -> Notification:
    """The message for a receiver that has heard nothing of this stay: not "still" over, and no bare all-clear."""
    facts = notification.facts
    if facts.kind is Kind.REPEAT:
        facts = replace(facts, kind=Kind.FIRING, previous_spend=None, previous_told=None)
    elif facts.kind is Kind.RESOLVED:
        facts = replace(
            facts, previous_spend=None, previous_told=None, over_until=facts.over_until or notification.created_at
        )
    return replace(notification, facts=facts)


def as_made(facts: Facts, kind: Kind) -> Facts:
    """The facts without what they say to one receiver alone. `kind`: as the message was made."""
    own = (Reason.FAULT, Reason.SILENCE_OVER)
    reason = Reason.STILL_OVER if kind is Kind.REPEAT and facts.reason not in own else facts.reason
    return replace(facts, kind=kind, reason=reason, over_until=None, over_spend=None, missed=0, missed_since=None)


def _of_one_stay(old: Facts, new: Facts, made_at: datetime) -> Facts | None:
    if old.kind is Kind.RESOLVED or new.kind is Kind.FIRING:
        return None
    new = replace(
        new,
        # What it has heard last is what `old` would have been held against.
        previous_spend=old.previous_spend,
        previous_told=old.previous_told,
        first_detected=new.first_detected or old.first_detected,
        also_over=old.also_over,
        missed=old.missed,
        missed_since=old.missed_since,
    )
    if new.kind is Kind.REPEAT:
        new = replace(new, silenced_until=old.silenced_until or new.silenced_until, detail=old.detail or new.detail)
        return replace(new, kind=old.kind, reason=old.reason)
    if old.kind is Kind.REPEAT:  # it knows that it fires: the all-clear needs no explanation
        return new
    return replace(new, over_until=made_at, over_spend=old.spend if new.over_spend is None else new.over_spend)


def _of_two_stays(old: Facts, new: Facts) -> Facts | None:
    """A whole stay that it never heard of shrinks to a remark; the end of one that it did hear of stays."""
    if old.over_until is None or new.kind is Kind.REPEAT or _is_an_end(new):
        return None
    since = old.missed_since or old.first_detected
    return replace(new, missed=new.missed + old.missed + 1, missed_since=since)


def _is_an_end(facts: Facts) -> bool:
    """An all-clear for somebody who has heard the alarm."""
    return facts.kind is Kind.RESOLVED and facts.over_until is None
