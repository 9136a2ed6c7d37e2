"""The daemon's own alarms: a stale source, a dead receiver, a config that could not be reloaded. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alarms.model import (
    Alarm,
    AlarmKey,
    AlarmStatus,
    Facts,
    Kind,
    Notification,
    Reason,
    Severity,
    Transition,
)
from alarms.state import Step, Told, episode_of

# Once a day is enough for a fault that someone has been told about: reliability, not spend.
REPEAT = timedelta(hours=24)
# `on` of the alarms that stand for faults.
HEALTH = "health"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with the monitor itself. `subject` names it (`source aws`), `what` is a word for its kind."""

    subject: str
    what: str
    severity: Severity
    title: str
    detail: str

    @property
    def key(self) -> AlarmKey:
        """Of the alarm that stands for it; it has no period."""
        return AlarmKey(self.subject, HEALTH, self.what, self.severity, None)


@dataclass(frozen=True, slots=True)
class Audience:
    """Who hears of faults, by severity; and whom a given episode reached."""

    receivers: Mapping[Severity, tuple[str, ...]]
    told: Told


def advance_faults(
    faults: Mapping[AlarmKey, Fault], previous: Mapping[AlarmKey, Alarm], audience: Audience, now: datetime
) -> Step:
    """Open, repeat and close. `faults` are those of now; `previous` every stored health alarm that is open."""
    step = Step()
    for key, fault in faults.items():
        alarm = previous.get(key) or Alarm(key, since=now)
        if alarm.status is not AlarmStatus.FIRING:
            fired = replace(
                alarm,
                status=AlarmStatus.FIRING,
                since=now,
                episode=episode_of(key, now),
                sequence=0,
                first_detected=now,
            )
            step.transitions.append(Transition(key, alarm.status, fired.status, Reason.FAULT, now, fired.episode))
            _tell(step, fired, _facts(fault, Kind.FIRING, Reason.FAULT), audience.receivers[fault.severity], now)
        elif alarm.last_told is not None and now - alarm.last_told >= REPEAT:
            _tell(step, alarm, _facts(fault, Kind.REPEAT, Reason.FAULT), audience.receivers[fault.severity], now)
    for key, alarm in previous.items():
        if key not in faults and alarm.status is AlarmStatus.FIRING:
            over = replace(alarm, status=AlarmStatus.OK, since=now)
            step.transitions.append(Transition(key, alarm.status, over.status, Reason.FAULT_OVER, now, alarm.episode))
            facts = Facts(
                kind=Kind.RESOLVED,
                severity=key.severity,
                reason=Reason.FAULT_OVER,
                title=f"{key.subject} is no longer {key.at}",
                subject=key.subject,
                first_detected=alarm.first_detected,
            )
            _tell(step, over, facts, tuple(audience.told(alarm.episode, key.level)), now)
    return step


def _facts(fault: Fault, kind: Kind, reason: Reason) -> Facts:
    return Facts(
        kind=kind,
        severity=fault.severity,
        reason=reason,
        title=fault.title,
        detail=fault.detail,
        subject=fault.subject,
    )


def _tell(step: Step, alarm: Alarm, facts: Facts, receivers: tuple[str, ...], now: datetime) -> None:
    facts = replace(facts, first_detected=alarm.first_detected)
    alarm = replace(alarm, sequence=alarm.sequence + 1, last_told=now)
    identity = f"{alarm.episode}/{alarm.key.level}/{alarm.sequence}"
    step.alarms.append(alarm)
    step.notifications += [Notification(identity, receiver, now, facts) for receiver in sorted(receivers)]
