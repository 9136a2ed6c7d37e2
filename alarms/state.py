"""The state machine of a budget's alarms. Pure: (previous state, readings, now) in, what changes and what is told out.

The rules: one message per level, episode and receiver; a lower level does not repeat while a higher
one fires; already over at first sight is one message; a missing reading keeps the state; at the period's end a firing
alarm closes with one RESOLVED; RESOLVED goes to everyone who got FIRING. What swings (a forecast, a burn rate, the lead
over a plan) is over until it has stayed clearly below its limit for a day: however often it crosses meanwhile, that is
one episode. A silence holds messages back, never a state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from alarms.estimates import limit_text
from alarms.evaluate import Evaluation, evaluate
from alarms.model import (
    Alarm,
    AlarmKey,
    AlarmStatus,
    Budget,
    Facts,
    Kind,
    Notification,
    Reading,
    Reason,
    Transition,
)
from alarms.silence import ALOUD, Quiet

# Spend has the rhythm of a day: what was below its limit for less than that may be between two nightly jobs.
CALM_FOR = timedelta(hours=24)

# (episode, level) -> the receivers that were sent its FIRING
Told = Callable[[str, str], frozenset[str]]
# (episode, level) -> what the last message about it said
Said = Callable[[str, str], Facts | None]
# When several levels have to be told at once for these reasons, a receiver hears of the highest.
_HIGHEST_ALONE = (Reason.ALREADY_OVER, Reason.SILENCE_OVER)


@dataclass(slots=True)
class Step:
    """What one evaluation changes: store all of it in one transaction."""

    alarms: list[Alarm] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    notifications: list[Notification] = field(default_factory=list)

    def extend(self, other: Step) -> None:
        """Take in another step."""
        self.alarms += other.alarms
        self.transitions += other.transitions
        self.notifications += other.notifications


@dataclass(frozen=True, slots=True)
class Situation:
    """What `advance` needs to know beside the reading.

    `previous`: the stored alarms of this budget and period. `first_sight`: this budget has never been evaluated.
    `current`: the reading's period is the running one, not one that is over and still filling up. `quiet`: what is not
    told of this budget now.
    """

    previous: Mapping[AlarmKey, Alarm]
    now: datetime
    told: Told
    first_sight: bool = False
    current: bool = True
    quiet: Quiet = ALOUD


def advance(budget: Budget, reading: Reading, situation: Situation) -> Step:
    """Evaluate every threshold of a budget against one reading."""
    step = Step()
    evaluations = sorted(
        (evaluate(budget, t, reading) for t in budget.thresholds), key=lambda e: e.height, reverse=True
    )
    informed: set[str] = set()  # at first sight, and after a silence, each receiver hears of the highest level alone
    higher_fires = False
    for evaluation in evaluations:
        alarm = _known(evaluation, reading, situation)
        if alarm.status is AlarmStatus.CLOSED:
            continue
        before = alarm.status
        alarm, reason = _decide(alarm, evaluation, reading, situation)
        if reason is not None:
            step.transitions.append(_transition(alarm, before, reason, situation.now))
        due = not higher_fires and _repeat_is_due(budget, alarm, situation.now)
        if alarm.calm_since is None:  # otherwise "it fires" would not be true
            reason = reason or situation.quiet.why_again(alarm, higher_fires=higher_fires, due=due)
        if reason is not None and situation.quiet.silenced and alarm.status is AlarmStatus.FIRING:
            alarm = replace(alarm, told_spend=reading.spend)
        elif reason is not None:
            step.notifications += _announce(budget, evaluation, alarm, reading, reason, situation, informed)
            alarm = _noted(alarm, reading, situation.now)
        higher_fires = higher_fires or alarm.status is AlarmStatus.FIRING
        step.alarms.append(alarm)
    _name_the_others(step, evaluations)
    return step


def retire(alarms: Iterable[Alarm], now: datetime, told: Told, said: Said) -> Step:
    """Close alarms whose budget or threshold is no longer configured, and tell those who were told that they fire.

    What was last said of them stands in for a reading: without a budget there is none.
    """
    step = Step()
    for alarm in alarms:
        closed = replace(alarm, status=AlarmStatus.CLOSED, since=now, sequence=alarm.sequence + 1)
        step.alarms.append(closed)
        if alarm.status is not AlarmStatus.FIRING:
            continue
        step.transitions.append(_transition(closed, alarm.status, Reason.BUDGET_REMOVED, now))
        last = said(alarm.episode, alarm.key.level)
        if last is not None:
            facts = replace(
                last,
                kind=Kind.RESOLVED,
                reason=Reason.BUDGET_REMOVED,
                previous_spend=alarm.told_spend,
                previous_told=alarm.last_told,
            )
            step.notifications += _addressed(closed, facts, told(alarm.episode, alarm.key.level), now)
    return step


def episode_of(key: AlarmKey, now: datetime) -> str:
    """The stable id of a stay above the limit that began now."""
    text = "\x1f".join((key.subject, key.level, str(key.period_start), now.isoformat()))
    return hashlib.blake2s(text.encode(), digest_size=6).hexdigest()


def _known(evaluation: Evaluation, reading: Reading, situation: Situation) -> Alarm:
    stored = situation.previous.get(evaluation.key)
    if stored is None or (situation.current and stored.status is AlarmStatus.CLOSED):  # a budget that came back
        return Alarm(evaluation.key, since=situation.now, period_end=reading.period.end)
    return stored


def _decide(
    alarm: Alarm, evaluation: Evaluation, reading: Reading, situation: Situation
) -> tuple[Alarm, Reason | None]:
    """The next state and, if it is another one, why."""
    if (alarm.data, alarm.period_end) != (evaluation.data, reading.period.end):
        alarm = replace(alarm, data=evaluation.data, period_end=reading.period.end)
    if alarm.status is AlarmStatus.FIRING:
        return _decide_firing(alarm, evaluation, reading, situation)
    if not evaluation.over:
        over_and_done = not situation.current and reading.settled
        return (replace(alarm, status=AlarmStatus.CLOSED) if over_and_done else alarm), None
    fired = replace(
        alarm,
        status=AlarmStatus.FIRING,
        since=situation.now,
        episode=episode_of(alarm.key, situation.now),
        sequence=0,
        first_detected=situation.now,
        last_told=None,
        told_spend=None,
        calm_since=None,
    )
    if not situation.current:
        return fired, Reason.LATE_CHARGES
    return fired, Reason.ALREADY_OVER if situation.first_sight else Reason.CROSSED


def _decide_firing(
    alarm: Alarm, evaluation: Evaluation, reading: Reading, situation: Situation
) -> tuple[Alarm, Reason | None]:
    if not situation.current:
        # One that fired only after its period's end, on late charges, stays until no more are expected.
        fired_late = alarm.first_detected is not None and alarm.first_detected >= reading.period.end
        if fired_late and not reading.settled:
            return alarm, None
        return replace(alarm, status=AlarmStatus.CLOSED, since=situation.now), Reason.PERIOD_ENDED
    if evaluation.swings:
        return _decide_swinging(alarm, evaluation, situation.now)
    if not evaluation.under:
        return alarm, None
    went_down = alarm.told_spend is None or reading.spend is None or reading.spend < alarm.told_spend
    reason = Reason.RESTATED_BELOW if went_down else Reason.LIMIT_RAISED
    return replace(alarm, status=AlarmStatus.OK, since=situation.now), reason


def _decide_swinging(alarm: Alarm, evaluation: Evaluation, now: datetime) -> tuple[Alarm, Reason | None]:
    if not evaluation.under:
        return replace(alarm, calm_since=None), None
    alarm = replace(alarm, calm_since=alarm.calm_since or now)
    if alarm.calm_since is None or now - alarm.calm_since < CALM_FOR:
        return alarm, None
    return replace(alarm, status=AlarmStatus.OK, since=now, calm_since=None), Reason.STAYED_BELOW


def _repeat_is_due(budget: Budget, alarm: Alarm, now: datetime) -> bool:
    every = budget.repeat.get(alarm.key.severity)
    return every is not None and alarm.last_told is not None and now - alarm.last_told >= every


def _noted(alarm: Alarm, reading: Reading, now: datetime) -> Alarm:
    return replace(alarm, sequence=alarm.sequence + 1, last_told=now, told_spend=reading.spend)


def _announce(
    budget: Budget,
    evaluation: Evaluation,
    alarm: Alarm,
    reading: Reading,
    reason: Reason,
    situation: Situation,
    informed: set[str],
) -> list[Notification]:
    """The messages of one change or repeat. `alarm` is the new state, not yet counted as told."""
    threshold = evaluation.threshold
    receivers = frozenset(budget.receivers if threshold.receivers is None else threshold.receivers)
    kind = Kind.FIRING if alarm.last_told is None else Kind.REPEAT
    if alarm.status is not AlarmStatus.FIRING:
        kind = Kind.RESOLVED
        receivers = situation.told(alarm.episode, alarm.key.level) if alarm.episode else frozenset()
    else:
        receivers -= informed if reason in _HIGHEST_ALONE else frozenset()
        informed |= receivers
    ended = situation.quiet.ended if reason is Reason.SILENCE_OVER else None
    facts = Facts(
        kind=kind,
        severity=alarm.key.severity,
        reason=reason,
        title=budget.name,
        budget=budget.name,
        period=reading.period,
        amount=budget.amount,
        currency=budget.currency,
        on=alarm.key.on,
        at=alarm.key.at,
        limit=evaluation.limit,
        spend=reading.spend,
        billed=reading.billed,
        accrued=reading.accrued,
        as_of=reading.as_of,
        lower_bound=reading.lower_bound,
        stale=reading.stale,
        previous_spend=alarm.told_spend,
        previous_told=alarm.last_told,
        first_detected=alarm.first_detected,
        forecast=reading.forecast,
        burn_rates=dict(reading.burn_rates),
        foreseen=reading.foreseen,
        detail="" if ended is None else ended.words,
        silenced_until=None if ended is None else ended.until,
    )
    return _addressed(replace(alarm, sequence=alarm.sequence + 1), facts, receivers, situation.now)


def _addressed(alarm: Alarm, facts: Facts, receivers: Iterable[str], now: datetime) -> list[Notification]:
    identity = f"{alarm.episode}/{alarm.key.level}/{alarm.sequence}"
    return [Notification(identity, receiver, now, facts) for receiver in sorted(receivers)]


def _transition(after: Alarm, before: AlarmStatus, reason: Reason, now: datetime) -> Transition:
    # That a period is over is our bookkeeping; to others a closed alarm is simply no longer firing.
    status = AlarmStatus.OK if after.status is AlarmStatus.CLOSED else after.status
    return Transition(after.key, before, status, reason, now, after.episode)


def _name_the_others(step: Step, evaluations: list[Evaluation]) -> None:
    """The one message of several levels names those that are over as well."""
    over = [e for e in evaluations if e.over]
    for index, notification in enumerate(step.notifications):
        facts = notification.facts
        if facts.reason in _HIGHEST_ALONE:
            others = tuple(limit_text(e.key.on, e.key.at) for e in over if (e.key.on, e.key.at) != (facts.on, facts.at))
            step.notifications[index] = replace(notification, facts=replace(facts, also_over=others))
