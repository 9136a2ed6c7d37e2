"""What people read: a notification as a subject, a text, and labelled lines that each notifier lays out its own way.

Pure. Written for a phone at three in the morning: what crossed, how much, how old that is, what to do next. Texts that
others chose (names, errors) are cleaned here once, so that no notifier has to.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import ROUND_FLOOR, Decimal

from alarms import estimates
from alarms.model import Facts, Kind, Notification, On, Reason
from alarms.money import DISPLAY, EXACT, for_people
from alarms.periods import period_text
from alarms.rendered import Line as Line  # noqa: PLC0414  # notifiers have both from here
from alarms.rendered import Rendered as Rendered  # noqa: PLC0414  # the same
from alarms.rendered import Section
from alarms.words import clean, duration_text, instant_text, to_ascii

# SNS: "up to 100 characters"; alertmanager#2829 and others met the refusal at 100.
SUBJECT_LENGTH = 99
_NAME_LENGTH = 64
_TITLE_LENGTH = 200
_DETAIL_LENGTH = 1000
# A message that leaves later than this after the crossing says when that was.
_LATE = timedelta(minutes=10)

_WHY = {
    Reason.CROSSED: "spend has crossed the limit",
    Reason.ALREADY_OVER: "it was already over when the monitor first looked",
    Reason.LATE_CHARGES: "charges that arrived after the period's end took it over",
    Reason.STILL_OVER: "it is still over; this is the repeat you asked for",
    Reason.SILENCE_OVER: "it was silenced{until}, and is still over",
    Reason.RESTATED_BELOW: "the cloud corrected its charges downwards",
    Reason.STAYED_BELOW: "it has stayed clearly below its limit for a day",
    Reason.LIMIT_RAISED: "the limit was raised",
    Reason.PERIOD_ENDED: "the period has ended",
    Reason.BUDGET_REMOVED: "the budget or this threshold is no longer in the config",
    Reason.FAULT: "the monitor itself has a problem",
    Reason.FAULT_OVER: "the problem is over",
    Reason.DIGEST: "so many alarms at once come as one message",
    Reason.SUMMARY: "the digest you asked for",
    Reason.TEST: "sent by hand to see whether it arrives",
}
_STANDS = {
    Reason.RESTATED_BELOW: "back under {limit}",
    Reason.STAYED_BELOW: "back under {limit}",
    Reason.LIMIT_RAISED: "back under {limit}, which was raised",
    Reason.PERIOD_ENDED: "the period ended over {limit}",
    Reason.BUDGET_REMOVED: "{limit} is no longer watched",
}
# The same for somebody who has not heard that it was over.
_STOOD = {
    Reason.LIMIT_RAISED: "until that was raised",
    Reason.PERIOD_ENDED: "until the period ended",
    Reason.BUDGET_REMOVED: "no longer watched",
}


def render(notification: Notification, *, now: datetime, timezone: tzinfo = UTC) -> Rendered:
    """Write the message. `now` is when it is sent; `timezone` is for the reader only."""
    facts = notification.facts
    lines = _own_lines(facts) if facts.budget is None else _budget_lines(facts, now, timezone)
    return Rendered(
        subject=_subject(notification),
        headline=_headline(facts, clean(facts.budget or "", _NAME_LENGTH)),
        notes=tuple(_notes(notification)),
        lines=(*lines, *_when_lines(facts, now, timezone)),
        see=tuple(_see(facts)),
        id=clean(notification.id, 200),
        entries=tuple(_entry(each, notification, now, timezone) for each in facts.held),
        sections=tuple(Section(heading, texts) for heading, texts in facts.sections),
    )


def _subject(notification: Notification) -> str:
    end = " (possible repeat)" if notification.possible_repeat else ""
    name = to_ascii(clean(notification.facts.budget or "", _NAME_LENGTH))
    subject = to_ascii(_headline(notification.facts, name)) + end
    if len(subject) > SUBJECT_LENGTH and name:  # the figures matter more than the whole name
        kept = max(12, len(name) - (len(subject) - SUBJECT_LENGTH))
        subject = to_ascii(_headline(notification.facts, clean(name, kept))) + end
    return (
        subject
        if len(subject) <= SUBJECT_LENGTH
        else clean(subject[: -len(end) or None], SUBJECT_LENGTH - len(end)) + end
    )


def _headline(facts: Facts, name: str) -> str:
    level = facts.severity.upper()
    leads = {Kind.FIRING: level, Kind.REPEAT: f"STILL {level}", Kind.SUMMARY: "DIGEST"}
    lead = f"WAS {level}" if _is_past(facts) else leads.get(facts.kind, facts.kind.value)
    if facts.budget is None:
        return f"{lead}: {clean(facts.title, _TITLE_LENGTH)}"
    stands = _STANDS.get(facts.reason, "no longer over {limit}") if facts.kind is Kind.RESOLVED else "over {limit}"
    if facts.reason is Reason.PERIOD_ENDED and facts.on != On.ACTUAL:
        stands = "the period has ended, and {limit} with it"
    if _is_past(facts):
        stands = f"over {{limit}}{_for_how_long(facts)}, {_STOOD.get(facts.reason, 'back under')}"
    limit = clean(estimates.limit_text(facts.on, facts.at), 40)
    return f"{lead} {name}: {estimates.headline(facts) or _spend_of_amount(facts)}{stands.format(limit=limit)}"


def _spend_of_amount(facts: Facts) -> str:
    if facts.amount is None:
        return ""
    amount = for_people(facts.amount, facts.currency, beside=facts.spend)
    if facts.spend is None:
        return f"spend not known, budget {amount}, "
    return f"{_least(facts)}{_without_currency(_spend(facts))} of {amount} spent, "


def _is_past(facts: Facts) -> bool:
    """Its receiver hears at once that it was over and that it is not any more."""
    return facts.kind is Kind.RESOLVED and facts.over_until is not None


def _for_how_long(facts: Facts) -> str:
    if facts.over_until is None or facts.first_detected is None:
        return ""
    return f" for {duration_text(facts.over_until - facts.first_detected)}"


def _entry(each: Notification, digest: Notification, now: datetime, timezone: tzinfo) -> str:
    """One line of a digest."""
    text = _headline(each.facts, clean(each.facts.budget or "", _NAME_LENGTH))
    detected = each.facts.first_detected
    if detected is not None and now - detected > _LATE:
        text += f"; first detected at {instant_text(detected, timezone)}"
    if each.instead_of:
        text += f"; {clean(each.instead_of, _NAME_LENGTH)} did not accept it"
    return f"{text} (possible repeat)" if each.possible_repeat and not digest.possible_repeat else text


def _notes(notification: Notification) -> Iterator[str]:
    if notification.possible_repeat:
        yield "(possible repeat)"
    if _is_past(notification.facts):
        yield "It did not get through to you while it lasted."
    if notification.instead_of:
        yield f"{clean(notification.instead_of, _NAME_LENGTH)} did not accept this; sent here instead."


def _own_lines(facts: Facts) -> Iterator[Line]:
    if detail := clean(facts.detail, _DETAIL_LENGTH):
        yield Line("What", detail, foreign=True)
    if facts.kind not in (Kind.TEST, Kind.SUMMARY):
        yield Line("Severity", str(facts.severity))
        yield Line("Why", _WHY[facts.reason])


def _budget_lines(facts: Facts, now: datetime, timezone: tzinfo) -> Iterator[Line]:
    if facts.amount is not None:
        yield Line("Spent", _split(facts))
    if expected := estimates.expected(facts, timezone):
        yield Line("Expected", expected)
    if planned := estimates.planned(facts, timezone):
        yield Line("Planned", planned)
    if completion := estimates.at_completion(facts, now):
        yield Line("At completion", completion)
    if pace := estimates.pace(facts):
        yield Line("Burn rate", pace)
    yield Line("Limit", estimates.limit(facts) or _limit(facts))
    if facts.amount is not None:
        yield Line("Data", _data_age(facts, now, timezone))
        if facts.stale:
            names = ", ".join(clean(name, _NAME_LENGTH) for name in facts.stale[:10])
            yield Line("Stale", f"{names}: too old to trust, so the true spend may be higher", foreign=True)
        yield Line("Change", _change(facts, timezone))
    yield Line("Why", estimates.why(facts) or _why(facts, timezone))
    if facts.also_over:
        yield Line("Also over", ", ".join(clean(limit, 30) for limit in facts.also_over[:10]))
    if detail := clean(facts.detail, _DETAIL_LENGTH):
        yield Line("Note", detail, foreign=True)
    yield Line("Budget", _budget(facts, now, timezone), foreign=True)


def _why(facts: Facts, timezone: tzinfo) -> str:
    if facts.kind is Kind.FIRING and facts.reason is Reason.STILL_OVER:
        return "it was over before and still is"
    until = "" if facts.silenced_until is None else f" until {instant_text(facts.silenced_until, timezone)}"
    return _WHY[facts.reason].format(until=until)


def _when_lines(facts: Facts, now: datetime, timezone: tzinfo) -> Iterator[Line]:
    if facts.missed and facts.missed_since is not None:
        times = "once" if facts.missed == 1 else f"{facts.missed} times, the first"
        yield Line("Before", f"{times} at {instant_text(facts.missed_since, timezone)}, it did not get through to you")
    if _is_past(facts) and facts.over_until is not None and facts.first_detected is not None:
        lasted = f"from {instant_text(facts.first_detected, timezone)} to {instant_text(facts.over_until, timezone)}"
        then = (
            "" if facts.over_spend is None else f", {for_people(facts.over_spend, facts.currency, beside=facts.limit)}"
        )
        yield Line("Lasted", lasted + then)
    elif facts.first_detected is not None and now - facts.first_detected > _LATE:
        ago = duration_text(now - facts.first_detected)
        yield Line("First detected at", f"{instant_text(facts.first_detected, timezone)}, {ago} ago")


def _split(facts: Facts) -> str:
    if facts.spend is None:
        return "not known: its data is missing or too old"
    text = f"{_least(facts)}{_spend(facts)}"
    if facts.amount:
        # Downwards: what is not over shows no 100.0%.
        share = DISPLAY.divide(facts.spend * 100, facts.amount).quantize(Decimal("0.1"), rounding=ROUND_FLOOR)
        text += f" ({share:,f}%)"
    if facts.billed is None:
        return text
    if facts.accrued is None:
        return f"{text} billed; what is used but not billed yet comes on top"
    return (
        f"{text} = {_part(facts.billed, facts)} billed + {_part(facts.accrued, facts)} accrued (used, not billed yet)"
    )


def _part(amount: Decimal, facts: Facts) -> str:
    if amount == facts.spend:
        return _without_currency(_spend(facts))
    return _without_currency(for_people(amount, facts.currency, beside=Decimal(0)))


def _limit(facts: Facts) -> str:
    at = clean(facts.at, 30)
    if not at.endswith("%"):
        text = f"{at} of {clean(facts.on, 20)} spend, {facts.severity}"
    elif facts.limit is None:
        text = f"{at} of the budget, {clean(facts.on, 20)}, {facts.severity}"
    else:
        money = for_people(facts.limit, facts.currency, beside=facts.spend)
        text = f"{at} of the budget = {money}, {clean(facts.on, 20)}, {facts.severity}"
    if facts.spend is None or facts.limit is None:
        return text
    distance = EXACT.subtract(facts.spend, facts.limit)
    if distance == 0:
        return f"{text}, reached exactly"
    way = "over" if distance > 0 else "under"
    return f"{text}, {way} by {for_people(abs(distance), facts.currency, beside=Decimal(0))}"


def _data_age(facts: Facts, now: datetime, timezone: tzinfo) -> str:
    if facts.as_of is None:
        return "no charge seen yet in this period"
    return f"up to {instant_text(facts.as_of, timezone)}, {duration_text(now - facts.as_of)} old"


def _change(facts: Facts, timezone: tzinfo) -> str:
    if facts.previous_told is None:
        return "this is the first message about this limit"
    since = f"since the last message, {instant_text(facts.previous_told, timezone)}"
    if facts.spend is None or facts.previous_spend is None:
        return f"not known {since}"
    change = EXACT.subtract(facts.spend, facts.previous_spend)
    if change == 0:
        return f"none {since}"
    return f"{'+' if change > 0 else ''}{for_people(change, facts.currency, beside=Decimal(0))} {since}"


def _budget(facts: Facts, now: datetime, timezone: tzinfo) -> str:
    text = clean(facts.budget or "", _NAME_LENGTH)
    if facts.amount is not None:
        text += f", {for_people(facts.amount, facts.currency, beside=facts.spend)}"
    return text if facts.period is None else f"{text} for {period_text(facts.period, now, timezone)}"


def _see(facts: Facts) -> Iterator[str]:
    if facts.kind is Kind.TEST:
        return
    if facts.budget is None or facts.reason is Reason.BUDGET_REMOVED:
        yield "monitor status"
        return
    yield f"monitor status --budget {shlex.quote(clean(facts.budget, _NAME_LENGTH))}"
    if facts.kind is not Kind.RESOLVED:
        yield "monitor spend --by service"


def _spend(facts: Facts) -> str:
    """The spend with as many digits as tell it from its limit and from the budget: never 100.00 of 100.00."""
    spend = facts.spend or Decimal(0)
    texts = (for_people(spend, facts.currency, beside=other) for other in (facts.limit, facts.amount))
    return max(texts, key=lambda text: len(text.partition(".")[2]))


def _without_currency(text: str) -> str:
    return text.rpartition(" ")[0]


def _least(facts: Facts) -> str:
    return "at least " if facts.lower_bound else ""
