"""Silences and acks: what is not told for a while. Pure.

They change paging and never a state: alarms go on as though nobody had asked for quiet, and RESOLVED is always told.
A silence lasts until an instant and holds back FIRING and REPEAT of its budget, however bad it gets. An ack holds back
the REPEATs of one level of one episode, and ends as soon as another level is the highest that fires.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from alarms.model import Alarm, AlarmStatus, Facts, Kind, Notification, Reason

# Whoever wants to hear nothing for longer has a budget that says the wrong thing.
LONGEST = timedelta(days=30)
# So far may the clock be set back without ending the longest of them.
_SLACK = timedelta(days=1)


class SilenceKind(StrEnum):
    """Both are quiet that somebody asked for."""

    SILENCE = "silence"
    ACK = "ack"


@dataclass(frozen=True, slots=True)
class Silence:
    """Quiet that `by` asked for. `budget`: a name, or that before the "/" of those made by `each`: then all of them.

    `until` None: an ack, which is for one `episode` of one budget.
    """

    budget: str
    kind: SilenceKind
    since: datetime
    until: datetime | None
    by: str
    why: str = ""
    episode: str = ""

    def covers(self, budget: str) -> bool:
        """Whether it is about this budget."""
        return self.budget in (budget, base_of(budget))

    @property
    def words(self) -> str:
        """Who wanted it, and why."""
        return f"silenced by {self.by}" + (f": {self.why}" if self.why else "")

    def lasts(self, now: datetime) -> bool:
        """Whether it still holds. One that would last longer than any may was made by a clock that was wrong."""
        return self.until is None or now < self.until <= now + LONGEST + _SLACK


@dataclass(frozen=True, slots=True)
class Quiet:
    """What of one budget is not told at an instant.

    `silenced`: neither FIRING nor REPEAT. `ended`: a silence that is over since the last look, and no other goes on:
    what fires is told. `acked`: episodes that are not repeated.
    """

    silenced: bool = False
    ended: Silence | None = None
    acked: frozenset[str] = frozenset()

    def why_again(self, alarm: Alarm, *, higher_fires: bool, due: bool) -> Reason | None:
        """Why an alarm that has not changed is told of; None if it is not. `due`: a repeat is."""
        if alarm.status is not AlarmStatus.FIRING or self.silenced:
            return None
        if alarm.last_told is None:
            return Reason.SILENCE_OVER
        if higher_fires or alarm.episode in self.acked:
            return None
        if self.ended is not None:
            return Reason.SILENCE_OVER
        return Reason.STILL_OVER if due else None


ALOUD = Quiet()


class Silences:
    """Everything of that kind that is stored, at an instant."""

    def __init__(self, stored: Iterable[Silence], now: datetime) -> None:
        everything = tuple(stored)
        self.lasting = tuple(silence for silence in everything if silence.lasts(now))
        self.over = tuple(silence for silence in everything if not silence.lasts(now))

    def of(self, budget: str) -> Quiet:
        """What holds for one budget."""
        mine = [silence for silence in self.lasting if silence.covers(budget)]
        silenced = any(silence.kind is SilenceKind.SILENCE for silence in mine)
        ended = [silence for silence in self.over if silence.covers(budget)]
        return Quiet(
            silenced=silenced,
            ended=None if silenced or not ended else max(ended, key=lambda silence: silence.since),
            acked=frozenset(silence.episode for silence in mine if silence.kind is SilenceKind.ACK),
        )

    def withhold(self, notification: Notification) -> bool:
        """Whether a message that is still owed is not to go out."""
        facts = notification.facts
        if facts.budget is None or facts.kind not in (Kind.FIRING, Kind.REPEAT):
            return False
        return self._is_held_back(facts, facts.budget, notification.id.partition("/")[0])

    def _is_held_back(self, facts: Facts, budget: str, episode: str) -> bool:
        quiet = self.of(budget)
        return quiet.silenced or (facts.kind is Kind.REPEAT and episode in quiet.acked)

    def still(self, alarms: Iterable[Alarm]) -> tuple[Silence, ...]:
        """What goes on after an evaluation that left these alarms, of each budget and period the highest first.

        An ack ends when its level is no longer the highest that fires.
        """
        highest: dict[tuple[str, datetime | None], str] = {}
        for alarm in alarms:
            if alarm.status is AlarmStatus.FIRING:
                highest.setdefault((alarm.key.subject, alarm.key.period_start), alarm.episode)
        acked = frozenset(highest.values())
        return tuple(one for one in self.lasting if one.kind is SilenceKind.SILENCE or one.episode in acked)


def base_of(budget: str) -> str:
    """The name in the config: `training` of `training/123456789012`."""
    return budget.partition("/")[0]
